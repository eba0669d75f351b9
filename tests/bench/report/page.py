"""The results as one HTML page with its plots inside: nothing is loaded from anywhere."""

from __future__ import annotations

from jinja2 import Environment
from plots import drawn
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
.not, .quiet { color: #57606a } .cause { color: #57606a; padding-left: 2rem }
figure { margin: .8rem 0 0 } svg { max-width: 100%; height: auto } figcaption { font-size: .8rem; color: #57606a }
</style>
<h1>chainops: benchmarks</h1>
<p>Both sides of every comparison ran in turn on this machine, after a warm-up. A figure is the median of its
repetitions; beside it stand the quartiles (of fewer than four repetitions, the lowest and the highest) and their
number. A ratio whose spread is larger than its difference from 1 (both as factors) says "no difference seen".</p>
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
{% if not s.why %}<div class="quiet">{{ c.remark }}</div>{% endif %}</tr>
{% if s.why %}<tr><td colspan="7" class="cause">{{ c.remark }}</tr>{% endif %}{% endfor %}
{% for label in r.missing %}<tr class="not"><td>{{ label }}<td class="n">not run<td><td><td><td><td></tr>{% endfor %}
</table>{% endif %}
{% if r.missing and r.bench.notes %}<p class="not">{{ r.bench.notes }}</p>{% endif %}
{% for plot, caption in plots[r.bench.name] %}<figure>{{ plot | safe }}<figcaption>{{ caption }}</figcaption></figure>
{% endfor %}
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
            plots={r.bench.name: drawn(r) for r in results},
            met=sum(s.verdict == "met" for s in shown),
            missed=[(r.bench.name, s.figure.label) for r in results for s in r.shown if s.verdict == "missed"],
            unmeasured=sum(len(r.missing) + len(r.bench.figures) * bool(r.why) for r in results),
        )
    )
