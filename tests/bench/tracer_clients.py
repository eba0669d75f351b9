"""The programs of bench_tracers.py: the same spans in each tracer. ``HEAD`` comes before each."""

HEAD = """
import json, os, sys, time
count, target, forever = int(sys.argv[1]), sys.argv[2], len(sys.argv) > 3
pool, place = os.urandom(60_000).hex(), 0
def text():  # 300 characters that no two spans share: what is sent compressed must not look smaller than it is
    global place
    place = (place + 311) % 119_000
    return pool[place:place + 300]
def measured(work, flush):
    work(50); flush()
    if forever:
        ended = 0
        while True:
            work(10); ended += 10
            print(ended, time.time(), flush=True)
            time.sleep(0.01)
    cpu, wall = time.process_time(), time.perf_counter()
    work(count); flush()
    print("RESULT " + json.dumps([(time.process_time() - cpu) / count * 1e6, count / (time.perf_counter() - wall)]))
"""
CLIENTS = {
    "chainops": """
import asyncio
from chainops.calls import NodeCall, RunContext
from chainops.middleware.trace import Trace
trace = Trace(target)
async def last(call): return {"text": text()}
def call(run, parent):
    return NodeCall(run=run, kind="node", name="n", path="n", engine=last, input={"text": text()}, parent=parent)
async def go(n):
    for i in range(n // 10):
        run = RunContext(run_id=f"{time.time_ns():032x}", graph="bench")
        async def body(outer):
            for _ in range(9): await trace.wrap_node_call(call(run, outer), last)
            return {"text": text()}
        await trace.wrap_node_call(call(run, None), body)
measured(lambda n: asyncio.run(go(n)), trace.flush)
""",
    "opentelemetry": """
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=target + "/v1/traces"), max_queue_size=100000))
tracer = provider.get_tracer("bench")
def work(n):
    for _ in range(n // 10):
        with tracer.start_as_current_span("run") as outer:
            outer.set_attribute("input.value", text())
            for _ in range(9):
                with tracer.start_as_current_span("node") as span:
                    span.set_attribute("input.value", text()); span.set_attribute("output.value", text())
            outer.set_attribute("output.value", text())
measured(work, provider.force_flush)
""",
    "langfuse": """
from langfuse import Langfuse
client = Langfuse(public_key="pk", secret_key="sk", host=target, flush_at=512)
def work(n):
    for _ in range(n // 10):
        with client.start_as_current_observation(name="run", as_type="span", input=text()) as outer:
            for _ in range(9):
                with client.start_as_current_observation(name="node", as_type="span", input=text()) as span:
                    span.update(output=text())
            outer.update(output=text())
measured(work, client.flush)
""",
    "langsmith": """
os.environ.update(LANGSMITH_TRACING="true", LANGSMITH_ENDPOINT=target, LANGSMITH_API_KEY="x")
from langsmith import Client, trace
client = Client(api_url=target, api_key="x")
def work(n):
    for _ in range(n // 10):
        with trace("run", inputs={"text": text()}, client=client) as outer:
            for _ in range(9):
                with trace("node", inputs={"text": text()}, client=client) as span:
                    span.end(outputs={"text": text()})
            outer.end(outputs={"text": text()})
measured(work, client.flush)
""",
    "mlflow": """
import mlflow
mlflow.set_tracking_uri("sqlite:///" + target)
mlflow.set_experiment("bench")
def work(n):
    for _ in range(n // 10):
        with mlflow.start_span("run") as outer:
            outer.set_inputs({"text": text()})
            for _ in range(9):
                with mlflow.start_span("node") as span:
                    span.set_inputs({"text": text()}); span.set_outputs({"text": text()})
            outer.set_outputs({"text": text()})
def flush():
    try: mlflow.flush_trace_async_logging()
    except Exception: pass
measured(work, flush)
""",
}
CLIENTS["phoenix"] = CLIENTS["opentelemetry"]
