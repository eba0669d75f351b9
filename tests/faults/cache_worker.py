"""A process that uses a cache directory together with others. ``python cache_worker.py ROLE DIRECTORY ...``."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from langchain_core.messages import AIMessage, HumanMessage

from chainops.calls import ModelResult
from chainops.middleware.cache import Cache
from chainops.store.cache import Entry, open_tiers
from chainops.testing import model_call


class Number:
    """Eight bytes of a file that all processes read and one writes."""

    def __init__(self, path: Path) -> None:
        self.handle = os.open(path, os.O_RDWR | os.O_CREAT)
        if os.fstat(self.handle).st_size < 8:
            os.pwrite(self.handle, bytes(8), 0)

    def get(self) -> int:
        return int.from_bytes(os.pread(self.handle, 8, 0), "big")

    def set(self, value: int) -> None:
        os.pwrite(self.handle, value.to_bytes(8, "big"), 0)


def write_for_ever(directory: Path) -> None:
    """Until it is killed. Prints a line when the first entries are stored."""
    tiers, i = open_tiers(directory), 0
    while True:
        value = {"message": AIMessage(f"answer {i} " * 50)}
        entry = Entry(key=f"{i:032x}", kind="model", node="n", value=value, created=time.time(), tags=(f"t{i % 7}",))
        tiers.put(entry, tiers.generation())
        i += 1
        if i % 200 == 0:
            tiers.flush()
            print(i, flush=True)


def read_the_truth(directory: Path, rounds: int) -> None:
    """Ask for the truth again and again; it must never be older than what was acknowledged before the question."""
    cache = Cache(directory / "cache", versions={"*": "1"})
    truth, acked = Number(directory / "truth"), Number(directory / "acked")
    ran = 0

    async def engine(call: object) -> ModelResult:
        nonlocal ran
        ran += 1
        call.tag("document:truth")  # type: ignore[attr-defined]
        told = truth.get()
        await asyncio.sleep(0.002)  # long enough that it is changed meanwhile, now and then
        return ModelResult(message=AIMessage(str(told)))

    async def ask() -> None:
        for i in range(rounds):
            known = acked.get()
            call = model_call(messages=(HumanMessage("what?"),), params={"temperature": 0}, model=cache, name="m")
            told = int((await cache.wrap_model_call(call, engine)).text)
            if told < known:
                raise SystemExit(f"round {i}: told {told}, although {known} had been acknowledged")
            if i % 7 == 0:
                await asyncio.sleep(0.0005)

    async def main() -> None:
        await asyncio.gather(*[ask() for _ in range(3)])

    asyncio.run(main())
    cache.close()
    print(3 * rounds, ran)


def change_the_truth(directory: Path, times: int) -> None:
    """Change it, invalidate, and acknowledge."""
    tiers = open_tiers(directory / "cache")
    truth, acked = Number(directory / "truth"), Number(directory / "acked")
    for i in range(times):
        truth.set(truth.get() + 1)
        tiers.invalidate(["document:truth"])
        acked.set(truth.get())
        time.sleep((0.0005, 0.002, 0.006)[i % 3])
    tiers.close()
    print(times)


if __name__ == "__main__":
    role, directory = sys.argv[1], Path(sys.argv[2])
    if role == "write":
        write_for_ever(directory)
    elif role == "read":
        read_the_truth(directory, int(sys.argv[3]))
    else:
        change_the_truth(directory, int(sys.argv[3]))
