"""LangChain's ``SQLiteCache`` in an environment of its own, beside our cache, in turn.

It lives in ``langchain-community``, which is no dependency here. ``python tests/bench/bench_cache_peer.py --peer PYTHON
[--rounds 15] [--json]``; without a Python that has it the rows are not run. Wall time and CPU time of each side's
process, in microseconds for each hit:

* a lookup with the key known: ``SQLiteCache.lookup`` / a get from our disk tier, decoded / a get from the LRU
* a model call of ten messages answered from the cache, through LangChain's ``ainvoke``: a model with
  ``cache=SQLiteCache(...)`` / a model wrapped with our cache
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from repeated import Spent, medians, ratios

import chainops
from chainops import Pipeline
from chainops.middleware.cache import Cache
from chainops.store.cache import Entry, open_tiers
from chainops.testing import ScriptedModel

HITS = 60
TEXT = "Delivery takes two days. " * 28  # 0.7 KB
TALK = [(("human", "ai")[i % 2], f"turn {i}: {TEXT[:80]}") for i in range(10)]
PEER = """
import asyncio, json, sys, time
from langchain_community.cache import SQLiteCache
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration
folder, text, talk = sys.argv[1], sys.argv[2], [tuple(m) for m in json.loads(sys.argv[3])]
cache = SQLiteCache(folder + "/langchain.db")
cache.update("prompt", "model", [ChatGeneration(message=AIMessage(text))])
model = GenericFakeChatModel(messages=iter([AIMessage(text)]), cache=cache)

async def calls(count):
    for _ in range(count):
        assert (await model.ainvoke(talk, temperature=0)).content == text

async def lookups(count):
    for _ in range(count):
        assert cache.lookup("prompt", "model")[0].message.content == text

asyncio.run(calls(2))  # the second one fails unless it comes from the cache: there is one answer
print("ready", flush=True)
for line in sys.stdin:
    kind, count = line.split()
    work = {"calls": calls, "lookups": lookups}[kind]
    wall, cpu = time.perf_counter(), time.process_time()
    asyncio.run(work(int(count)))
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), flush=True)
"""


class Peer:
    """The process with ``SQLiteCache``."""

    def __init__(self, python: str, folder: Path) -> None:
        self._said = folder / "said.txt"  # not a pipe: a full one would stop the peer
        self._process = subprocess.Popen(
            [python, "-W", "ignore", "-c", PEER, str(folder), TEXT, json.dumps(TALK)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said.open("w"),
            text=True,
            env={**os.environ, "PYTHONPATH": "", "LANGSMITH_TRACING": "false"},
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            said = self._said.read_text().strip().splitlines()
            raise SystemExit(f"{python} has no SQLiteCache that works: {said[-1] if said else 'it ended'}")

    def took(self, kind: str) -> Spent:
        """Seconds for each of ``HITS`` "calls" or "lookups"."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{kind} {HITS}\n")
        self._process.stdin.flush()
        spent = Spent()
        spent.wall, spent.cpu = (seconds / HITS for seconds in json.loads(self._process.stdout.readline()))
        return spent

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Ours:
    """The same hits of our cache."""

    def __init__(self, folder: Path) -> None:
        self.tiers = open_tiers(folder / "tiers")
        now = time.time()
        self.entry = Entry(
            key="k" * 32, kind="model", node="n", value={"message": AIMessage(TEXT)}, created=now, expires=now + 9e9
        )
        self.tiers.put(self.entry, self.tiers.generation())
        self.tiers.flush()
        self.cache = Cache(folder / "cache")
        self.model = chainops.wrap(ScriptedModel([TEXT]), Pipeline([self.cache]))
        self.talk = [(HumanMessage if who == "human" else AIMessage)(text) for who, text in TALK]

    def took(self, kind: str) -> Spent:
        async def calls() -> None:
            for _ in range(HITS):
                assert (await self.model.ainvoke(self.talk, temperature=0)).content == TEXT

        async def lookups() -> None:
            for _ in range(HITS):
                if kind == "disk":
                    self.tiers.recent.drop(self.entry.key)
                assert self.tiers.get(self.entry.key) is not None

        with Spent() as spent:
            asyncio.run(calls() if kind == "calls" else lookups())
        spent.wall, spent.cpu = spent.wall / HITS, spent.cpu / HITS
        return spent

    def stop(self) -> None:
        self.cache.close()
        self.tiers.close()


def compare(python: str, rounds: int, folder: Path) -> dict[str, Any]:
    """Both sides in turn, after a round that warms up."""
    peer, ours = Peer(python, folder), Ours(folder)
    sides = {
        "SQLiteCache, lookup": lambda: peer.took("lookups"),
        "ours, disk tier": lambda: ours.took("disk"),
        "ours, LRU": lambda: ours.took("lru"),
        "SQLiteCache, model call": lambda: peer.took("calls"),
        "ours, model call": lambda: ours.took("calls"),
    }
    found: dict[str, list[Spent]] = {name: [] for name in sides}
    try:
        for number in range(rounds + 1):
            for name in sides if number % 2 else reversed(sides):
                spent = sides[name]()
                if number:
                    found[name].append(spent)
    finally:
        peer.stop()
        ours.stop()
    report: dict[str, Any] = {}
    for clock in ("wall", "cpu"):
        times = {name: [getattr(spent, clock) for spent in spents] for name, spents in found.items()}
        for name, one in times.items():
            report[f"{name}, us {clock}"] = [seconds * 1e6 for seconds in one]
        for name, theirs, mine in (
            ("lookup / disk tier", "SQLiteCache, lookup", "ours, disk tier"),
            ("lookup / LRU", "SQLiteCache, lookup", "ours, LRU"),
            ("model call / model call", "SQLiteCache, model call", "ours, model call"),
        ):
            report[f"{name}, {clock}"] = ratios(times[theirs], times[mine])
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default="", help="a Python with langchain-community")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report: dict[str, Any] = {}
    if options.peer:
        with tempfile.TemporaryDirectory() as folder:
            report = compare(options.peer, options.rounds, Path(folder))
    if options.json:
        print(json.dumps(report))
        return
    for name, value in medians(report).items():
        print(f"{name:40} {value:10.2f}")
    if not report:
        print("not run: give --peer PYTHON")


if __name__ == "__main__":
    main()
