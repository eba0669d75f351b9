"""The results as text."""

from __future__ import annotations

from dataclasses import dataclass

from run import Result, Shown


def number(value: float, unit: str) -> str:
    """Three digits, and the unit."""
    if unit == "x":
        return f"{value:.2f}x" if value < 10 else f"{value:.0f}x"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{text} {unit}".strip()


@dataclass(frozen=True)
class Cells:
    """A figure as words."""

    median: str
    between: str
    runs: str
    other: str
    aim: str
    verdict: str
    remark: str


def cells(shown: Shown) -> Cells:
    """Words for a table."""
    figure, unit = shown.figure, shown.figure.unit
    wide = shown.runs > 1 and shown.low != shown.high
    sign = {"lower": "at most", "higher": "at least", "equal": ""}[figure.better]
    return Cells(
        number(shown.median, unit),
        f"{number(shown.low, unit)} to {number(shown.high, unit)}" if wide else "",
        str(shown.runs),
        f"{figure.other[0]} {number(shown.other, unit)}" if figure.other and shown.other is not None else "",
        "" if figure.aim is None else f"{sign} {number(figure.aim, unit)}",
        shown.verdict,
        "no difference seen" if shown.no_difference else shown.why,
    )


def summary(result: Result) -> str:
    """For the terminal."""
    lines = []
    for shown in result.shown:
        c = cells(shown)
        line = (
            f"  {shown.figure.label:64} {c.median:>12}  {c.between:24} {c.other:14} {c.aim:16} {c.verdict} {c.remark}"
        )
        lines.append(line.rstrip())
    lines += [f"  {label:64} {'not run':>12}" for label in result.missing]
    for name, one in result.series.items():
        points = "  ".join(f"{size:g}: {value:.3g}" for size, value in one["points"])
        lines.append(f"  {name:48} {points}  exponent {one['exponent']:.2f}")
    if result.why:
        lines.append(f"  not run: {result.why}")
    return "\n".join(lines) + "\n"


def markdown(results: list[Result], machine: dict[str, str]) -> str:
    """A table per benchmark."""
    said = ", ".join(value if key == "date" else f"{key} {value}" for key, value in machine.items())
    parts = [f"Measured on {said}.", ""]
    for result in results:
        parts += [f"## {result.bench.name}: {result.bench.gain}", ""]
        if result.why:
            parts += [f"Not run: {result.why}.", ""]
        if result.shown or result.missing:
            parts += ["| figure | median | quartiles | of | other clock | aim | |", "|---|---|---|---|---|---|---|"]
            parts += [f"| {s.figure.label} | {_row(cells(s))} |" for s in result.shown]
            parts += [f"| {label} | not run | | | | | |" for label in result.missing]
            parts.append("")
        if result.series:
            parts += ["| series | points | exponent |", "|---|---|---|"]
            for name, one in result.series.items():
                points = ", ".join(f"{size:g}: {value:.3g}" for size, value in one["points"])
                parts.append(f"| {name} | {points} | {one['exponent']:.2f} |")
            parts.append("")
    return "\n".join(parts)


def _row(c: Cells) -> str:
    verdict = ": ".join(filter(None, (c.verdict, c.remark)))
    return " | ".join((c.median, c.between, c.runs, c.other, c.aim, verdict))
