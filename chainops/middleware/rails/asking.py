"""Asking a person about a text, through LangGraph's ``interrupt``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from chainops.calls import Call
from chainops.middleware.rails.rail import Rail, Subject
from chainops.middleware.rails.verdict import RailBlocked, Verdict

__all__ = ["Approvals", "digest_of"]

TIMES = 5  # a person is asked again about another text at most so often in one call
YES = frozenset({"yes", "y", "approve", "approved", "allow", "ok", "true"})


def digest_of(text: str) -> str:
    """What an approval names, so that it holds for this text alone."""
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


class Approvals:
    """Which texts people were asked about, and which they approved, in this process.

    LangGraph runs a node again when its question is answered, and hands the answer over by its position. A model may
    say something else the second time: so an answer holds for the text with the digest that it names, or else for one
    that was asked about before; and what a model said is kept until the answer comes.
    """

    def __init__(self, size: int = 4096) -> None:
        self.size = size
        self._known: dict[tuple[str, str], Any] = {}

    def approved(self, call: Call, text: str, *, elsewhere: bool = False) -> bool:
        """Whether a person approved this text in this thread.

        Args:
            elsewhere: in another execution of a node than this one, which must ask again to take its own answer.
        """
        where = self._known.get((_thread(call), f"approved {digest_of(text)}"))
        return where is not None and not (elsewhere and where == _task(call))

    def hold(self, call: Call, key: str, result: Any) -> None:
        """Keep what a model answered, while a person is asked about it."""
        self._keep((_thread(call), f"held {call.path} {key}"), result)

    def held(self, call: Call, key: str) -> Any:
        """What was kept, or None; once."""
        return self._known.pop((_thread(call), f"held {call.path} {key}"), None)

    def ask(self, call: Call, subject: Subject, rail: Rail, verdict: Verdict) -> None:
        """Return when a person approves. Raises ``RailBlocked`` when they do not, or nobody can be asked."""
        refused = RailBlocked(rail.name, verdict.reason, verdict.category, place=subject.place)
        types = sys.modules.get("langgraph.types")
        if types is None:
            raise refused
        digest, thread = digest_of(subject.text), _thread(call)
        question = {
            "rail": rail.name,
            "reason": verdict.reason,
            "category": verdict.category,
            "place": subject.place,
            "text": subject.text,
            "digest": digest,
        }
        for _ in range(TIMES):
            known = (thread, f"asked {digest}") in self._known or subject.place == "input"
            self._keep((thread, f"asked {digest}"), True)
            try:
                answer = types.interrupt(question)
            except (RuntimeError, KeyError):  # not inside a node of a graph, or one without a checkpointer
                raise refused from None
            named = answer.get("digest") if isinstance(answer, Mapping) else None
            if named == digest or (named is None and known):
                if not _yes(answer):
                    raise refused
                self._keep((thread, f"approved {digest}"), _task(call))
                return
        raise refused

    def _keep(self, key: tuple[str, str], value: Any) -> None:
        if len(self._known) >= self.size:
            self._known.pop(next(iter(self._known)), None)
        self._known[key] = value


def _thread(call: Call) -> str:
    return call.run.thread_id or call.run.run_id


def _task(call: Call) -> str:
    """The execution of a node that the call belongs to; the same when LangGraph runs it again after an answer."""
    node: Call | None = call
    while node is not None and node.kind not in ("node", "task"):
        node = node.parent
    config = (node or call).config.get("configurable") or {}
    return f"{(node or call).path}|{config.get('checkpoint_ns', '')}"


def _yes(answer: Any) -> bool:
    if isinstance(answer, Mapping):
        answer = answer.get("approve", answer.get("approved", False))
    return answer is True or (isinstance(answer, str) and answer.strip().lower() in YES)
