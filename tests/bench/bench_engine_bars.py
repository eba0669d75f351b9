"""What the local model promises, each bar beside what is measured, in one run.

``python tests/bench/bench_engine_bars.py [--native PROGRAM] [--sizes 26MB 130MB tiny] [--rounds 3] [--json]``.
Sides and workloads are those of ``bench_engine.py``. A bar is judged for the layout that the documentation
advises: *unified* for the agent, *partitioned* for unique prompts; the other one stands beside it. ``ChatLlama``
has flash attention, as the server has by default; ``--exact`` takes it away. ``Llama`` has none by default;
``lock flash`` among the rates has. The server is there with the better of its layouts in that very round;
without ``--native`` its bars are not measured, and said so. Ratios are medians over rounds of tokens per second;
those in brackets are of tokens per CPU second, which a busy machine disturbs less.

The tiny model is the shipped one, with an end mark that it does not know, so that every answer has its full
length.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import struct
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench_engine import ANSWER, Measured, measure, prompts
from bench_threads import beside_a_neighbour, opened, tokens_per_s
from engine_sides import WINDOW, Side, open_sides
from random_model import SIZES, write_random_model

from chainops.engines.llama import ChatLlama, check_model_file
from chainops.engines.llama.bench import measure as bench_model

CELLS = ((1, ("unique",)), (8, ("cold",)), (16, ("unique",)), (32, ("unique", "cold", "warm")))
LAYOUT = {"unique": "partitioned", "cold": "unified", "warm": "unified"}
NATIVE = ("native", "native kvu")
TINY = Path(__file__).parents[2] / "recipes/tiny_model/support-desk-tiny.gguf"
Rounds = list[dict[str, Measured]]


@dataclass(frozen=True)
class Bar:
    """``measured`` of a model against ``wanted``; ``other``: of the other layout, ``cpu``: by CPU seconds."""

    model: str
    what: str
    wanted: float
    measured: float
    cpu: float | None = None
    other: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.measured <= self.wanted if self.at_most else self.measured >= self.wanted


def endless_tiny(path: Path) -> Path:
    """The shipped model, whose end mark is an ordinary token now."""
    data = TINY.read_bytes().replace(b"<|im_end|>", b"<|im_ent|>")
    key = b"tokenizer.ggml.eos_token_id" + struct.pack("<I", 4)
    place = data.index(key) + len(key)
    path.write_bytes(data[:place] + struct.pack("<I", 5) + data[place + 4 :])
    return path


async def rounds_of(sides: dict[str, Side], rounds: int) -> dict[tuple[int, str], Rounds]:
    """Every cell of the bars, measured so many times, with the sides in turn."""
    found: dict[tuple[int, str], Rounds] = {}
    names = list(sides)
    for side in sides.values():
        await measure(side, prompts("unique", 999_999, 2), 2, ANSWER["unique"])
    for number in range(rounds):
        turn = names[number % len(names) :] + names[: number % len(names)]
        for calls, workloads in CELLS:
            for workload in workloads:
                batch = prompts(workload, number * 1000 + calls, max(2 * calls, 4))
                done = {name: await measure(sides[name], batch, calls, ANSWER[workload]) for name in turn}
                found.setdefault((calls, workload), []).append(done)
                print(f"  round {number + 1}, {calls} {workload}: " + line(done), file=sys.stderr, flush=True)
    return found


def line(done: dict[str, Measured]) -> str:
    return ", ".join(
        f"{name} {one.tokens_per_s:.0f}/s ({one.tokens_per_cpu_s:.0f} per CPU s, first {one.first_ms:.0f} ms)"
        for name, one in done.items()
    )


def rates_of(rounds: Rounds) -> dict[str, float]:
    """Tokens per second of each side, to the lock: medians over the rounds."""
    return {
        name: statistics.median(done[name].tokens_per_s / done["lock"].tokens_per_s for done in rounds)
        for name in rounds[0]
    }


def against(rounds: Rounds, ours: str, peers: tuple[str, ...], value: Callable[[Measured], float]) -> float:
    """The median of ours to the largest of the peers, round by round."""
    return statistics.median(value(done[ours]) / max(value(done[peer]) for peer in peers) for done in rounds)


def first(one: Measured) -> float:
    return 1 / one.first_ms


def rate(one: Measured) -> float:
    return one.tokens_per_s


def per_cpu(one: Measured) -> float:
    return one.tokens_per_cpu_s


def bars_of(model: str, found: dict[tuple[int, str], Rounds], *, native: bool) -> list[Bar]:
    """Everything that is promised of many calls at once."""
    bars = []

    def add(calls: int, workload: str, peers: tuple[str, ...], wanted: float, name: str) -> None:
        rounds, ours = found[calls, workload], LAYOUT[workload]
        other = "unified" if ours == "partitioned" else "partitioned"
        ratios = [against(rounds, side, peers, value) for side, value in ((ours, rate), (ours, per_cpu), (other, rate))]
        bars.append(Bar(model, f"tokens/s, {calls} calls, {workload} / {name}", wanted, *ratios))

    def add_first(workload: str, peers: tuple[str, ...], wanted: float, name: str) -> None:
        ratio = 1 / against(found[32, workload], LAYOUT[workload], peers, first)
        bars.append(Bar(model, f"first token, 32 calls, {workload} / {name}", wanted, ratio, at_most=True))

    add(1, "unique", ("lock",), 0.98, "lock")
    add(8, "cold", ("lock",), 1.5, "lock")
    add(32, "cold", ("lock",), 1.5, "lock")
    if model == "130MB":
        add(16, "unique", ("lock",), 1.7, "lock")
    for workload in ("unique", "cold"):
        add_first(workload, ("lock",), 0.25, "lock")
    if native:
        add(8, "cold", NATIVE, 2.5, "llama-server")
        add(32, "cold", NATIVE, 2.5, "llama-server")
        add(32, "warm", NATIVE, 1.5, "llama-server")
        add(16, "unique", NATIVE, 0.95, "llama-server")
        for workload in ("unique", "cold"):
            add_first(workload, NATIVE, 1.0, "llama-server")
    for calls, workload in ((1, "unique"), (16, "unique"), (32, "cold")):
        share = statistics.median(done[LAYOUT[workload]].python_share for done in found[calls, workload])
        bars.append(Bar(model, f"Python's share of CPU, {calls} calls, {workload}", 0.03, share, at_most=True))
    return bars


def alone(path: Path, size: str) -> list[Bar]:
    """One stream against the memory's bandwidth, and two threads beside a neighbour."""
    model = ChatLlama(model_path=path, n_ctx=WINDOW, n_parallel=1, n_threads=1, probe=False)
    share = bench_model(model, check_model_file(path), prompt_tokens=64)["share_of_limit"]
    model.close()
    threads = opened(path, 2, fixed=False)
    shares = []
    for _ in range(3):
        idle = tokens_per_s(threads)
        shares.append(beside_a_neighbour(threads) / idle)
    threads.close()
    return [
        Bar(size, "one stream, of what the memory's bandwidth allows", 0.6, share),
        Bar(size, "two threads beside a busy process / alone", 0.4, statistics.median(shares)),
    ]


def shown(bar: Bar) -> str:
    more = "" if bar.cpu is None else f" ({bar.cpu:.2f} by CPU; other layout {bar.other:.2f})"
    sign = "<=" if bar.at_most else ">="
    verdict = "met" if bar.met else "MISSED"
    return f"{bar.model:6} {bar.what:48} {sign} {bar.wanted:4}: {bar.measured:.3f} {verdict}{more}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=[*SIZES, "tiny"], default=["26MB", "130MB", "tiny"])
    parser.add_argument("--native", type=Path, metavar="PROGRAM", help="llama-server, see llama_server.py")
    parser.add_argument("--python-server", action="store_true", help="llama_cpp.server, too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-alone", action="store_true", help="no bandwidth and no neighbour: many calls only")
    parser.add_argument("--exact", action="store_true", help="ChatLlama without flash attention, its default")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    bars: list[Bar] = []
    rates: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            file = Path(folder) / f"{size}.gguf"
            path = endless_tiny(file) if size == "tiny" else write_random_model(file, size)
            print(f"{size}: {path.stat().st_size / 1e6:.0f} MB", file=sys.stderr, flush=True)
            layouts = ["unified", "partitioned"]
            sides = open_sides(
                path,
                32,
                layouts=layouts,
                servers=[],
                native=options.native,
                python_server=options.python_server,
                flash=not options.exact,
            )
            try:
                found = asyncio.run(rounds_of(sides, options.rounds))
            finally:
                for side in sides.values():
                    side.close()
            bars += bars_of(size, found, native=options.native is not None)
            rates |= {f"{size}, {calls} calls, {workload}": rates_of(them) for (calls, workload), them in found.items()}
            if size == "130MB" and not options.no_alone:
                bars += alone(path, size)
    if options.json:
        print(json.dumps({"bars": {f"{b.model}, {b.what}": {**asdict(b), "met": b.met} for b in bars}, "rates": rates}))
        return
    if options.native is None:
        print("llama-server was not given: what is promised against it was not measured")
    for bar in bars:
        print(shown(bar))
    for cell, them in rates.items():
        print(f"{cell}: " + ", ".join(f"{name} {value:.2f}x" for name, value in them.items()))


if __name__ == "__main__":
    main()
