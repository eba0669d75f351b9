"""What tracing costs, and how fast spans become durable: ratios, both sides measured in one run.

    python tests/bench/bench_tracer.py [--json] [--rounds 7] [--spans 20000]

Four questions, each with its aim:
- caller: microseconds of CPU that the thread which makes a call spends on its span, start and end together (5 or less);
- total: the same over all threads, writing and flushing included (15 or less);
- durable: spans per second from the first one until all are committed, through the writer, against
  ``sqlite3.executemany`` of finished rows into the same tables, 1000 to a transaction (0.6 x). Also through the whole
  middleware, where the thread that makes the calls competes with the writer for the interpreter (no aim);
- kill: age in milliseconds of the oldest span that had ended and was lost, after kill -9 (20, plus one transaction).

Every span has about 300 bytes of input and 300 of output; ten spans make a run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from chainops.calls import NodeCall, RunContext  # noqa: E402
from chainops.middleware.trace import Trace  # noqa: E402
from chainops.store import batch, migrate, schema  # noqa: E402
from chainops.store.options import WriterOptions  # noqa: E402
from chainops.store.records import RunState, SpanRecord  # noqa: E402
from chainops.store.writer import Writer  # noqa: E402

INPUT = {"messages": ["x" * 280], "n": 1}
OUTPUT = {"messages": ["y" * 280]}
PER_RUN = 10


async def _node(call):
    return OUTPUT


def _node_call(run, parent):
    return NodeCall(run=run, kind="node", name="write", path="write", engine=_node, input=INPUT, parent=parent)


async def _runs(runs, wrap):
    """Ten calls per run, nine of them inside the first; `wrap` is the middleware's hook, or calls through."""
    for run in runs:

        async def body(call, run=run):
            for _ in range(PER_RUN - 1):
                await wrap(_node_call(run, call), _node)
            return OUTPUT

        await wrap(NodeCall(run=run, kind="run", name="g", engine=_node, input=INPUT), body)


async def _through(call, call_next):
    return await call_next(call)


def measure_middleware(folder, number, spans):
    """(caller µs, total µs, durable spans per second) through `Trace`, the bare calls subtracted."""
    path = folder / f"middleware-{number}.db"
    migrate.upgrade(path)
    trace = Trace(path, max_queue=10 * spans)
    runs = [RunContext(run_id=f"{number}-{i}", graph="g") for i in range(spans // PER_RUN)]
    asyncio.run(_runs(runs[:1], trace.wrap_node_call))
    assert trace.flush() == PER_RUN

    async def both():
        started = time.thread_time()
        await _runs(runs[1:], _through)
        bare = time.thread_time() - started
        wall, cpu, thread = time.perf_counter(), time.process_time(), time.thread_time()
        await _runs(runs[1:], trace.wrap_node_call)
        thread = time.thread_time() - thread
        durable = trace.flush(120)
        return bare, thread, time.process_time() - cpu, time.perf_counter() - wall, durable

    bare, thread, cpu, wall, durable = asyncio.run(both())
    count = (len(runs) - 1) * PER_RUN
    stats = trace.close()
    assert durable == stats.durable == count + PER_RUN, stats
    assert stats.dropped == 0
    return (thread - bare) / count * 1e6, (cpu - bare) / count * 1e6, count / wall


def measure_writer(folder, number, spans):
    """Durable spans per second through the writer alone, span objects made beforehand."""
    path = folder / f"writer-{number}.db"
    migrate.upgrade(path)
    writer = Writer(path, WriterOptions(max_queue=10 * spans))
    made = []
    for i in range(spans // PER_RUN):
        run = RunState(f"w{number}-{i}", "g")
        root = SpanRecord(run, None, "run", "g", "", 1, INPUT)
        made += [root, *(SpanRecord(run, root, "node", "write", "write", 1, INPUT) for _ in range(PER_RUN - 1))]
    first = SpanRecord(RunState("first"), None, "run", "g")
    writer.opened(first)
    writer.ended(first)
    writer.flush()
    started = time.perf_counter()
    for span in made:
        writer.opened(span)
        span.output, span.status, span.end_clock = OUTPUT, "ok", time.perf_counter_ns()
        writer.ended(span)
    durable = writer.flush(120)
    wall = time.perf_counter() - started
    writer.close()
    assert durable == len(made) + 1
    return len(made) / wall


def measure_raw(folder, number, spans):
    """Rows per second of executemany into the same tables: rows and JSON made beforehand, no sums, nobody else."""
    path = folder / f"raw-{number}.db"
    migrate.upgrade(path)
    connection = schema.connect(path)
    connection.execute("PRAGMA synchronous=NORMAL")
    given, output = (json.dumps(value, separators=(",", ":")) for value in (INPUT, OUTPUT))
    payloads = (given, None, len(given), output, None, len(output))
    now, base, names = time.time_ns(), 1 << 32, ("node", "write", "write", 1)
    rows = [
        (base + i, i // PER_RUN, base + i // PER_RUN, *names, now + i, now + i + 9, "ok", *payloads)
        for i in range(spans)
    ]
    chunks = [rows[i : i + 1000] for i in range(0, spans, 1000)]
    started = time.perf_counter()
    for chunk in chunks:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(batch._INSERT_SHORT, chunk)
        connection.execute("COMMIT")
    wall = time.perf_counter() - started
    connection.close()
    return spans / wall


KILLED = """
import sys, time
from chainops.store.records import RunState, SpanRecord
from chainops.store.writer import Writer

writer = Writer(sys.argv[1])
root = SpanRecord(RunState("killed"), None, "run", "g")
writer.opened(root)
number = 0
while True:
    span = SpanRecord(root.run, root, "node", str(number), "", 1, {"text": "x" * 300})
    writer.opened(span)
    time.sleep(0.001)
    span.output, span.status, span.end_clock = {"text": "y" * 300}, "ok", time.perf_counter_ns()
    writer.ended(span)
    sys.stdout.write(f"{number} {time.time()}\\n")
    sys.stdout.flush()
    number += 1
"""


def measure_kill(folder, number):
    """(spans that had ended, spans lost, age of the oldest lost one in ms) after kill -9."""
    path = folder / f"kill-{number}.db"
    migrate.upgrade(path)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True, env=environment)
    head = [process.stdout.readline() for _ in range(700 + 13 * number)]
    killed = time.time()
    process.kill()
    lines = head + process.communicate()[0].splitlines(keepends=True)
    ended = dict(line.split() for line in lines if line.endswith("\n"))
    connection = schema.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    stored = {row[0] for row in connection.execute("SELECT name FROM span WHERE status = 'ok'")}
    connection.close()
    lost = [float(when) for name, when in ended.items() if name not in stored]
    return len(ended), len(lost), (killed - min(lost)) * 1000 if lost else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--spans", type=int, default=20_000)
    options = parser.parse_args()
    caller, total, middleware, writer, raw, kills = [], [], [], [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(options.rounds):
            raw.append(measure_raw(folder, number, options.spans))
            a, b, c = measure_middleware(folder, number, options.spans)
            caller.append(a)
            total.append(b)
            middleware.append(c)
            writer.append(measure_writer(folder, number, options.spans))
            for file in folder.iterdir():
                file.unlink()
        kills = [measure_kill(folder, number) for number in range(options.rounds)]
    found = {
        "caller_us_per_span": {"all": caller, "best": min(caller), "median": statistics.median(caller), "aim": 5},
        "total_cpu_us_per_span": {"all": total, "best": min(total), "median": statistics.median(total), "aim": 15},
        "raw_rows_per_s": {"best": max(raw), "median": statistics.median(raw)},
        "durable_spans_per_s_middleware": {"best": max(middleware), "median": statistics.median(middleware)},
        "durable_spans_per_s_writer": {"best": max(writer), "median": statistics.median(writer)},
        "durable_ratio_middleware": ratio(middleware, raw),
        "durable_ratio_writer": ratio(writer, raw) | {"aim": 0.6},
        "kill_9": {
            "ended": sum(k[0] for k in kills),
            "lost": sum(k[1] for k in kills),
            "oldest_lost_ms": {
                "all": [k[2] for k in kills],
                "median": statistics.median(k[2] for k in kills),
                "worst": max(k[2] for k in kills),
            },
        },
        "load_average": os.getloadavg()[0],
    }
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        print(
            f"{name:32}",
            "  ".join(f"{k} {v:,.2f}" if isinstance(v, int | float) else f"{k} {v}" for k, v in parts if k != "all"),
        )


def ratio(ours, theirs):
    """Of the bests, and the median of the rounds: in a round both sides meet about the same machine."""
    rounds = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {"all": rounds, "best": max(ours) / max(theirs), "median": statistics.median(rounds)}


if __name__ == "__main__":
    main()
