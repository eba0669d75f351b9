"""Answers on their way out, piece by piece: exact gates for patterns, sentences for rails that judge."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal

from chainops.calls import Emit
from chainops.errors import SetupError
from chainops.gate import Edit, GatedStream, Watch, guard
from chainops.middleware.rails.judge import Plan
from chainops.middleware.rails.patterns import PatternRail
from chainops.middleware.rails.rail import Rail
from chainops.middleware.rails.verdict import RailBlocked

__all__ = ["Outgoing", "Sentences", "StreamMode", "guard_all"]

StreamMode = Literal["hold", "cut", "whole"]
"""hold: a sentence leaves when it has been judged · cut: it leaves at once, and the stream ends when a rail blocks ·
whole: nothing leaves before everything has been judged."""

OVERLAP = 200  # characters before a sentence that are judged with it
LONG = 400  # characters without an end of a sentence that are judged as one
_END = re.compile(r"[.!?…。！？][\"'”’)\]]*\s|\n")

Judged = Callable[[str], Coroutine[Any, Any, None]]


class Outgoing:
    """How the answers of one place are guarded in a stream.

    Args:
        plan: the rails for answers.
        refuses: a block is answered with a refusal, so nothing may have left before.
    """

    def __init__(self, plan: Plan, mode: StreamMode, *, refuses: bool) -> None:
        self.cut = mode == "cut"
        self.watches: list[Watch] = []
        judging: list[Rail] = []
        whole = mode == "whole"
        for rail in (*plan.ordered, *plan.parallel):
            quiet = rail.policy in ("monitor", "flag")
            if rail.policy == "ask" or (refuses and not (quiet and rail.on_error == "flag")):
                whole = True
            elif isinstance(rail, PatternRail):
                whole = whole or not self._watched(rail)
            elif rail.rewrites or rail.policy == "redact":
                whole = True
            elif not (quiet and rail.on_error == "flag"):
                judging.append(rail)
        self.whole = whole
        self.sentences = Plan(judging) if judging else None

    def _watched(self, rail: PatternRail) -> bool:
        if rail.policy not in ("redact", "block"):
            return True  # judged at the end
        try:
            self.watches.append(_Rail(rail))
        except SetupError:
            return False
        return True

    def stream(self, emit: Emit, judge: Judged) -> Stream:
        """Around ``emit``; ``judge`` raises when a window must not leave."""
        return Stream(self, emit, judge)


class _Rail:
    """The watch of one rail; what breaks in it is a refusal."""

    def __init__(self, rail: PatternRail) -> None:
        self.rail = rail
        self.inner = rail.watch(None if rail.policy == "redact" else self._block)

    def settle(self, text: str, start: int, final: bool) -> tuple[int, Sequence[Edit]]:
        try:
            return self.inner.settle(text, start, final)
        except TimeoutError:
            if self.rail.on_error == "flag":
                return len(text), ()
            raise RailBlocked(self.rail.name, "it took too long", "error", place="output", failed=True) from None

    def _block(self, category: str, value: str) -> str:
        raise RailBlocked(self.rail.name, f"a match of {category}", category, place="output")


class _Pass:
    """Lets everything pass: for streams whose tool calls alone are kept back."""

    def settle(self, text: str, start: int, final: bool) -> tuple[int, Sequence[Edit]]:
        return len(text), ()


class Stream:
    """The ``emit`` for the chunks of one answer: gates one after the other, then sentences."""

    def __init__(self, how: Outgoing, emit: Emit, judge: Judged) -> None:
        self.gates: list[GatedStream] = []
        self.shown: str | None = None  # the id of the message of which something has left

        async def leave(chunk: Any) -> None:
            if self.shown is None and _said(chunk):
                self.shown = str(chunk.id or "")
            await emit(chunk)

        self.sentences = Sentences(leave, judge, cut=how.cut) if how.sentences is not None else None
        out: Emit = leave if self.sentences is None else self.sentences
        for watch in reversed(how.watches or [_Pass()]):
            gate = GatedStream(out, watch)
            self.gates.insert(0, gate)
            out = gate
        self.first = out

    async def __call__(self, chunk: Any) -> None:
        """Take one chunk; what may leave of it leaves."""
        await self.first(chunk)

    async def end(self, message: Any) -> None:
        """Send what is held, after ``message``, the whole answer, has been judged."""
        if self.sentences is not None:
            await self.sentences.settled()
        for gate in self.gates:
            await gate.end(message)

    async def drop(self) -> None:
        """End what still judges; nothing more leaves."""
        if self.sentences is not None:
            await self.sentences.drop()

    @property
    def began(self) -> bool:
        """Whether any chunk came."""
        return self.gates[0].chunks > 0


def guard_all(watches: Sequence[Watch], text: str) -> str:
    """The whole text through all gates."""
    for watch in watches:
        text = guard(watch, text)
    return text


class Sentences:
    """Chunks by sentence: each leaves when its sentence, with what stood before it, has been judged.

    With ``cut`` they leave at once, and the judging runs beside; when it fails, the next chunk raises.
    """

    def __init__(self, emit: Emit, judge: Judged, *, cut: bool = False) -> None:
        self._emit, self._judge, self._cut = emit, judge, cut
        self._text, self._done = "", 0
        self._held: list[Any] = []
        self._task: asyncio.Task[None] | None = None
        self._settled = False

    async def __call__(self, chunk: Any) -> None:
        """Take one chunk."""
        if self._settled:
            await self._emit(chunk)
            return
        self._text += _said(chunk)
        if self._cut:
            self._failed()
            await self._emit(chunk)
        else:
            self._held.append(chunk)
        fresh = self._text[self._done :]
        if fresh and (_END.search(fresh) or len(fresh) >= LONG) and (self._task is None or self._task.done()):
            await self._look()

    async def _look(self) -> None:
        window = self._text[max(0, self._done - OVERLAP) :]
        self._done = len(self._text)
        if self._cut:
            self._failed()
            self._task = asyncio.create_task(self._judge(window))
            return
        await self._judge(window)
        await self._release()

    async def _release(self) -> None:
        held, self._held = self._held, []
        for chunk in held:
            await self._emit(chunk)

    def _failed(self) -> None:
        if self._task is not None and self._task.done():
            self._task.result()

    async def settled(self) -> None:
        """The whole answer has been judged: what is held leaves, and what comes passes."""
        if self._task is not None:
            await self._task
        self._settled = True
        await self._release()

    async def drop(self) -> None:
        """End a judgement that runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _said(chunk: Any) -> str:
    """The text of a chunk, thoughts included."""
    thoughts = chunk.additional_kwargs.get("reasoning_content") if chunk.additional_kwargs else None
    return f"{thoughts or ''}{chunk.text if isinstance(chunk.content, str) else _blocks(chunk.content)}"


def _blocks(content: Any) -> str:
    from chainops.middleware.rails.texts import flat

    return flat(content)
