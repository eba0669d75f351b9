"""What a rail says about a text, and the error that a refusal is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from chainops.errors import Blocked

__all__ = ["ALLOW", "PLACES", "Decision", "Place", "Policy", "RailBlocked", "Verdict"]

Place = Literal["input", "output", "tool_call", "tool_result", "retrieval"]
PLACES: tuple[Place, ...] = ("input", "output", "tool_call", "tool_result", "retrieval")
"""input: what people say · output: what models answer · tool_call: arguments · tool_result · retrieval: documents."""

Policy = Literal["monitor", "flag", "redact", "ask", "block"]
"""monitor: only recorded · flag: also marked on the answer · redact: the text is rewritten · ask: a person decides ·
block: refused."""

Decision = Literal["allow", "rewrite", "block"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rail says about one text.

    Args:
        decision: ``rewrite`` means that ``text`` should stand in its place.
        reason: for people; never the text itself.
        category: what it is, for example ``injection``.
        score: how sure, in [0, 1], where the rail has a score.
        text: the text without what is wrong with it, where the rail can make it.
        failed: the rail broke (error, timeout, no model); this is no judgement on the text.
        policy: set by rails with a band of their own: what is to be done instead of the rail's policy.
        details: JSON values for the trace.
    """

    decision: Decision = "allow"
    reason: str = ""
    category: str = ""
    score: float | None = None
    text: str | None = None
    failed: bool = False
    policy: Policy | None = None
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)


ALLOW = Verdict()


class RailBlocked(Blocked):
    """A rail refused a text. Never retried.

    Attributes:
        rail: which one. reason: why, for people. category: what it found.
        place: where: ``input``, ``output``, ``tool_call``, ``tool_result`` or ``retrieval``.
        failed: the rail could not judge (error, timeout), and so it refused.
        retract: id of the message of which a part has left in a stream, and which must be taken back; else None.
    """

    retract: str | None = None
    default_code: ClassVar[str] = "rails.blocked"

    def __init__(self, rail: str, reason: str, category: str, *, place: Place, failed: bool = False) -> None:
        what = "could not judge" if failed else "refused"
        hint = (
            "Mend the rail, or give it on_error='flag' if it may be passed by."
            if failed
            else "Say it in another way; if the text is harmless, change the rail's policy or threshold."
        )
        super().__init__(f"Rail {rail!r} {what} the {place.replace('_', ' ')}: {reason or category}", hint=hint)
        self.rail, self.reason, self.category, self.place, self.failed = rail, reason, category, place, failed

    def __reduce__(self) -> tuple[object, ...]:
        state = {"retract": self.retract}
        return _rebuild, (self.rail, self.reason, self.category, self.place, self.failed), state


def _rebuild(rail: str, reason: str, category: str, place: Place, failed: bool) -> RailBlocked:
    return RailBlocked(rail, reason, category, place=place, failed=failed)
