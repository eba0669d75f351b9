"""Many calls at once, as the report shows them: ``ChatLlama`` beside a lock around ``Llama``, and beside servers.

``python tests/bench/bench_engine_report.py [--native PROGRAM] [--rounds 7] [--seconds 680] [--calls 1 8] [--json]``.
Workloads, sides and prompts are those of ``bench_engine.py``, on its model of 26 MB with random weights and one thread
each; of the layouts the one that the documentation advises for the workload, with flash attention, as the servers have
it; ``Llama`` has its defaults. ``llama-server`` has its own layout and defaults, which was not the slower one in any
cell that ``bench_engine_bars.py`` measured (that has both, the larger model and the tiny one, and takes hours).
``llama_cpp.server``, which answers one call at a time, is in three cells. Every round has every cell once, sides in
turn, as many calls as run at once, at least 4; at 32 half as many more, and twice as many of the agent. No round is
begun that would end after ``--seconds``, and the report says how many there were.

*bandwidth*: one stream of the model of 130 MB, one thread, beside what that thread reads of memory in the same minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_engine import ANSWER, Measured, measure, prompts
from engine_sides import WINDOW, Side, open_sides
from random_model import write_random_model
from repeated import medians, ratios

from chainops.engines.llama import ChatLlama, check_model_file
from chainops.engines.llama.bench import measure as bench_model

LEVELS = (1, 4, 8, 16, 32)
CELLS = [(calls, "unique") for calls in LEVELS] + [(calls, "cold") for calls in (1, 8, 32)] + [(32, "warm")]
LAYOUT = {"unique": "partitioned", "cold": "unified", "warm": "unified"}
ONE_BY_ONE = ((1, "unique"), (8, "cold"), (16, "unique"))
"""Where ``llama_cpp.server`` is."""
Rounds = list[dict[str, Measured]]


def sides_of(calls: int, workload: str, sides: dict[str, Side]) -> dict[str, Side]:
    """Those that answer in this cell."""
    found = {"lock": sides["lock"], "ours": sides[LAYOUT[workload]]}
    if "native" in sides:
        found["llama-server"] = sides["native"]
    if (calls, workload) in ONE_BY_ONE:
        found["llama_cpp.server"] = sides["python server"]
    return found


def calls_in_a_round(calls: int, workload: str) -> int:
    """More than run at once where some wait; the agent's also share what those before them computed."""
    if calls < 32:
        return max(calls, 4)
    return calls * 3 // 2 if workload == "unique" else calls * 2


async def rounds_of(
    sides: dict[str, Side], cells: list[tuple[int, str]], rounds: int, seconds: float
) -> dict[tuple[int, str], Rounds]:
    """Every cell, so many times."""
    for side in sides.values():
        await measure(side, prompts("unique", 999_999, 4), 4, ANSWER["unique"])
    found: dict[tuple[int, str], Rounds] = {cell: [] for cell in cells}
    began = time.monotonic()
    for number in range(rounds):
        if number and (time.monotonic() - began) * (number + 1) / number > seconds:
            print(f"{number} rounds: another one would take more than {seconds:.0f} s", file=sys.stderr)
            break
        for calls, workload in cells:
            chosen = sides_of(calls, workload, sides)
            names = list(chosen)
            turn = names[number % len(names) :] + names[: number % len(names)]
            batch = prompts(workload, number * 1000 + calls, calls_in_a_round(calls, workload))
            done = {name: await measure(chosen[name], batch, calls, ANSWER[workload]) for name in turn}
            found[calls, workload].append(done)
        print(f"round {number + 1}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def summary(rounds: Rounds) -> dict[str, list[float]]:
    """Ratios of each round."""
    report = {}
    for side, other in (
        ("ours", "lock"),
        ("llama-server", "lock"),
        ("llama_cpp.server", "lock"),
        ("ours", "llama-server"),
    ):
        if side in rounds[0] and other in rounds[0]:
            for name in ("tokens_per_s", "tokens_per_cpu_s", "first_ms"):
                mine, theirs = ([getattr(done[s], name) for done in rounds] for s in (side, other))
                report[f"{side} / {other}, {name}"] = ratios(mine, theirs)
    report["ours, tokens_per_s"] = [done["ours"].tokens_per_s for done in rounds]
    report["ours, python_share"] = [done["ours"].python_share for done in rounds]
    return report


def bandwidth(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Tokens per second times bytes read for each, to the bytes per second that a core reads."""
    path = write_random_model(folder / "large.gguf", "130MB")
    model = ChatLlama(model_path=path, n_ctx=WINDOW, n_parallel=1, n_threads=1, probe=False)
    file = check_model_file(path)
    found = [bench_model(model, file, prompt_tokens=64, tokens=32, repeat=1) for _ in range(rounds)]
    model.close()
    return {
        "share of the limit": [one["decode_tps"] / one["limit_tps"] for one in found],
        "tokens per second": [one["decode_tps"] for one in found],
        "GB/s that a core reads": [one["bandwidth"] / 1e9 for one in found],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--native", type=Path, metavar="PROGRAM", help="llama-server, see llama_server.py")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, nargs="+", default=list(LEVELS), help="only these")
    parser.add_argument("--seconds", type=float, default=680)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        report["bandwidth"] = bandwidth(folder, options.rounds)
        path = write_random_model(folder / "random.gguf", "26MB")
        sides = open_sides(
            path,
            32,
            layouts=["unified", "partitioned"],
            servers=[],
            native=options.native,
            python_server=True,
            flash=True,
        )
        try:
            used = {name: side for name, side in sides.items() if name not in ("native kvu", "lock flash")}
            cells = [cell for cell in CELLS if cell[0] in options.calls]
            found = asyncio.run(rounds_of(used, cells, options.rounds, options.seconds))
        finally:
            for side in sides.values():
                side.close()
    report |= {f"{calls} {workload}": summary(them) for (calls, workload), them in found.items()}
    if options.json:
        print(json.dumps(report))
        return
    for cell, figures in medians(report).items():
        for name, value in figures.items():
            print(f"{cell:12} {name:46} {value:10.3f}")


if __name__ == "__main__":
    main()
