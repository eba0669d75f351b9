"""What rails found in one call: on its span, as scores, and on the answer."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter_ns
from typing import Any

from chainops.calls import Call, ModelResult
from chainops.middleware.rails.asking import digest_of
from chainops.middleware.rails.judge import Given, Ruling, label_of
from chainops.middleware.rails.rail import Subject
from chainops.middleware.rails.verdict import PLACES, Place, RailBlocked
from chainops.recorder import NO_RECORDER, Judgement

__all__ = ["Report"]


class Report:
    """Gathers the findings of one call. Texts are never part of it."""

    __slots__ = ("call", "found", "recorded")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.recorded = call.recorder is not NO_RECORDER
        self.found: list[dict[str, Any]] | None = None

    def saw(self, subject: Subject, ruling: Ruling) -> None:
        """Tell the trace what each rail said of a text: a span and a score.

        Rails that wait have told it themselves, unless they said it earlier of the same text, and it is remembered.
        """
        if not self.recorded:
            return
        told, ruling.told = ruling.told, True
        if subject.fresh:
            now = perf_counter_ns() if told else 0
            found = [_judgement(each, subject.place, now) for each in ruling.given if told or not each.rail.waits]
            if found:
                self.call.recorder.judged(found)

    def add(self, ruling: Ruling, subject: Subject) -> None:
        """Annotate each finding."""
        for rail, verdict, policy in ruling.found:
            row: dict[str, Any] = {"rail": rail.name, "place": subject.place, "policy": policy}
            row |= {"category": verdict.category, "reason": verdict.reason}
            if verdict.score is not None:
                row["score"] = round(verdict.score, 4)
            if verdict.failed:
                row["failed"] = True
            if not subject.fresh:
                row["history"] = True
            self.found = [*(self.found or ()), row]
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


def _judgement(given: Given, place: Place, now: int) -> Judgement:
    """``now``: the verdict is remembered, and costs nothing."""
    rail, verdict, began, ended = given
    about: dict[str, Any] = _PLACES[place]
    if now:
        began = ended = now
        about = {**about, "remembered": True}
    if verdict.decision == "allow":
        return Judgement(f"rail {rail.name}", f"rail.{rail.name}", "allow", began, ended, "", about)
    about = {**about, "decision": verdict.decision, "category": verdict.category, "score": verdict.score}
    label = label_of(rail, verdict)
    return Judgement(f"rail {rail.name}", f"rail.{rail.name}", label, began, ended, verdict.reason, about)


_PLACES: dict[Place, dict[str, Any]] = {place: {"place": place} for place in PLACES}
