"""Old turns told in a few sentences by a model, and checked: nothing invented, no name or number of the person lost."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from chainops.errors import is_control_flow
from chainops.middleware.compress.draft import Draft
from chainops.middleware.compress.extract import Count, extract
from chainops.middleware.compress.groups import kind_of
from chainops.middleware.compress.trim import oldest
from chainops.middleware.compress.units import units_of

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from chainops.middleware.compress.stages import Job

__all__ = ["INSTRUCTION", "Summaries", "Summary", "facts_of", "supported", "transcript"]

INSTRUCTION = (
    "Summarise the conversation below in a few short sentences. Keep every name, number, date, decision and open "
    "question. Add nothing that is not said in it. Answer with the summary only."
)
HEAD = "[Summary of earlier messages]"
LEAST = 200
"""Tokens of old turns from which on a summary is worth asking for."""
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_NAME = re.compile(r"(?<![.!?:\n] )(?<!^)(?<![\n(\"'])\b(?:[A-Z][\w'’-]+|[A-Z]{2,})\b")
_SPEAKER = {"human": "User", "ai": "Assistant", "tool": "Tool"}
Ask = Callable[[str, int], Awaitable[str]]
"""Of a text and a number of tokens: what a model makes of it."""


def facts_of(text: str) -> set[str]:
    """Numbers, and names: words with a capital inside a sentence; small letters."""
    return {found.lower() for pattern in (_NUMBER, _NAME) for found in pattern.findall(text)}


def supported(summary: str, source: str) -> tuple[str, set[str]]:
    """The sentences of ``summary`` whose numbers and names all stand in ``source``, and what did not."""
    said = source.lower()
    numbers = set(_NUMBER.findall(said))
    kept, invented = [], set()
    for unit in units_of(summary):
        wrong = {f for f in facts_of(unit.text) if (f not in numbers if f[0].isdigit() else f not in said)}
        invented |= wrong
        if not wrong:
            kept.append(unit.text)
    return "".join(kept).strip(), invented


class Summaries:
    """The last thousand summaries, by a hash of what they tell, so that the same turns are told once and alike."""

    def __init__(self, most: int = 1000) -> None:
        self._known: OrderedDict[tuple[int, int], str] = OrderedDict()
        self._most = most
        self._lock = threading.Lock()

    def get(self, source: str) -> str | None:
        """The summary, or None."""
        return self._known.get((hash(source), len(source)))

    def put(self, source: str, summary: str) -> None:
        """Keep it."""
        with self._lock:
            self._known[hash(source), len(source)] = summary
            if len(self._known) > self._most:
                self._known.popitem(last=False)


class Summary:
    """In the place of the oldest groups, what was said in them."""

    name, must = "summary", True

    async def run(self, draft: Draft, job: Job) -> None:
        """Only what does not fit otherwise; where no model can be asked or none is right, by extraction."""
        from langchain_core.messages import HumanMessage

        if job.ask is None or job.limit is None or draft.tokens <= job.limit:
            return
        room = max(job.limit // 8, 48)
        groups = oldest(draft, job.limit - room, step=job.step)
        places = [i for group in groups for i in group.places]
        size = sum(draft.sizes[i] for i in places)
        if size < max(LEAST, 2 * room):
            return
        source = transcript([draft.messages[i] for i in places])
        text, notes = await _told(source, room - 8, int(job.limit * 0.7), draft.counts.text, job.ask, job.summaries)
        draft.notes[self.name] = {**notes, "messages": len(places)}
        if text:
            draft.replace(groups, HumanMessage(f"{HEAD}\n{text}"), "summarised")


async def _told(
    source: str, room: int, window: int, count: Count, ask: Ask, known: Summaries | None
) -> tuple[str, dict[str, Any]]:
    """The summary of ``source`` in at most ``room`` tokens, and how it came about."""
    found = known.get(source) if known is not None else None
    if found is not None:
        return found, {"by": "known"}
    notes: dict[str, Any] = {"by": "model"}
    text = ""
    try:
        given = (await extract(source, window, query="", count=count)).text
        text, invented = supported(await ask(given, room), source)
        if invented:
            notes["not_said"] = sorted(invented)[:20]
    except Exception as error:
        if is_control_flow(error):
            raise
        notes["failed"] = f"{type(error).__name__}: {error}"
    if not text:
        notes["by"] = "extraction"
        return (await extract(source, room, query=_asked(source), count=count)).text, notes
    text, added = _with_missing(text, source, room, count)
    if added:
        notes["added"] = added
    if known is not None:
        known.put(source, text)
    return text, notes


def _with_missing(text: str, source: str, room: int, count: Count) -> tuple[str, int]:
    """``text``, and sentences of the person with numbers and names that it lacks, as far as there is room."""
    added = 0
    if count(text) > room:
        text = "".join(unit.text for unit in units_of(text)[:3])
    for unit in units_of(source):
        missing = facts_of(unit.text) - facts_of(f". {text} ") if unit.speaker == "user" else set()
        missing = {fact for fact in missing if fact not in text.lower()}
        if missing and count(longer := f"{text} {unit.text.strip()}") <= room:
            text, added = longer, added + 1
    return text, added


def _asked(source: str) -> str:
    return " ".join(unit.text for unit in units_of(source) if unit.speaker == "user")


def transcript(messages: Sequence[BaseMessage]) -> str:
    """What was said, a line for each message with who said it."""
    lines = []
    for message in messages:
        text = str(message.text).strip()
        if text:
            lines.append(f"{_SPEAKER.get(kind_of(message), 'Note')}: {text}")
    return "\n".join(lines)
