"""Runs a graph on one input after the other, until there is no more or until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import orjson

from chainops.errors import CallError, ChainopsError
from chainops.store.encode import plain

__all__ = ["Worker", "lines_of_stdin"]

AFTER_CANCEL_S = 3.0
"""What a cancelled run gets to clean up before the process ends without it."""


class Worker:
    """Takes inputs, answers with one object each. SIGTERM and SIGINT: the running one is finished, no other begun.

    What got no answer was not begun.

    Args:
        graph: an instrumented graph.
        say: takes each answer.
        grace_s: seconds that the running one has after a signal; then it is cancelled. A second signal cancels at once.
    """

    def __init__(self, graph: Any, say: Callable[[dict[str, Any]], None], *, grace_s: float = 25.0) -> None:
        self.graph, self.say, self.grace_s = graph, say, grace_s
        self.signal: signal.Signals | None = None
        self.cancelled = 0
        self.failed = 0
        self.stuck = False

    async def work(self, lines: Iterable[bytes], *, thread: str | None = None) -> int:
        """Answer every line; the number of answers."""
        stop, again = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def told(which: signal.Signals) -> None:
            (again if stop.is_set() else stop).set()
            self.signal = self.signal or which

        for which in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(which, told, which)
        done = 0
        async for number, line in _numbered(lines, stop):
            if line.strip():
                await self._one(number, line, thread, stop, again)
                done += 1
            if stop.is_set() or self.stuck:
                break
        return done

    async def _one(
        self, number: int, line: bytes, thread: str | None, stop: asyncio.Event, again: asyncio.Event
    ) -> None:
        try:
            given, config = _parse(line, thread)
        except CallError as wrong:
            self._failed(number, wrong)
            return
        task = asyncio.ensure_future(self.graph.ainvoke(given, config))
        waits = asyncio.ensure_future(self._limit(stop, again))
        await asyncio.wait({task, waits}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            self.cancelled += 1
            task.cancel()
            await asyncio.wait({task}, timeout=AFTER_CANCEL_S)
            self.stuck = not task.done()  # it does not react: a thread of its own, or it swallows the cancellation
        waits.cancel()
        if self.stuck or task.cancelled():
            self._failed(
                number, CallError("Cancelled: the process is stopping", hint="Send it again.", code="call.stop")
            )
        elif (error := task.exception()) is not None:
            self._failed(number, error)
        else:
            self.say({"line": number, "thread": config["configurable"].get("thread_id"), **_answer(task.result())})

    async def _limit(self, stop: asyncio.Event, again: asyncio.Event) -> None:
        await stop.wait()
        try:
            await asyncio.wait_for(again.wait(), self.grace_s)
        except TimeoutError:
            return

    def _failed(self, number: int, error: BaseException) -> None:
        self.failed += 1
        known = isinstance(error, ChainopsError)
        code, hint = (error.code, error.hint) if isinstance(error, ChainopsError) else (type(error).__name__, "")
        message = error.message if known else str(error)  # type: ignore[attr-defined]
        self.say({"line": number, "error": {"code": code, "message": message, "hint": hint}})


def lines_of_stdin() -> Iterator[bytes]:
    """Lines of standard input, past Python's buffer: a thread that waits in it would keep the process from ending."""
    rest = b""
    while block := os.read(0, 1 << 16):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _parse(line: bytes, thread: str | None) -> tuple[Any, dict[str, Any]]:
    """An input and its config: ``{"thread": ..., "input": ...}``, ``{"thread": ..., "resume": ...}``, or the input."""
    try:
        value = orjson.loads(line)
    except ValueError as error:
        raise CallError(f"A line is no JSON: {error}", hint="Send one object per line.", code="call.input") from None
    if isinstance(value, dict) and value.keys() <= {"thread", "input", "resume"} and {"input", "resume"} & value.keys():
        thread = value.get("thread", thread)
        if "resume" in value:
            from langgraph.types import Command

            value = Command(resume=value["resume"])
        else:
            value = value["input"]
    return value, {"configurable": {} if thread is None else {"thread_id": str(thread)}}


def _answer(result: Any) -> dict[str, Any]:
    if isinstance(result, dict) and "__interrupt__" in result:
        asked = [plain(each.value) for each in result["__interrupt__"]]
        return {"interrupt": asked, "output": plain({k: v for k, v in result.items() if k != "__interrupt__"})}
    return {"output": plain(result)}


async def _numbered(lines: Iterable[bytes], stop: asyncio.Event) -> AsyncIterator[tuple[int, bytes]]:
    """Lines with their number, read in a thread of their own, because that blocks; ends at once with ``stop``."""
    waiting: queue.Queue[None] = queue.Queue(maxsize=1)  # one line ahead, no more: the others stay with their sender
    arrived: asyncio.Queue[bytes | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def hand_over(line: bytes | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(arrived.put_nowait, line)

    def read() -> None:
        for line in lines:
            waiting.put(None)
            hand_over(line)
        hand_over(None)

    threading.Thread(target=read, name="chainops-stdin", daemon=True).start()
    number, stopped = 0, asyncio.ensure_future(stop.wait())
    while True:
        coming = asyncio.ensure_future(arrived.get())
        await asyncio.wait({coming, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set() or (line := coming.result()) is None:
            coming.cancel()
            stopped.cancel()
            return
        number += 1
        yield number, line
        waiting.get_nowait()
