"""What prompts cost, as ratios, both sides in one run: rendering, compiling, and looking up a label.

``python tests/bench/bench_prompts.py [--rounds 200] [--json]``. A ratio is the median over rounds of one side divided
by the other of the same round; which side goes first changes from round to round.

* rendering a cached version, values checked and output capped / a bare compiled Jinja2 template of the same text
* compiling that bare template at each call / rendering the cached version
* the time to resolve a label in a registry of 10,000 versions and 1,000 labels (microseconds, of this machine)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
from repeated import Spent, medians

from chainops.middleware.prompts.compile import compile_prompt
from chainops.store.canonical import canonical, fingerprint
from chainops.store.migrate import upgrade
from chainops.store.registry import Registry

CALLS = 50  # renderings in one measurement
SYSTEM = """You answer questions of the customers of {{ shop }}.
{% if tone == "kind" %}
Be kind.
{% endif %}
Use these documents only:
{% for doc in docs %}
{{ loop.index }}. {{ doc.title|upper }} ({{ doc.date }})
{{ doc.text }}
{% endfor %}
Topics: {{ topics|join(", ") }}"""
USER = "{{ question }}"
VALUES: dict[str, Any] = {
    "shop": "the corner shop",
    "tone": "kind",
    "docs": [{"title": f"Doc {i}", "date": "2026-01-02", "text": "Delivery takes two days. " * 8} for i in range(8)],
    "topics": ["orders", "delivery", "refunds"],
    "question": "Where is my order 41-83?",
}
TEXT = {"type": "string"}
DOC = {"type": "object", "properties": {"title": TEXT, "date": TEXT, "text": TEXT}, "required": ["title", "text"]}
INPUTS = {
    "type": "object",
    "properties": {
        "shop": TEXT,
        "tone": {"enum": ["kind", "stern"]},
        "docs": {"type": "array", "items": DOC},
        "topics": {"type": "array", "items": TEXT},
        "question": {"type": "string", "maxLength": 2000},
    },
    "required": list(VALUES),
}


def sides() -> dict[str, Callable[[], Any]]:
    def bare_environment() -> jinja2.Environment:
        return jinja2.Environment(trim_blocks=True, lstrip_blocks=True, cache_size=0)

    env = bare_environment()
    bare = [env.from_string(SYSTEM), env.from_string(USER)]
    messages = [{"role": "system", "template": SYSTEM}, {"role": "user", "template": USER}]
    ours = compile_prompt("bench", {"inputs": INPUTS, "messages": messages})
    assert [m.text for m in ours.render(VALUES).messages] == [t.render(VALUES) for t in bare]
    return {
        "bare": lambda: [t.render(VALUES) for t in bare],
        "ours": lambda: ours.render(VALUES),
        "compiling": lambda: [env.from_string(text).render(VALUES) for text in (SYSTEM, USER)],
    }


def measure(work: Callable[[], Any], calls: int) -> Spent:
    with Spent() as spent:
        for _ in range(calls):
            work()
    spent.wall, spent.cpu = spent.wall / calls, spent.cpu / calls
    return spent


def rendering(rounds: int) -> dict[str, list[float]]:
    work = sides()
    for each in work.values():
        measure(each, 5)
    ours, bare, compiling = [], [], []
    for round_ in range(rounds):
        names = ["bare", "ours", "compiling"]
        took = {
            n: measure(work[n], 3 if n == "compiling" else CALLS) for n in names[round_ % 3 :] + names[: round_ % 3]
        }
        ours.append(took["ours"])
        bare.append(took["bare"])
        compiling.append(took["compiling"])
    return {
        "cached render / bare compiled template": [o.wall / b.wall for o, b in zip(ours, bare, strict=True)],
        "cached render / bare compiled template, CPU": [o.cpu / b.cpu for o, b in zip(ours, bare, strict=True)],
        "compiling per call / cached render": [c.wall / o.wall for c, o in zip(compiling, ours, strict=True)],
        "compiling per call / cached render, CPU": [c.cpu / o.cpu for c, o in zip(compiling, ours, strict=True)],
        "cached render, us": [o.wall * 1e6 for o in ours],
        "bare compiled template, us": [b.wall * 1e6 for b in bare],
    }


def fill(path: Path) -> None:
    """10,000 versions of 100 prompts, 1,000 labels, written directly: adding them one by one is not the question."""
    upgrade(path)
    with sqlite3.connect(path) as db:
        for p in range(100):
            for v in range(1, 101):
                data = canonical({"messages": [{"role": "user", "template": f"{p} {v} {SYSTEM}"}]})
                row = ("prompt", f"p{p}", v, fingerprint(data), "bench", "", data, 1)
                db.execute(
                    "INSERT INTO artifact (kind, name, version, sha256, author, message, content, created_ns)"
                    " VALUES (?,?,?,?,?,?,?,?)",
                    row,
                )
            for label in range(10):
                db.execute(
                    "INSERT INTO label (kind, name, label, to_version, who, why, created_ns) VALUES (?,?,?,?,?,?,?)",
                    ("prompt", f"p{p}", f"label{label}", 50 + label, "bench", "", 1),
                )
    db.close()


async def resolving(path: Path, rounds: int) -> dict[str, Any]:
    registry = Registry(path, "prompt", max_age_s=3600)
    started = time.perf_counter()
    await registry.view()
    loaded = time.perf_counter() - started
    took = []
    for round_ in range(rounds):
        started = time.perf_counter()
        for i in range(100):
            view = await registry.view()
            version = view.resolve(f"p{i}", f"label{round_ % 10}")
        took.append((time.perf_counter() - started) / 100 * 1e6)
        assert version.version == 50 + round_ % 10
    return {"resolve a label, us": took, "first look at the file, ms": loaded * 1e3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results: dict[str, Any] = rendering(options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        fill(path)
        results |= asyncio.run(resolving(path, options.rounds))
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for name, value in medians(results).items():
        print(f"{name:42} {value:10.2f}")


if __name__ == "__main__":
    main()
