"""Searching what passes: values, answers and errors, on the event loop or beside it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from chainops.calls import Call
from chainops.errors import is_control_flow
from chainops.gate import guard
from chainops.middleware.pii.answer import bind, running_texts
from chainops.middleware.pii.errors import members, said, say, stand_in, text_of
from chainops.middleware.pii.stream import PiiWatch
from chainops.middleware.pii.thread import Thread
from chainops.middleware.pii.values import rebuild

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

__all__ = ["INLINE", "Search"]

INLINE = 8192
"""Characters that are searched on the event loop; more of them, or with detectors of others, in a thread."""


class Search:
    """Puts placeholders of a thread into what passes.

    Args:
        inline: characters that are searched on the event loop; more of them are searched in a thread.
        blocks: to keep a value blocks, so that it is done in a thread.
    """

    def __init__(self, *, inline: int, blocks: bool) -> None:
        self.inline, self.blocks = inline, blocks

    async def unless_it_fails(self, call: Call, thread: Thread, given: Any, result: Awaitable[Any]) -> Any:
        """The result; an error, which LangGraph keeps in its checkpoints, says the same with placeholders."""
        try:
            return await result
        except Exception as error:  # noqa: BLE001  raised outside, so that what stands in for it has no such context
            failed = error
        raise await self._without(call, thread, given, failed)

    async def _without(self, call: Call, thread: Thread, given: Any, error: Exception) -> Exception:
        for member in members(error):
            parts = said(member)
            if (cleaned := await self.clean(call, thread, parts)) is not parts:
                say(member, cleaned)
                bind(call, thread, given, cleaned)
        if is_control_flow(error):
            return error
        texts = [text_of(error), text_of(error, repr)]
        if (cleaned := await self.clean(call, thread, texts)) == texts:
            return error
        bind(call, thread, given, cleaned)
        # what it says is not made of its arguments
        return stand_in(error, *cleaned)

    async def answer(self, call: Call, thread: Thread, watch: PiiWatch, message: AIMessage) -> AIMessage:
        """The whole answer as its stream has left: texts through the same watch, all else searched as values."""
        texts: dict[str, str] = {}
        for text in running_texts(message):
            if len(text) > self.inline:
                await asyncio.to_thread(watch.scan, text)
            if self.blocks and (new := watch.unkept(text)):
                await asyncio.to_thread(thread.keep, new)
            texts[text] = guard(watch, text)
        if any(before != after for before, after in texts.items()):
            message = rebuild(message, lambda text, field: texts.get(text, text))
        return await self.clean(call, thread, message, frozenset(texts.values()))  # type: ignore[no-any-return]

    async def clean(self, call: Call | None, thread: Thread, value: Any, done: frozenset[str] = frozenset()) -> Any:
        """``value`` with placeholders; texts in ``done`` are left alone."""
        texts: dict[tuple[str, str], None] = {}

        def note(text: str, field: str) -> str:
            if text not in done:
                texts[text, field] = None
            return text

        rebuild(value, note)
        if not texts:
            return value
        if (unseen := thread.unseen(texts)) and sum(len(text) for text, _ in unseen) > self.inline:
            await asyncio.to_thread(thread.scan, unseen)
        if new := thread.unknown(texts):
            if self.blocks:
                await asyncio.to_thread(thread.keep, new)
            else:
                thread.keep(new)
            if call is not None:
                call.annotate("pii", found=dict(Counter(kind for kind, _ in new)))
        return rebuild(value, lambda text, field: text if text in done else thread.clean(text, field))
