import asyncio
import json
import sqlite3
import threading

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

from chainops.calls import ModelCall, ModelResult, NodeCall, NodeSettings, RunContext, ToolCall
from chainops.errors import Blocked, SetupError
from chainops.middleware.trace import Trace
from chainops.pipeline import Middleware, Pipeline


def rows(path, sql="SELECT * FROM span ORDER BY start_ns"):
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(sql)]
    finally:
        connection.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.db"


@pytest.fixture
def trace(path):
    with_trace = Trace(path)
    yield with_trace
    with_trace.close()


RUN = RunContext(run_id="0198-run", thread_id="t1", graph="shop", tags=("a",), metadata={"user": "u7"})


def node(engine, *, name="write", kind="node", input=None, **more):
    return NodeCall(run=RUN, kind=kind, name=name, path=name, engine=engine, input=input, **more)


def model(engine, *, messages=(), **more):
    return ModelCall(run=RUN, kind="model", name="tiny", path="write", engine=engine, messages=messages, **more)


async def through(trace, call):
    return await Pipeline([trace]).run(call)


async def test_a_node_call_becomes_a_span_with_input_and_output(trace, path):
    async def engine(call):
        return {"answer": 42}

    assert await through(trace, node(engine, input={"question": "?"})) == {"answer": 42}
    assert trace.flush() == 1
    (span,) = rows(path)
    assert (span["kind"], span["name"], span["status"]) == ("node", "write", "ok")
    assert json.loads(span["input"]) == {"question": "?"}
    assert json.loads(span["output"]) == {"answer": 42}
    assert span["end_ns"] > span["start_ns"]
    (run,) = rows(path, "SELECT * FROM run")
    assert (run["run_id"], run["thread"], run["graph"], run["spans"]) == ("0198-run", "t1", "shop", 1)
    assert json.loads(run["meta"]) == {"user": "u7"}
    assert json.loads(run["tags"]) == ["a"]


async def test_a_call_inside_a_call_is_a_child_of_its_span(trace, path):
    async def inner_engine(call):
        return ModelResult(message=AIMessage("hi"))

    async def outer_engine(call):
        await through(trace, model(inner_engine, parent=call))
        return {}

    await through(trace, node(outer_engine))
    trace.flush()
    outer, inner = rows(path)
    assert inner["parent"] == outer["id"]
    assert inner["run"] == outer["run"]
    assert rows(path, "SELECT count(*) AS n FROM run")[0]["n"] == 1


async def test_the_nearest_traced_ancestor_is_the_parent_when_a_call_between_was_not_traced(trace, path):
    async def engine(call):
        return 1

    async def outer_engine(call):
        between = node(engine, name="untraced", parent=call)
        return await through(trace, node(engine, name="leaf", parent=between))

    await through(trace, node(outer_engine))
    trace.flush()
    outer, leaf = rows(path)
    assert leaf["parent"] == outer["id"]


async def test_a_model_call_stores_tokens_model_and_time_to_first_token(trace, path):
    usage = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10, "input_token_details": {"cache_read": 5}}
    answer = AIMessage(
        "done", usage_metadata=usage, response_metadata={"model_name": "tiny-1", "finish_reason": "stop"}
    )
    seen = []

    async def engine(call):
        await call.emit(AIMessageChunk("do"))
        await call.emit(AIMessageChunk("ne"))
        return ModelResult(message=answer)

    async def emit(chunk):
        seen.append(chunk.content)

    call = model(
        engine,
        messages=(HumanMessage("go"),),
        streaming=True,
        emit=emit,
        stop=["END"],
        params={"temperature": 0.5, "tools": [{"function": {"name": "lookup"}}]},
    )
    assert (await through(trace, call)).message is answer
    trace.flush()
    (span,) = rows(path)
    assert seen == ["do", "ne"]
    assert (span["tokens_in"], span["tokens_out"], span["tokens_cached"]) == (7, 3, 5)
    assert span["model"] == "tiny-1"
    assert 0 < span["first_token_ns"] <= span["end_ns"] - span["start_ns"]
    attributes = json.loads(span["attributes"])
    assert attributes["finish_reason"] == "stop"
    assert attributes["streaming"] is True
    assert attributes["request"] == {"temperature": 0.5, "stop": ["END"], "tools": ["lookup"]}
    assert json.loads(span["input"])[0]["content"] == "go"
    assert json.loads(span["output"])["content"] == "done"
    (run,) = rows(path, "SELECT * FROM run")
    assert (run["tokens_in"], run["tokens_out"], run["tokens_cached"], run["model_calls"]) == (7, 3, 5, 1)


async def test_a_tool_call_keeps_the_id_of_the_models_request(trace, path):
    async def engine(call):
        return "42"

    call = ToolCall(run=RUN, kind="tool", name="lookup", path="tools", engine=engine, args={"q": 1}, call_id="c1")
    assert await through(trace, call) == "42"
    trace.flush()
    (span,) = rows(path)
    assert json.loads(span["attributes"]) == {"tool_call_id": "c1"}
    assert rows(path, "SELECT tool_calls FROM run")[0]["tool_calls"] == 1


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ValueError("bad 7"), "error", "ValueError"),
        (Blocked("no entry", hint="Ask for access."), "blocked", "Blocked"),
        (asyncio.CancelledError(), "cancelled", None),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
    ],
)
async def test_an_exception_ends_the_span_and_travels_on(trace, path, error, status, kind):
    async def engine(call):
        raise error

    coroutine = trace.wrap_node_call(node(engine), engine)
    with pytest.raises(type(error)) as caught:
        try:
            coroutine.send(None)
        except StopIteration:
            pytest.fail("swallowed")
    assert caught.value is error
    trace.flush()
    (span,) = rows(path)
    assert (span["status"], span["error_type"]) == (status, kind)
    if status == "error":
        assert span["error_message"] == "bad 7"
        (run,) = rows(path, "SELECT * FROM run")
        assert (run["errors"], run["first_error"], run["status"]) == (1, "ValueError in write", "error")
    if status == "blocked":
        assert (span["error_message"], span["error_hint"]) == ("no entry", "Ask for access.")


async def test_an_interrupt_is_paused_and_a_parent_command_is_no_error(trace, path):
    from langgraph.errors import GraphInterrupt, ParentCommand
    from langgraph.types import Command, Interrupt

    async def interrupts(call):
        raise GraphInterrupt((Interrupt(value="refund?", id="i1"),))

    async def jumps(call):
        raise ParentCommand(Command(goto="x", graph=Command.PARENT))

    with pytest.raises(GraphInterrupt):
        await through(trace, node(interrupts))
    with pytest.raises(ParentCommand):
        await through(trace, node(jumps))
    trace.flush()
    paused, jumped = rows(path)
    assert (paused["status"], paused["error_type"]) == ("paused", None)
    assert json.loads(paused["output"])[0]["value"] == "refund?"
    assert (jumped["status"], jumped["error_type"]) == ("ok", None)


async def test_what_a_node_changes_later_in_its_state_does_not_change_the_record(trace, path):
    async def engine(call):
        call.input["list"].append("later")
        call.input["new"] = 1
        return call.input

    state = {"list": ["first"]}
    await through(trace, node(engine, input=state))
    state["list"].append("after the end")
    trace.flush()
    (span,) = rows(path)
    assert json.loads(span["input"]) == {"list": ["first"]}
    assert json.loads(span["output"]) == {"list": ["first", "later"], "new": 1}


async def test_annotations_steps_scores_and_artifacts_land_on_the_span(trace, path):
    async def engine(call):
        call.annotate("cache", hit=False)
        call.annotate("cache", key="k")
        call.recorder.artifact("prompt", "greeting", "3")
        call.recorder.score("grounded", 0.75, source="model", comment="mostly")
        call.recorder.score("verdict", "allowed", source="rule")
        with call.recorder.span("rerank", input=[1, 2]) as step:
            step.set(kept=1)
        return {}

    await through(trace, node(engine, settings=NodeSettings(off={"rails", "pii"})))
    trace.flush()
    span, step = rows(path)
    assert json.loads(span["attributes"]) == {"off": ["pii", "rails"], "cache": {"hit": False, "key": "k"}}
    assert json.loads(span["artifacts"]) == [{"kind": "prompt", "name": "greeting", "version": "3"}]
    assert (step["kind"], step["name"], step["parent"], step["status"]) == ("step", "rerank", span["id"], "ok")
    assert json.loads(step["attributes"]) == {"kept": 1}
    number, label = rows(path, "SELECT * FROM score ORDER BY id")
    assert (number["span"], number["value"], number["source"], number["comment"]) == (
        span["id"],
        0.75,
        "model",
        "mostly",
    )
    assert (label["value"], label["label"]) == (None, "allowed")


async def test_an_annotation_after_the_end_still_reaches_the_span(trace, path):
    kept = []

    async def engine(call):
        kept.append(call.recorder)
        return {}

    await through(trace, node(engine))
    trace.flush()
    kept[0].annotate("late", {"drift": 1})
    trace.flush()
    assert json.loads(rows(path)[0]["attributes"]) == {"late": {"drift": 1}}


async def test_a_masking_hook_sees_everything_before_it_is_stored(path):
    def mask(value):
        return json.loads(json.dumps(value).replace("secret", "******"))

    trace = Trace(path, mask=mask)

    async def engine(call):
        call.annotate("note", text="secret note")
        call.recorder.score("s", 1.0, source="rule", comment="secret comment")
        with call.recorder.span("step", input="secret step"):
            pass
        raise Blocked("secret message", hint="secret hint")

    with pytest.raises(Blocked):
        await through(trace, node(engine, input={"text": "secret input"}))
    trace.close()
    everything = b"".join(p.read_bytes() for p in path.parent.iterdir())
    assert b"****** input" in everything
    assert b"****** step" in everything
    assert b"secret" not in everything


async def test_what_a_masking_hook_fails_on_is_never_stored_raw(path):
    def mask(value):
        raise LookupError("no rule for this secret")

    trace = Trace(path, mask=mask)

    async def engine(call):
        return {"text": "secret output"}

    await through(trace, node(engine, input={"text": "secret input"}))
    trace.close()
    (span,) = rows(path)
    assert span["input"] == '"<masking failed: LookupError>"'
    assert span["output"] == '"<masking failed: LookupError>"'
    assert b"secret" not in path.read_bytes()


async def test_without_content_neither_input_nor_output_is_stored(path):
    trace = Trace(path, content=False)

    async def engine(call):
        return {"b": 2}

    await through(trace, node(engine, input={"a": 1}))
    trace.close()
    (span,) = rows(path)
    assert (span["input"], span["output"], span["status"]) == (None, None, "ok")


async def run_of(trace, run_id, engine):
    call = NodeCall(run=RunContext(run_id=run_id), kind="run", name="g", engine=engine)
    try:
        return await through(trace, call)
    except ValueError:
        return None


async def test_sampling_keeps_a_share_of_the_runs_and_chooses_alike_everywhere(tmp_path):
    async def engine(call):
        return 1

    kept = []
    for name in ("a.db", "b.db"):
        trace = Trace(tmp_path / name, sample=0.3, keep_errors=False)
        for i in range(400):
            await run_of(trace, f"run-{i}", engine)
        trace.close()
        kept.append({row["run_id"] for row in rows(tmp_path / name, "SELECT run_id FROM run")})
    assert kept[0] == kept[1]
    assert 80 < len(kept[0]) < 160


async def test_a_failed_run_outside_the_sample_is_stored_whole(path):
    trace = Trace(path, sample=0.0)

    async def leaf(call):
        call.annotate("x", y=1)
        return 1

    async def fails(call):
        await through(trace, node(leaf, name="leaf", parent=call))
        raise ValueError("no")

    async def succeeds(call):
        return await through(trace, node(leaf, name="leaf", parent=call))

    await run_of(trace, "good", succeeds)
    await run_of(trace, "bad", fails)
    trace.close()
    assert [row["run_id"] for row in rows(path, "SELECT run_id FROM run")] == ["bad"]
    root, leaf_span = rows(path)
    assert (root["status"], leaf_span["parent"], leaf_span["status"]) == ("error", root["id"], "ok")


async def test_a_slow_run_outside_the_sample_is_stored(path):
    async def engine(call):
        return 1

    quick = Trace(path, sample=0.0, keep_slow_ms=60_000)
    await run_of(quick, "quick", engine)
    quick.flush()
    assert not path.exists()
    slow = Trace(path, sample=0.0, keep_slow_ms=0)
    await run_of(slow, "slow", engine)
    slow.close()
    assert [row["run_id"] for row in rows(path, "SELECT run_id FROM run")] == ["slow"]


async def test_a_call_goes_on_when_the_trace_itself_fails(trace, path, caplog):
    class Broken:
        run_id = "r"

        @property
        def metadata(self):
            raise OSError("trace bug")

    async def engine(call):
        return "result"

    call = NodeCall(run=Broken(), kind="node", name="n", engine=engine)
    assert await through(trace, call) == "result"
    assert await through(trace, call) == "result"
    assert trace.failures == 2
    assert len([r for r in caplog.records if r.name == "chainops"]) == 1


async def test_a_payload_without_a_json_form_is_stored_as_a_short_text(trace, path):
    async def engine(call):
        cycle = {}
        cycle["self"] = cycle
        return {"nan": float("nan"), "huge": 2**80, "lock": threading.Lock(), 3: {4}, "cycle": cycle, "bad": "\ud800"}

    await through(trace, node(engine))
    trace.flush()
    output = json.loads(rows(path)[0]["output"])
    assert (output["nan"], output["huge"], output["3"]) == (None, str(2**80), [4])
    assert output["lock"].startswith("<unlocked _thread.lock")
    assert output["cycle"] == {"self": "<cycle>"}


def test_trace_does_not_suspend_so_a_synchronous_run_needs_no_loop():
    assert Pipeline([Trace("x.db")]).inline


def test_trace_inside_a_cache_is_refused_because_it_would_not_see_what_the_cache_answers():
    class Cache(Middleware):
        name = "cache"

        async def wrap_node_call(self, call, call_next):
            return await call_next(call)

    Pipeline([Trace("x.db"), Cache()])
    with pytest.raises(SetupError) as caught:
        Pipeline([Cache(), Trace("x.db")])
    assert caught.value.code == "setup.order"


@pytest.mark.parametrize("bad", [{"sample": 2}, {"on_full": "x"}, {"max_queue": 0}, {"mask": 3}, {"keep_slow_ms": -1}])
def test_a_setting_out_of_range_is_refused_with_its_name(bad):
    with pytest.raises(SetupError) as caught:
        Trace("x.db", **bad)
    assert next(iter(bad)) in caught.value.message


async def test_a_retry_layer_inside_makes_one_span_and_outside_two(path):
    class Twice(Middleware):
        name = "twice"

        async def wrap_node_call(self, call, call_next):
            try:
                return await call_next(call)
            except ValueError:
                return await call_next(call)

    def failing_once():
        calls = []

        async def engine(call):
            calls.append(1)
            if len(calls) == 1:
                raise ValueError
            return len(calls)

        return engine

    trace = Trace(path)
    assert await Pipeline([trace, Twice()]).run(node(failing_once())) == 2
    assert await Pipeline([Twice(), trace]).run(node(failing_once())) == 2
    trace.close()
    assert [row["status"] for row in rows(path)] == ["ok", "error", "ok"]
