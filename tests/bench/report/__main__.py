"""Measure chainops against what else one would use, and draw it: ``make bench``.

``python tests/bench/report [--only NAME ...] [--quick] [--out bench/report.html] [--markdown FILE] [--peers FOLDER]
[--no-peers] [--data FOLDER] [--llama-server PROGRAM] [--growth FOLDER]``. Each benchmark is a script beside this
folder, run in a process of its own; a figure is the median of its repetitions, with the quartiles. Peers live in
environments of their own, which this makes from the package index; one that cannot be made is reported as not run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from machine import describe
from page import html
from peers import make_peers
from plan import BENCHES, Bench
from run import Result, run
from table import markdown, summary

ROOT = Path(__file__).resolve().parents[3]


def chosen(only: list[str]) -> list[Bench]:
    names = [name for group in only for name in group.replace(",", " ").split()]
    unknown = set(names).difference(bench.name for bench in BENCHES)
    if unknown:
        known = ", ".join(bench.name for bench in BENCHES)
        raise SystemExit(f"error: no benchmark {', '.join(sorted(unknown))}; there are {known}")
    return [bench for bench in BENCHES if not names or bench.name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="names, with commas or several times")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, no peers: under 3 minutes")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "report.html")
    parser.add_argument("--markdown", type=Path, help="also write the table as Markdown")
    parser.add_argument("--json", type=Path, help="also write every figure as JSON")
    parser.add_argument(
        "--peers", type=Path, default=ROOT / "build" / "bench", help="where the peers' environments are"
    )
    parser.add_argument("--no-peers", action="store_true", help="make no environments")
    parser.add_argument("--data", type=Path, help="labelled questions for some rows; its files are named in plan.py")
    parser.add_argument("--llama-server", type=Path, help="see llama_server.py, which builds it")
    parser.add_argument(
        "--growth", type=Path, help="keeps large trace files, up to 10 million spans, which are made once"
    )
    options = parser.parse_args()
    if options.growth is not None:
        options.growth.mkdir(parents=True, exist_ok=True)
    given = {"data": options.data, "llama-server": options.llama_server, "growth": options.growth}
    benches, began = chosen(options.only), time.monotonic()
    wanted = sorted({peer for bench in benches for peer in bench.peers})
    peers = {} if options.no_peers or options.quick else make_peers(wanted, options.peers)
    results: list[Result] = []
    for number, bench in enumerate(benches, 1):
        sys.stderr.write(f"[{number}/{len(benches)}] {bench.name}: {bench.gain}\n")
        sys.stderr.flush()
        results.append(run(bench, quick=options.quick, peers=peers, folder=options.peers, given=given))
        sys.stdout.write(summary(results[-1]))
        sys.stdout.flush()
    machine = describe()
    machine["minutes"] = f"{(time.monotonic() - began) / 60:.1f}"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(html(results, machine), "utf-8")
    if options.markdown:
        options.markdown.write_text(markdown(results, machine), "utf-8")
    if options.json:
        figures = {r.bench.name: {s.figure.label: [s.low, s.median, s.high] for s in r.shown} for r in results}
        options.json.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2), "utf-8")
    missed = [f"{r.bench.name}: {s.figure.label}" for r in results for s in r.shown if s.verdict == "missed"]
    sys.stderr.write(f"{options.out}, {machine['minutes']} minutes; aims missed: {', '.join(missed) or 'none'}\n")


if __name__ == "__main__":
    main()
