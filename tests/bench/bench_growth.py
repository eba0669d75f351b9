"""What grows, and how fast: cost per run against nodes, spans in the file, prompts, cache entries, runs at once.

``python tests/bench/bench_growth.py [--quick] [--spans 1e3,1e4,1e5,1e6] [--folder DIR] [--json]``

Each series is measured at several sizes; the exponent is the slope of log(time) over log(size): 0 is constant, 1 is
linear. ``--folder`` keeps the larger trace files and uses those that are there, so that the one of 10 million spans
(some minutes) is made once; with it that size is among the others.

* list, show, totals, search: ``chainops trace``'s reads of a file with so many spans, ten to a run, median of several
* spans: a graph run that is traced into a file that holds so many spans already
* nodes: CPU of a run with full tracing, per run
* runs at once: CPU per run of a ten-node graph
* prompts: resolving a label among so many, and the first look at such a registry; cache: a hit among so many entries
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from langgraph.graph import START, StateGraph
from repeated import Spent

from chainops import Pipeline, instrument
from chainops.middleware.trace import Trace
from chainops.store import migrate, schema
from chainops.store.cache import Entry, open_tiers
from chainops.store.canonical import canonical, fingerprint
from chainops.store.reader import Reader
from chainops.store.registry import Registry
from chainops.store.search import index_pending, search

PER_RUN = 10
TEXT = (
    "order delivery refund invoice parcel customer address payment policy return warranty product account question"
    " answer summary table price stock email phone visit month contract clause holiday office"
)
WORDS = TEXT.split()
Series = list[tuple[float, float]]


class State(TypedDict, total=False):
    x: int


def fill(path: Path, spans: int) -> None:
    """A trace file with so many spans, in the proportions of a support desk. Written as fast as SQLite can."""
    migrate.upgrade(path)
    db = schema.connect(path)
    db.execute("PRAGMA synchronous=OFF")
    db.execute(
        "INSERT INTO process (pid, host, boot_id, start_ticks, started_ns, ended_ns, dropped)"
        " VALUES (1, 'bench', '', 0, 0, 1, 0)"
    )
    chance, now = random.Random(1), time.time_ns() - spans * 10_000_000
    run_sql = (
        "INSERT INTO run (run_id, process, graph, thread, status, start_ns, end_ns, spans, errors, model_calls,"
        " tool_calls, tokens_in, tokens_out, tokens_cached, searched)"
        " VALUES (?, 1, ?, ?, ?, ?, ?, 10, ?, 2, 1, ?, ?, 0, 0)"
    )
    span_sql = (
        "INSERT INTO span (id, run, parent, kind, name, path, attempt, start_ns, end_ns, status, input, output, model,"
        " tokens_in, tokens_out, attributes) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    kinds = ["run", "node", "model", "node", "tool", "node", "model", "node", "retriever", "node"]
    runs = spans // PER_RUN
    for first in range(0, runs, 5000):
        run_rows, span_rows = [], []
        for i in range(first, min(first + 5000, runs)):
            start, status = now + i * 100_000_000, "error" if i % 50 == 0 else "ok"
            tokens = chance.randrange(50, 900)
            graph, thread = f"graph{i % 7}", f"t{i % 5000}"
            run_id = f"{start:032x}"
            run_rows.append((run_id, graph, thread, status, start, start + 10**9, i % 50 == 0, tokens, tokens // 5))
            for j, kind in enumerate(kinds):
                number = (1 << 32) + i * PER_RUN + j + 1
                parent = None if j == 0 else number - j
                text = " ".join(chance.choices(WORDS, k=12))
                given = f'{{"text":"{text}{f" parcel{i}" if j == 1 else ""}"}}'
                model = ("small", tokens // 2, tokens // 10) if kind == "model" else (None, None, None)
                notes = '{"cost":{"micro":12,"currency":"USD","price":"p1"}}' if kind == "model" else None
                row = (number, i + 1, parent, kind, f"{kind}{j}", f"n{j}", start, start + 10**8, "ok", given)
                span_rows.append((*row, f'{{"text":"{text[:40]}"}}', *model, notes))
        db.execute("BEGIN IMMEDIATE")
        db.executemany(run_sql, run_rows)
        db.executemany(span_sql, span_rows)
        db.execute("COMMIT")
    db.close()
    index_pending(path, slice_runs=2000)


def taken_ms(work: Callable[[], Any], times: int = 15) -> list[float]:
    work()
    found = []
    for _ in range(times):
        with Spent() as spent:
            work()
        found.append(spent.wall * 1000)
    return found


def reads(path: Path, spans: int) -> dict[str, list[float]]:
    chance = random.Random(2)
    runs = spans // PER_RUN
    with Reader(path) as reader:

        def show() -> None:
            run = reader.find_run(reader.run_of(chance.randrange(1, runs + 1)).run_id)
            assert len(reader.spans(run.id)) == PER_RUN

        def rare() -> None:
            assert len(search(reader, f"parcel{chance.randrange(runs)}")) == 1

        def common() -> None:
            assert len(search(reader, "refund", limit=20)) == 20

        def both() -> None:
            search(reader, "warranty contract", limit=20)

        return {
            "list": taken_ms(lambda: reader.runs(limit=20)),
            "list of one thread": taken_ms(lambda: reader.runs(limit=20, thread=f"t{chance.randrange(5000)}")),
            "show": taken_ms(show),
            "totals of a run": taken_ms(lambda: reader.find_run("last").tokens_in),
            "search, rare word": taken_ms(rare),
            "search, common word": taken_ms(common),
            "search, two words": taken_ms(both),
        }


def graph_of(nodes: int) -> Any:
    async def node(state: State) -> State:
        return {"x": 1}

    builder, previous = StateGraph(State), START
    for i in range(nodes):
        builder.add_node(f"n{i}", node)
        builder.add_edge(previous, f"n{i}")
        previous = f"n{i}"
    return builder.compile()


def run_cpu_ms(path: Path, nodes: int, at_once: int, total: int) -> float:
    """CPU milliseconds of one traced run, flushing included."""
    trace = Trace(path)
    graph = instrument(graph_of(nodes), Pipeline([trace]))

    async def work(count: int) -> None:
        for _ in range(count // at_once):
            await asyncio.gather(*(graph.ainvoke({"x": 0}, {"recursion_limit": 10_000}) for _ in range(at_once)))

    asyncio.run(work(at_once))
    trace.flush()
    began = time.process_time()
    asyncio.run(work(max(total, at_once)))
    trace.flush()
    took = time.process_time() - began
    trace.close()
    return took / (max(total, at_once) // at_once * at_once) * 1000


def cache_us(folder: Path, entries: int) -> float:
    tiers = open_tiers(folder / f"cache{entries}", recent=10)
    now = time.time()
    for i in range(entries):
        tiers.put(
            Entry(key=f"{i:032d}", kind="model", node="n", value={"a": "x" * 200}, created=now, expires=now + 1e6), 0
        )
        if i % 1000 == 999:
            tiers.flush()
    tiers.flush()
    chance = random.Random(3)
    took = taken_ms(lambda: [tiers.get(f"{chance.randrange(entries):032d}") for _ in range(50)])
    tiers.close()
    return statistics.median(took) / 50 * 1000


async def prompts_us(folder: Path, prompts: int) -> dict[str, float]:
    """A registry with so many prompts: resolving a label, and the first look at the file, in microseconds of CPU."""
    path = folder / f"prompts{prompts}.db"
    if not path.is_file():
        migrate.upgrade(path)
        db = schema.connect(path)
        db.execute("BEGIN IMMEDIATE")
        for i in range(prompts):
            data = canonical({"messages": [{"role": "user", "template": f"{i} {TEXT}"}]})
            db.execute(
                "INSERT INTO artifact (kind, name, version, sha256, author, message, content, created_ns)"
                " VALUES ('prompt', ?, 1, ?, 'bench', '', ?, 1)",
                (f"p{i}", fingerprint(data), data),
            )
            db.execute(
                "INSERT INTO label (kind, name, label, to_version, who, why, created_ns)"
                " VALUES ('prompt', ?, 'prod', 1, 'bench', '', 1)",
                (f"p{i}",),
            )
        db.execute("COMMIT")
        db.close()
    chance, first, later = random.Random(4), [], []
    for _ in range(7):
        registry = Registry(path, "prompt", max_age_s=3600)
        with Spent() as spent:
            await registry.view()
        first.append(spent.cpu * 1e6)
        names = [f"p{chance.randrange(prompts)}" for _ in range(200)]
        with Spent() as spent:
            for name in names:
                assert (await registry.view()).resolve(name, "prod").version == 1
        later.append(spent.cpu / len(names) * 1e6)
    return {"resolving a label": statistics.median(later), "first look at the registry": statistics.median(first)}


def exponent(series: Series) -> float:
    """Slope of the least-squares line through (log size, log time)."""
    xs, ys = [math.log(size) for size, _ in series], [math.log(max(value, 1e-9)) for _, value in series]
    mean_x, mean_y = statistics.mean(xs), statistics.mean(ys)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / sum((x - mean_x) ** 2 for x in xs)


def measure(sizes: list[int], kept: Path, folder: Path, quick: bool) -> tuple[dict[str, Series], dict[str, Any]]:
    """The series, and all repetitions on the largest file. ``kept``: where files of a million spans and more stay."""
    found: dict[str, Series] = {}
    largest: dict[str, Any] = {}
    for spans in sizes:
        path = (kept if spans >= 10**6 else folder) / f"trace{spans}.db"
        if not path.is_file():
            part = path.with_name(f"making{spans}.db")
            part.unlink(missing_ok=True)
            fill(part, spans)
            part.rename(path)
        migrate.upgrade(path)  # a kept file may be of an older version, and the runs of the last time are in it
        index_pending(path)
        largest = {"spans": spans, **reads(path, spans)}
        for name in list(largest)[1:]:
            ms = statistics.median(largest[name])
            found.setdefault(f"{name}, ms by spans in the file", []).append((spans, ms))
        cpu = run_cpu_ms(path, 10, 1, 50)
        found.setdefault("traced run, CPU ms by spans in the file", []).append((spans, cpu))
    for nodes in (2, 8, 32) if quick else (2, 8, 32, 128, 512):
        cpu = run_cpu_ms(folder / "nodes.db", nodes, 1, max(4, 400 // nodes))
        found.setdefault("traced run, CPU ms by nodes", []).append((nodes, cpu))
    for at_once in (1, 10, 100) if quick else (1, 10, 100, 1000):
        cpu = run_cpu_ms(folder / "once.db", 10, at_once, 200)
        found.setdefault("traced run, CPU ms by runs at once", []).append((at_once, cpu))
    for entries in (100, 1000) if quick else (100, 1000, 10_000, 100_000):
        found.setdefault("cache hit on disk, us by entries", []).append((entries, cache_us(folder, entries)))
    for prompts in (100, 1000) if quick else (100, 1000, 10_000, 30_000):
        for name, us in asyncio.run(prompts_us(folder, prompts)).items():
            found.setdefault(f"{name}, CPU us by prompts", []).append((prompts, us))
    return found, largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--spans", default="")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    usual = "1e3,1e4" if options.quick else "1e3,1e4,1e5,1e6" + (",1e7" if options.folder else "")
    sizes = sorted(int(float(size)) for size in (options.spans or usual).split(","))
    with tempfile.TemporaryDirectory() as temporary:
        kept = options.folder or Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        found, largest = measure(sizes, kept, Path(temporary), options.quick)
    if options.json:
        series = {name: {"points": points, "exponent": exponent(points)} for name, points in found.items()}
        print(json.dumps({"series": series, "largest": largest}))
        return
    for name, points in found.items():
        line = "  ".join(f"{size:g}: {value:.3g}" for size, value in points)
        print(f"{name:48} {line}   exponent {exponent(points):.2f}")


if __name__ == "__main__":
    main()
