"""The results as text."""

from __future__ import annotations

from run import Result, Shown


def number(value: float, unit: str) -> str:
    """Three digits, and the unit."""
    if unit == "x":
        return f"{value:.2f}x" if value < 10 else f"{value:.0f}x"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{text} {unit}".strip()


def cells(shown: Shown) -> tuple[str, str, str, str]:
    """Median, spread, aim, verdict."""
    unit = shown.figure.unit
    wide = shown.runs > 1 and shown.low != shown.high
    between = f"{number(shown.low, unit)} to {number(shown.high, unit)}" if wide else ""
    sign = {"lower": "at most", "higher": "at least", "equal": ""}[shown.figure.better]
    aim = "" if shown.figure.aim is None else f"{sign} {number(shown.figure.aim, unit)}"
    return number(shown.median, unit), between, aim, shown.verdict


def summary(result: Result) -> str:
    """For the terminal."""
    lines = []
    for shown in result.shown:
        median, between, aim, verdict = cells(shown)
        lines.append(f"  {shown.figure.label:64} {median:>12}  {between:24} {aim:18} {verdict}")
    lines += [f"  {label:64} {'not run':>12}" for label in result.missing]
    for name, one in result.series.items():
        points = "  ".join(f"{size:g}: {value:.3g}" for size, value in one["points"])
        lines.append(f"  {name:48} {points}  exponent {one['exponent']:.2f}")
    if result.why:
        lines.append(f"  not run: {result.why}")
    lines += [f"  {line}" for line in result.text.splitlines()]
    return "\n".join(lines) + "\n"


def markdown(results: list[Result], machine: dict[str, str]) -> str:
    """A table per benchmark."""
    parts = [f"Measured on {', '.join(f'{key} {value}' for key, value in machine.items())}.", ""]
    for result in results:
        parts += [f"## {result.bench.name}: {result.bench.gain}", ""]
        if result.why:
            parts += [f"Not run: {result.why}.", ""]
        if result.shown or result.missing:
            parts += ["| figure | median | spread | aim | |", "|---|---|---|---|---|"]
            parts += [f"| {s.figure.label} | {' | '.join(cells(s))} |" for s in result.shown]
            parts += [f"| {label} | not run | | | |" for label in result.missing]
            parts.append("")
        if result.series:
            parts += ["| series | points | exponent |", "|---|---|---|"]
            for name, one in result.series.items():
                points = ", ".join(f"{size:g}: {value:.3g}" for size, value in one["points"])
                parts.append(f"| {name} | {points} | {one['exponent']:.2f} |")
            parts.append("")
        if result.text:
            parts += ["```text", result.text, "```", ""]
    return "\n".join(parts)
