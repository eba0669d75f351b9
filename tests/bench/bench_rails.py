"""What rails cost, as ratios, all sides in one run and alternating.

``python tests/bench/bench_rails.py [--rounds 40] [--json] [--no-llmrails]``. A ratio is the median over rounds of one
side divided by the bare graph of the same round; which side goes first changes from round to round. Wall and CPU time.

* a graph of five nodes, each of which adds a message: bare; in an empty pipeline; with input and output rails of
  patterns on every node (new texts each time, nothing remembered); the same patterns as a NeMo folder, through the
  adapter; and with NeMo's own ``LLMRails.check_async`` and ``IORails.check_async`` before and after each node
* the same with 100 runs at once
* the same traced: without rails, and with them, every verdict a span and a score; and the bytes
* one check: a pattern rail, the adapter's compiled rail, LLMRails, in microseconds
* the stream gate: microseconds for each token through the layer, against a layer that only passes on
* the jailbreak rail: milliseconds for a question of 12 words, and of 250
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

os.environ["NEMO_GUARDRAILS_NO_USAGE_STATS"] = "1"

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from repeated import medians

from chainops import Middleware, Pipeline, instrument
from chainops.calls import ModelResult
from chainops.middleware.rails import PatternRail, Rails, Subject
from chainops.middleware.trace import Trace
from chainops.store.writer import flush_writers
from chainops.testing import model_call

NODES = 5
PATTERN = r"(?i)\bxyzzy\b"
CONFIG = r"""
rails:
  config:
    regex_detection:
      input: {patterns: ["(?i)\\bxyzzy\\b"]}
      output: {patterns: ["(?i)\\bxyzzy\\b"]}
  input: {flows: [regex check input]}
  output: {flows: [regex check output]}
"""
COUNT = itertools.count()
Side = Callable[[int], Awaitable[None]]


def graph_of(around: Callable[[Any], Any] | None = None) -> Any:
    def make(i: int) -> Any:
        async def node(state: MessagesState) -> Any:
            return {"messages": [AIMessage(f"step {i} of {len(state['messages'])}: {next(COUNT)} is the number")]}

        return node if around is None else around(node)

    builder = StateGraph(MessagesState)
    names = [f"n{i}" for i in range(NODES)]
    for i, name in enumerate(names):
        builder.add_node(name, make(i))
    for before, after in itertools.pairwise([START, *names]):
        builder.add_edge(before, after)
    return builder.compile()


def runs_of(graph: Any) -> Side:
    async def side(at_once: int) -> None:
        questions = [f"Question {next(COUNT)}: how long does delivery take?" for _ in range(at_once)]
        await asyncio.gather(*(graph.ainvoke({"messages": [HumanMessage(q)]}) for q in questions))

    return side


def checked_by(rails: Any) -> Callable[[Any], Any]:
    """Nodes before and after which an engine of NeMo checks what is said."""
    from nemoguardrails.rails.llm.options import RailType

    def around(node: Any) -> Any:
        async def guarded(state: MessagesState) -> Any:
            question = next(m.text for m in reversed(state["messages"]) if isinstance(m, HumanMessage))
            asked = {"role": "user", "content": question}
            await rails.check_async([asked], rail_types=[RailType.INPUT])
            update = await node(state)
            said = {"role": "assistant", "content": update["messages"][0].text}
            await rails.check_async([asked, said], rail_types=[RailType.OUTPUT])
            return update

        return guarded

    return around


def llmrails(folder: Path) -> Callable[[Any], Any]:
    from nemoguardrails import LLMRails, RailsConfig

    return checked_by(LLMRails(RailsConfig.from_path(str(folder))))


def sides(folder: Path, with_llmrails: bool) -> dict[str, Side]:
    from chainops.middleware.rails.nemo import nemo_rails

    ours = Rails([PatternRail("p", [PATTERN], places=["input", "output"])])
    nemo = Rails(nemo_rails(folder))
    found = {
        "bare": runs_of(graph_of()),
        "empty pipeline": runs_of(instrument(graph_of(), Pipeline([]))),
        "pattern rails": runs_of(instrument(graph_of(), Pipeline([ours]))),
        "NeMo folder, adapter": runs_of(instrument(graph_of(), Pipeline([nemo]))),
    }
    if with_llmrails:
        found["NeMo IORails"] = runs_of(graph_of(iorails(folder)))
        found["NeMo LLMRails"] = runs_of(graph_of(llmrails(folder)))
    return found


def traced(folder: Path) -> dict[str, Side]:
    """What it costs to write each verdict down: the same graph traced, without rails and with them."""
    found: dict[str, Side] = {}
    ours = Rails([PatternRail("p", [PATTERN], places=["input", "output"])])
    for name, layers in (("trace alone", []), ("trace and rails", [ours])):
        layers = [Trace(folder / f"{name}.db"), *layers]
        found[name] = runs_of(instrument(graph_of(), Pipeline(layers)))
    return found


def sizes(folder: Path) -> dict[str, list[float]]:
    """Bytes in the trace file for each run of five nodes, and for each verdict."""
    found = {}
    for file in sorted(folder.glob("*.db")):
        flush_writers(file)
        with closing(sqlite3.connect(file)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            runs, verdicts = (db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("run", "score"))
        found[f"{file.stem}, bytes per run"] = [file.stat().st_size / runs]
        found[f"{file.stem}, verdicts per run"] = [verdicts / runs]
    return found


def iorails(folder: Path) -> Callable[[Any], Any]:
    """NeMo's engine without Colang, which works off a queue."""
    from nemoguardrails import RailsConfig
    from nemoguardrails.guardrails.iorails import IORails

    return checked_by(IORails(RailsConfig.from_path(str(folder))))


async def compare(
    work: dict[str, Side], rounds: int, at_once: int, each: int, traces: Sequence[Path] = ()
) -> dict[str, dict[str, list[float]]]:
    """Every side in turn; what waits for ``traces`` is written inside the measured time of the side that made it."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    names = list(work)
    for round_ in range(rounds + 1):
        for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
            if name == "NeMo LLMRails" and round_ > 7:
                continue
            times = 1 if name == "NeMo LLMRails" else each
            gc.collect()  # what the side before left behind is not this one's
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(times):
                await work[name](at_once)
            for file in traces:
                flush_writers(file)
            if round_:
                took[name].append(((time.perf_counter() - wall) / times, (time.process_time() - cpu) / times))
    bare = took["bare"]
    return {
        name: {
            "wall": [mine[0] / b[0] for mine, b in zip(values, bare, strict=False)],
            "cpu": [mine[1] / b[1] for mine, b in zip(values, bare, strict=False)],
            "ms": [mine[0] * 1e3 for mine in values],
        }
        for name, values in took.items()
    }


async def checks(folder: Path, with_llmrails: bool) -> dict[str, list[float]]:
    from chainops.middleware.rails.nemo import nemo_rails

    text = "How long does delivery take, and what does it cost to send a parcel abroad?"
    pattern, compiled = PatternRail("p", [PATTERN]), nemo_rails(folder)[0]

    async def one(check: Callable[[], Awaitable[Any]], times: int) -> list[float]:
        found = []
        for number in range(8):
            began = time.process_time()
            for _ in range(times):
                await check()
            if number:
                found.append((time.process_time() - began) / times * 1e6)
        return found

    found = {
        "pattern rail, us": await one(lambda: pattern.check(Subject(text, "input")), 1000),
        "rail of a NeMo folder, us": await one(lambda: compiled.check(Subject(text, "input")), 1000),
        "the same with a match, through NeMo, us": await one(
            lambda: compiled.check(Subject(f"{text} xyzzy", "input")), 100
        ),
    }
    if with_llmrails:
        from nemoguardrails import LLMRails, RailsConfig
        from nemoguardrails.rails.llm.options import RailType

        rails = LLMRails(RailsConfig.from_path(str(folder)))
        asked = [{"role": "user", "content": text}]
        found["LLMRails, us"] = await one(lambda: rails.check_async(asked, rail_types=[RailType.INPUT]), 15)
        from nemoguardrails.guardrails.iorails import IORails

        engine = IORails(RailsConfig.from_path(str(folder)))
        found["IORails, us"] = await one(lambda: engine.check_async(asked, rail_types=[RailType.INPUT]), 30)
    return found


class PassOn(Middleware):
    """What any layer that touches a stream costs."""

    async def wrap_model_call(self, call: Any, call_next: Any) -> Any:
        async def emit(chunk: Any) -> None:
            await call.emit(chunk)

        return await call_next(call.replace(emit=emit))


async def gate(rounds: int) -> dict[str, list[float]]:
    chunks = [
        AIMessageChunk(content=w + " ", id="a") for w in ("the quick brown fox jumps over the lazy dog " * 50).split()
    ]
    whole = AIMessage("".join(str(c.content) for c in chunks), id="a")

    async def engine(call: Any) -> ModelResult:
        for chunk in chunks:
            await call.emit(chunk)
        return ModelResult(message=whole)

    layers = {"passed on": PassOn(), "gate": Rails([PatternRail("key", [r"sk-[a-z0-9]{8}", PATTERN], policy="redact")])}
    took: dict[str, list[float]] = {name: [] for name in layers}
    for _ in range(rounds):
        for name, layer in layers.items():
            run = Pipeline([layer]).around_model(engine)
            began = time.process_time()
            await run(model_call("hi", streaming=True))
            took[name].append((time.process_time() - began) / len(chunks) * 1e6)
    passed, gated = took["passed on"][1:], took["gate"][1:]
    more = [after - before for before, after in zip(passed, gated, strict=True)]
    return {"a layer that passes on, us per token": passed, "gate, us per token": gated, "more, us": more}


async def jailbreak() -> dict[str, list[float]]:
    from chainops.engines.embeddings import embedder
    from chainops.engines.embeddings.place import MODEL, default_place
    from chainops.middleware.rails.jailbreak import Jailbreak

    if not (default_place() / MODEL).is_file():
        return {}
    rail = Jailbreak(embedder())
    found: dict[str, list[float]] = {}
    for name, words in (("12 words, ms CPU", 12), ("250 words, ms CPU", 250)):
        took = []
        for _ in range(8):
            text = " ".join(f"word{next(COUNT) % 997}" for _ in range(words))
            began = time.process_time()
            await rail.check(Subject(text, "input"))
            took.append((time.process_time() - began) * 1e3)
        found[name] = took[1:]
    return found


async def main(rounds: int, with_llmrails: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.yml").write_text(CONFIG)
        work, with_trace = sides(folder, with_llmrails), traced(folder)
        return {
            "five nodes, one run": await compare(work, rounds, 1, 10),
            "five nodes, 100 runs at once": await compare(work, max(7, rounds // 4), 100, 1),
            "five nodes, traced": await compare(
                {"bare": work["bare"], **with_trace}, rounds, 1, 10, [folder / f"{name}.db" for name in with_trace]
            ),
            "trace file": sizes(folder),
            "one check": await checks(folder, with_llmrails),
            "stream": await gate(rounds),
            "jailbreak rail": await jailbreak(),
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-llmrails", action="store_true")
    options = parser.parse_args()
    figures = asyncio.run(main(options.rounds, not options.no_llmrails))
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        for part, rows in medians(figures).items():
            print(part)
            for key, value in rows.items():
                shown = (
                    "  ".join(f"{k} {v:8.2f}" for k, v in value.items()) if isinstance(value, dict) else f"{value:8.2f}"
                )
                print(f"  {key:40} {shown}")
