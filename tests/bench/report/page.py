"""The results as one HTML page with its plots inside: nothing is loaded from anywhere."""

from __future__ import annotations

import io
from typing import Any

from jinja2 import Environment
from run import Result
from table import cells

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>chainops: benchmarks</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin: 2.5rem 0 .2rem } p.gain { margin: 0 0 .8rem; color: #57606a }
table { border-collapse: collapse; width: 100%; font-size: .9rem } td, th { text-align: left; padding: .3rem .6rem;
border-bottom: 1px solid #d8dee4; vertical-align: top } td.n { text-align: right; white-space: nowrap;
font-variant-numeric: tabular-nums } .met { color: #1a7f37 } .missed { color: #b42318; font-weight: 600 }
.not, .quiet { color: #57606a } .cause { color: #57606a; font-weight: 400; font-size: .85rem; max-width: 24rem }
svg { max-width: 100%; height: auto; margin-top: .8rem }
</style>
<h1>chainops: benchmarks</h1>
<p>Both sides of every comparison ran in turn on this machine, after a warm-up. A figure is the median of its
repetitions; beside it stand the quartiles (of fewer than four repetitions, the lowest and the highest) and their
number. A ratio whose spread is larger than its difference from 1 says "no difference seen".</p>
<p class="quiet">{% for key, value in machine.items() -%}
{{ key }} {{ value }}{{ ", " if not loop.last else "." }}{%- endfor %}</p>
<p>Aims: <span class="met">{{ met }} met</span>, <span class="missed">{{ missed | length }} missed</span>,
{{ unmeasured }} figures not run.</p>
{% if missed %}<ul>{% for name, label in missed %}<li><a href="#{{ name }}">{{ name }}</a>: {{ label }}</li>
{% endfor %}</ul>{% endif %}
{% for r in results %}
<h2 id="{{ r.bench.name }}">{{ r.bench.name }}</h2><p class="gain">{{ r.bench.gain }}
<span class="quiet">({{ "%.0f" | format(r.seconds) }} s)</span></p>
{% if r.why %}<p class="not">Not run: {{ r.why }}.</p>{% endif %}
{% if r.shown or r.missing %}
<table><tr><th>figure<th>median<th>quartiles<th>of<th>other clock<th>aim<th></tr>
{% for s in r.shown %}{% set c = cells(s) %}
<tr><td>{{ s.figure.label }}<td class="n">{{ c.median }}<td class="n quiet">{{ c.between }}
<td class="n quiet">{{ c.runs }}<td class="n quiet">{{ c.other }}<td class="n">{{ c.aim }}
<td><span class="{{ c.verdict }}">{{ c.verdict }}</span>
<div class="cause">{{ c.remark }}</div></tr>{% endfor %}
{% for label in r.missing %}<tr class="not"><td>{{ label }}<td class="n">not run<td><td><td><td><td></tr>{% endfor %}
</table>{% endif %}
{% if r.missing and r.bench.notes %}<p class="not">{{ r.bench.notes }}</p>{% endif %}
{% for plot in plots[r.bench.name] %}{{ plot | safe }}{% endfor %}
{% endfor %}
</html>
"""


def html(results: list[Result], machine: dict[str, str]) -> str:
    """The page."""
    shown = [s for r in results for s in r.shown]
    return (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            results=results,
            machine=machine,
            cells=cells,
            plots={r.bench.name: _plots(r) for r in results},
            met=sum(s.verdict == "met" for s in shown),
            missed=[(r.bench.name, s.figure.label) for r in results for s in r.shown if s.verdict == "missed"],
            unmeasured=sum(len(r.missing) + len(r.bench.figures) * bool(r.why) for r in results),
        )
    )


def _plots(result: Result) -> list[str]:
    ratios = [s for s in result.shown if s.figure.unit == "x"]
    plots = []
    if result.series:
        plots.append(_series(result.series))
    elif result.bench.plot == "bars" and len(ratios) > 1:
        plots.append(_bars(ratios))
    return plots


def _bars(ratios: list[Any]) -> str:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 0.38 * len(ratios) + 0.9))
    labels = [s.figure.label for s in ratios]
    values = [s.median for s in ratios]
    spread = [[s.median - min(s.low, s.median) for s in ratios], [max(s.high, s.median) - s.median for s in ratios]]
    ours = ["our" in s.figure.label or "layers" in s.figure.label for s in ratios]
    axes.barh(labels, values, xerr=spread, color=["#2563eb" if own else "#9aa4b2" for own in ours], height=0.6)
    axes.axvline(1.0, color="#1b1f24", linewidth=0.8)
    if max(values) / max(min(values), 1e-9) > 30:
        axes.set_xscale("log")
    for i, value in enumerate(values):
        axes.text(value, i, f" {value:.2f}x" if value < 10 else f" {value:.0f}x", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return _svg(figure)


def _series(series: dict[str, Any]) -> str:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    columns = 3
    rows = -(-len(series) // columns)
    figure, grid = pyplot.subplots(rows, columns, figsize=(11, 2.6 * rows), squeeze=False)
    for axes, (name, one) in zip(grid.flat, series.items(), strict=False):
        sizes, values = zip(*one["points"], strict=True)
        axes.loglog(sizes, values, marker="o", color="#2563eb", linewidth=1.2, markersize=3)
        axes.set_title(f"{name}\nexponent {one['exponent']:.2f}", fontsize=7.5)
        axes.set_ylim(min(values) / 5, max(values) * 5)
        axes.tick_params(labelsize=7)
        axes.grid(True, which="major", color="#e5e7eb", linewidth=0.6)
    for axes in grid.flat[len(series) :]:
        axes.set_visible(False)
    return _svg(figure)


def _svg(figure: Any) -> str:
    from matplotlib import pyplot

    out = io.StringIO()
    figure.tight_layout()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :]
