"""Instructions that the hot paths take, counted by callgrind: the same on a busy machine as on an idle one.

``python tests/bench/instructions.py [--update] [--json]``. Each path runs 100 and 1,100 times in a process of its own
under ``valgrind --tool=callgrind``; the difference is what 1,000 take. Compared with ``instructions.json``, which holds
a baseline per Python version and architecture: exit code 1 when a path takes 5 % more. ``--update`` writes it.
Without valgrind, or without a baseline for this Python, it says so and checks nothing. By hand or in a nightly job;
some minutes.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASELINE = Path(__file__).with_suffix(".json")
TOLERANCE = 0.05
HEAD = """
import asyncio, sys
from chainops.calls import NodeCall, RunContext
from chainops.pipeline import Middleware, Pipeline
times = int(sys.argv[1])
run = RunContext(run_id="r", graph="g")
async def engine(call): return call.input
def call(): return NodeCall(run=run, kind="node", name="n", path="n", engine=engine, input={"x": 1})
def drive(coroutine):
    try: coroutine.send(None)
    except StopIteration as done: return done.value
    raise AssertionError("it waited")
async def through(self, call, call_next): return await call_next(call)
"""
PATHS = {
    "a node call through 5 layers": """
body = {"wrap_node_call": through, "suspends": False}
chain = Pipeline([type(f"L{i}", (Middleware,), body)() for i in range(5)]).chain("node")
for _ in range(times): drive(chain(call()))
""",
    "a node call through limits": """
from chainops.middleware.limits import LimitRule, Limits
chain = Pipeline([Limits([LimitRule(name="x", kind="node", requests=1e9, concurrent=1000)])]).chain("node")
for _ in range(times): drive(chain(call()))
""",
    "a word through the stream gate": """
from chainops.gate import Gate, Patterns, Rule
gate = Gate(Patterns([Rule("key", r"sk-[a-z0-9]{20}"), Rule("card", r"[0-9]{4} [0-9]{4} [0-9]{4} [0-9]{4}")]))
for _ in range(times): gate.feed(" order")
""",
    "a get from the cache's LRU": """
import time
from chainops.store.cache import Entry
from chainops.store.cache.memory import Recent
recent = Recent(100)
recent.put(Entry(key="k" * 32, kind="model", node="n", value={"a": "x" * 200}, created=time.time()), 0)
for _ in range(times): assert recent.get("k" * 32, 0)
""",
    "the record of a span": """
from chainops.store.records import RunState, SpanRecord
state = RunState("r", "g")
for _ in range(times): SpanRecord(state, None, "node", "write", "write", 1, {"x": 1})
""",
    "a prompt rendered": """
from chainops.middleware.prompts.compile import compile_prompt
inputs = {"type": "object", "properties": {"question": {"type": "string"}}}
messages = [{"role": "user", "template": "Answer {{ question }} kindly."}]
prompt = compile_prompt("p", {"messages": messages, "inputs": inputs})
for _ in range(times): prompt.render({"question": "Where is my order?"})
""",
    "a word's difficulty": """
from chainops.middleware.route.difficulty import difficulty
for i in range(times): difficulty("Draft a legal clause for this MOU")
""",
}


def count(program: str, times: int) -> int:
    """Instructions of a whole process."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", sys.executable, "-c", program, str(times)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"},
            check=False,
        )
        found = re.search(r"^(?:summary|totals): (\d+)", out.read_text() if out.exists() else "", re.MULTILINE)
    if done.returncode != 0 or found is None:
        raise SystemExit(f"error: {(done.stderr.strip().splitlines() or ['callgrind failed'])[-1]}")
    return int(found[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("not checked: valgrind is not installed", file=sys.stderr)
        return 0
    key = f"{platform.python_implementation()} {platform.python_version()} {platform.machine()}"
    known = json.loads(BASELINE.read_text()) if BASELINE.is_file() else {}
    found = {}
    for name, path in PATHS.items():
        count(HEAD + path, 1)  # compiles what is imported
        found[name] = (count(HEAD + path, 1100) - count(HEAD + path, 100)) // 1000
        before = known.get(key, {}).get(name)
        change = f"{found[name] / before - 1:+.1%}" if before else "no baseline"
        print(f"{name:40} {found[name]:>9,} instructions  {change}", file=sys.stderr)
    if options.json:
        print(json.dumps(found))
    if options.update:
        BASELINE.write_text(json.dumps({**known, key: found}, indent=2, sort_keys=True) + "\n")
        return 0
    if key not in known:
        print(f"not checked: no baseline for {key}; --update makes one", file=sys.stderr)
        return 0
    slower = [name for name, value in found.items() if value > known[key].get(name, value) * (1 + TOLERANCE)]
    if slower:
        print(f"slower than the baseline by more than {TOLERANCE:.0%}: {', '.join(slower)}", file=sys.stderr)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
