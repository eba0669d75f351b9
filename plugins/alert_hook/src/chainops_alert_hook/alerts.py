"""What in a trace is an alert."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from chainops.store.follow import Found
from chainops.store.reader import RunRow, ScoreRow, SpanRow, decode

__all__ = ["Alert", "Bounds", "alerts_in"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Scores whose name matches the glob are an alert below ``below`` and above ``above``."""

    name: str
    below: float | None = None
    above: float | None = None

    def broken_by(self, score: ScoreRow) -> bool:
        """Whether a number is out of them; text never is."""
        if score.value is None or not fnmatchcase(score.name, self.name):
            return False
        return (self.below is not None and score.value < self.below) or (
            self.above is not None and score.value > self.above
        )


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that somebody should know of.

    Args:
        event: error, blocked, budget, budget_soft or score.
        topic: what it is about; alerts of one event and topic are the same to a person.
        id: equal for the same thing, however often it is sent: receivers can tell.
        details: for the body of the request.
        at_ns: when it happened, nanoseconds since 1970.
    """

    event: str
    topic: str
    id: str
    at_ns: int
    details: dict[str, Any] = field(hash=False)


def alerts_in(found: Found, events: Iterable[str], bounds: Sequence[Bounds], *, text: bool = False) -> Iterator[Alert]:
    """The alerts among what is new in a trace file, in its order.

    error: a run failed. blocked: a run was refused by a layer other than the budgets. budget: a model call was refused
    because a budget is spent; budget_soft: its soft limit is passed. score: a number is out of its bounds.
    """
    wanted = set(events)
    for run, span in found.spans:
        alert = _of_span(run, span, text)
        if alert is not None and alert.event in wanted:
            yield alert
    if "score" in wanted:
        for run, span, score in found.scores:
            if any(each.broken_by(score) for each in bounds):
                told: dict[str, Any] = {"score": score.name, "value": score.value, "source": score.source}
                if text:
                    told["comment"] = score.comment
                yield _alert("score", f"{run.graph} {score.name}", run, span, told, str(score.id), score.created_ns)


def _of_span(run: RunRow, span: SpanRow, text: bool) -> Alert | None:
    if span.kind == "model":
        budget = (decode(span.attributes) or {}).get("budgets") or {}
        if "refused" in budget:
            told = {"budget": budget["refused"], **_error(span, text)}
            return _alert("budget", f"{run.graph} {budget['refused']}", run, span, told)
        if budget.get("degrade"):
            soft = ", ".join(map(str, budget.get("soft", ())))
            return _alert("budget_soft", f"{run.graph} {soft}", run, span, {"budget": soft})
    if span.kind == "run" and span.parent is None and span.status in ("error", "blocked"):
        event = "error" if span.status == "error" else "blocked"
        return _alert(event, f"{run.graph} {span.error_type}", run, span, _error(span, text))
    return None


def _error(span: SpanRow, text: bool) -> dict[str, Any]:
    return {"error": span.error_type, **({"message": span.error_message} if text else {})}


def _alert(
    event: str, topic: str, run: RunRow, span: SpanRow, told: dict[str, Any], more: str = "", at_ns: int | None = None
) -> Alert:
    same = hashlib.sha256(f"{event}\0{run.run_id}\0{span.id}\0{more}".encode()).hexdigest()[:32]
    place = {"graph": run.graph, "run_id": run.run_id, "thread": run.thread, "node": span.path or None}
    return Alert(event, topic, same, at_ns or span.end_ns or span.start_ns, {**place, **told})
