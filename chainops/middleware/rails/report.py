"""What rails found in one call: on its span, as scores, and on the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chainops.calls import Call, ModelResult
from chainops.middleware.rails.asking import digest_of
from chainops.middleware.rails.judge import Plan, Ruling
from chainops.middleware.rails.rail import Subject
from chainops.middleware.rails.verdict import Place, RailBlocked
from chainops.recorder import NO_RECORDER

__all__ = ["Report"]


class Report:
    """Gathers the findings of one call. Texts are never part of it."""

    __slots__ = ("call", "found", "judged")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.found: list[dict[str, Any]] | None = None
        self.judged: dict[str, list[str]] | None = None

    def saw(self, plan: Plan, place: Place) -> None:
        """Say on the span which rails judged at a place."""
        if self.call.recorder is not NO_RECORDER and (self.judged is None or place not in self.judged):
            self.judged = {**(self.judged or {}), place: plan.names}
            self.call.annotate("rails", judged=self.judged)

    def add(self, ruling: Ruling, subject: Subject, fresh: bool) -> None:
        """Annotate and score each finding; those in the history are annotated only."""
        for rail, verdict, policy in ruling.found:
            row: dict[str, Any] = {"rail": rail.name, "place": subject.place, "policy": policy}
            row |= {"category": verdict.category, "reason": verdict.reason}
            if verdict.score is not None:
                row["score"] = round(verdict.score, 4)
            if verdict.failed:
                row["failed"] = True
            if not fresh:
                row["history"] = True
            self.found = [*(self.found or ()), row]
            if fresh:
                self.call.recorder.score(f"rail.{rail.name}", policy, source="rule", comment=verdict.reason)
        self.call.annotate("rails", found=self.found)

    def blocked(self, error: RailBlocked) -> None:
        """Say that the call was refused."""
        found = {"rail": error.rail, "category": error.category, "place": error.place}
        if error.retract is not None:
            found["retract"] = error.retract
        self.call.annotate("rails", blocked=found)

    def asked(self, subject: Subject) -> None:
        """Remember, for this call and those around it up to the node, that a person approved the text."""
        digest = digest_of(subject.text)
        for call in self._up_to_the_node():
            mark = call.guard.mark()
            mark.asked = True
            notes = mark.notes.setdefault("rails", {})
            notes["approved"] = [*notes.get("approved", ()), digest]

    def was_asked(self, subject: Subject) -> bool:
        """Whether a person approved the text in this execution of the node."""
        digest = digest_of(subject.text)
        return any(
            call.guard.marks is not None and digest in call.guard.marks.notes.get("rails", {}).get("approved", ())
            for call in self._up_to_the_node()
        )

    def _up_to_the_node(self) -> Iterator[Call]:
        call: Call | None = self.call
        while call is not None:
            yield call
            call = None if call.kind in ("node", "task") else call.parent

    def on(self, result: ModelResult) -> ModelResult:
        """The answer with what was flagged, where the application can see it."""
        flagged = [row for row in self.found or () if row["policy"] != "monitor" and "history" not in row]
        if not flagged:
            return result
        rows = [{k: row[k] for k in ("rail", "place", "policy", "category")} for row in flagged]
        metadata = {**result.message.response_metadata, "rails": rows}
        return result.replace(message=result.message.model_copy(update={"response_metadata": metadata}))
