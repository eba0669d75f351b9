"""The results as drawings: SVG as text, nothing loaded from anywhere."""

from __future__ import annotations

import io
import math
import re
from typing import Any

from run import Result, Shown
from table import number

OURS, THEIRS = "#2563eb", "#9aa4b2"
SIDES = {"ours": OURS, "llama-server": "#d97706", "llama_cpp.server": "#7c3aed"}
TICKS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
CAPTION = "Blue: ours. Grey: what else one would use. The line at 1: equal. Whiskers: quartiles."
_MINE = re.compile(
    r"\b(ours?|layers?|tracing|pipeline|durable|same, calls|pattern rails|NeMo folder|cached|chainops|with)\b"
)
_CELL = re.compile(r"(\d+) (\w+) > ([\w.-]+) / lock, (tokens_per_s|first_ms)")


def drawn(result: Result) -> list[tuple[str, str]]:
    """SVGs with their captions."""
    ratios = [s for s in result.shown if s.figure.unit == "x"]
    if result.series:
        return [(_series(result.series), "Both axes are logarithmic; the exponent is the slope.")]
    if result.bench.plot == "concurrency" and ratios:
        return [(_concurrency(ratios), "To a lock around Llama, by calls at once. The line at 1: as the lock.")]
    if result.bench.plot == "retention" and result.shown:
        shares = [s for s in result.shown if "kept at" in s.figure.label]
        return [(_bars(shares, ""), "Share of questions whose answer's sentence is left. Blue: ours.")]
    if result.bench.plot == "bars" and len(ratios) > 1:
        return [(_bars(ratios, "x"), CAPTION)]
    return []


def is_ours(label: str) -> bool:
    """Whether the bar is ours: a ratio of theirs to ours is theirs."""
    return bool(_MINE.search(re.split(" / |: (?=.*/ ours)", label)[0])) and "LangChain's" not in label


def _bars(shown: list[Shown], unit: str) -> str:
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(9, 0.34 * len(shown) + 0.9))
    labels, values = [s.figure.label for s in shown], [s.median for s in shown]
    spread = [[s.median - min(s.low, s.median) for s in shown], [max(s.high, s.median) - s.median for s in shown]]
    colours = [OURS if is_ours(label.rpartition(", ")[2] if not unit else label) else THEIRS for label in labels]
    whiskers = {"elinewidth": 0.9, "ecolor": "#1b1f24"}
    axes.barh(range(len(shown)), values, xerr=spread if unit else None, color=colours, height=0.62, error_kw=whiskers)
    axes.set_yticks(range(len(shown)), labels)
    if unit:
        axes.axvline(1.0, color="#1b1f24", linewidth=0.8)
    if unit and max(values) / max(min(values), 1e-9) > 30:
        axes.set_xscale("log")
    for i, one in enumerate(shown):
        text = f"{one.median:.2f}{unit}" if one.median < 10 else f"{one.median:.0f}{unit}"
        axes.annotate(
            text, (max(one.high, one.median), i), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.margins(x=0.1)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return _svg(figure)


def _concurrency(shown: list[Shown]) -> str:
    from matplotlib.ticker import NullLocator

    pyplot = _pyplot()
    lines: dict[tuple[str, str], dict[str, list[tuple[int, Shown]]]] = {}
    for one in shown:
        if (found := _CELL.fullmatch(one.figure.path)) and found[2] != "warm":
            lines.setdefault((found[4], found[2]), {}).setdefault(found[3], []).append((int(found[1]), one))
    figure, grid = pyplot.subplots(2, 2, figsize=(10, 6.6), squeeze=False)
    words = {"tokens_per_s": "tokens per second", "first_ms": "time to the first token", "cold": "agent, cold"}
    cells = [(what, work) for what in ("tokens_per_s", "first_ms") for work in ("unique", "cold")]
    for axes, cell in zip(grid.flat, cells, strict=True):
        for side, points in lines.get(cell, {}).items():
            calls, ones = zip(*sorted(points, key=lambda point: point[0]), strict=True)
            middle = [one.median for one in ones]
            spread = [[one.median - one.low for one in ones], [one.high - one.median for one in ones]]
            axes.errorbar(
                calls, middle, yerr=spread, marker="o", markersize=4, label=side, color=SIDES[side], capsize=2
            )
        axes.axhline(1.0, color="#1b1f24", linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xticks([1, 4, 8, 16, 32], ["1", "4", "8", "16", "32"])
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 0.9), max(high, 1.12))
        axes.set_yticks([tick for tick in TICKS if min(low, 0.9) <= tick <= max(high, 1.12)])
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}x")
        axes.yaxis.set_minor_locator(NullLocator())
        better = "higher" if cell[0] == "tokens_per_s" else "lower"
        axes.set_title(f"{words.get(cell[1], cell[1])}: {words[cell[0]]} ({better} is better)", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(True, color="#e5e7eb", linewidth=0.6)
    grid[0][0].legend(fontsize=8)
    return _svg(figure)


def _series(series: dict[str, Any]) -> str:
    from matplotlib.ticker import NullFormatter

    pyplot = _pyplot()
    columns = 3
    rows = -(-len(series) // columns)
    figure, grid = pyplot.subplots(rows, columns, figsize=(11, 2.6 * rows), squeeze=False)
    for axes, (name, one) in zip(grid.flat, series.items(), strict=False):
        sizes, values = zip(*one["points"], strict=True)
        axes.loglog(sizes, values, marker="o", color=OURS, linewidth=1.2, markersize=3)
        axes.set_title(f"{name}\nexponent {one['exponent']:.2f}", fontsize=8.5)
        axes.set_ylim(min(values) / 5, max(values) * 5)
        axes.set_xticks(sizes, [f"{size:,.0f}" if size < 100_000 else f"$10^{math.log10(size):g}$" for size in sizes])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
        for place in (0, -1):
            words = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "fontsize": 8}
            axes.annotate(number(values[place], ""), (sizes[place], values[place]), **words)
        axes.margins(x=0.12)
        axes.tick_params(labelsize=8)
        axes.grid(True, which="major", color="#e5e7eb", linewidth=0.6)
    for axes in grid.flat[len(series) :]:
        axes.set_visible(False)
    return _svg(figure)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    return pyplot


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.tight_layout()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    _pyplot().close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :]
