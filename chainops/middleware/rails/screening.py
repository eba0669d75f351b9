"""Texts of one call through their rails: conversations, values, answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainops.calls import Call, ModelCall, ModelResult
from chainops.middleware.rails.answers import Refusal
from chainops.middleware.rails.asking import Approvals
from chainops.middleware.rails.judge import Judge, Plan
from chainops.middleware.rails.leaves import Leaf, leaves, rebuilt
from chainops.middleware.rails.placing import Plans
from chainops.middleware.rails.rail import Subject
from chainops.middleware.rails.report import Report
from chainops.middleware.rails.strikes import Strikes
from chainops.middleware.rails.texts import flat, replaced, role_of, talk_of, texts_of, with_arguments, with_texts
from chainops.middleware.rails.verdict import Place, RailBlocked

__all__ = ["Screen"]


class Screen:
    """Judges texts and says what must stand in their place.

    Args:
        stops: a block raises ``RailBlocked``; otherwise ``Refusal``, which the layer answers.
    """

    def __init__(self, judge: Judge, approvals: Approvals, *, stops: bool, strikes: Strikes | None) -> None:
        self.strikes = strikes
        self.judge, self.approvals, self.stops = judge, approvals, stops

    def blocked(self, call: Call, error: RailBlocked, report: Report) -> Exception:
        """Count and note a block; what is to be raised for it."""
        report.blocked(error)
        if self.strikes is not None and error.place == "input" and not error.failed and error.rail != "strikes":
            self.strikes.add(call)
        return error if self.stops else Refusal(error, error.place, {}, {})

    def throttle(self, call: Call, report: Report) -> None:
        """Raise where the user must wait."""
        if self.strikes is None:
            return
        try:
            self.strikes.refuse(call)
        except RailBlocked as error:
            raise self.blocked(call, error, report) from None

    async def messages(self, call: ModelCall, plans: Plans, report: Report) -> list[Any] | None:
        """The conversation with what must be changed in it, or None when nothing must."""
        messages = call.messages
        last = max((i for i, m in enumerate(messages) if role_of(m) == "assistant"), default=-1)
        talk: list[tuple[str, str]] = []
        changed: dict[int, Any] = {}
        for i, message in enumerate(messages):
            role, text = role_of(message), flat(message.content)
            place: Place | None = {"user": "input", "tool": "tool_result"}.get(role)  # type: ignore[assignment]
            if place is not None and text and plans[place]:
                source = str(getattr(message, "name", None) or "") if role == "tool" else ""
                subject = Subject(text, place, call, tuple(talk), source, i > last)
                new = await self.one(call, plans[place], subject, report)
                if new is not None:
                    changed[i] = replaced(message, new)
                    text = new
            talk.append((role, text))
        return [changed.get(i, m) for i, m in enumerate(messages)] if changed else None

    async def value(
        self,
        call: Call,
        plans: Plans,
        value: Any,
        place: Place,
        report: Report,
        *,
        numbers: bool = False,
    ) -> Any:
        """``value`` with what must be changed in it, or None when nothing must."""
        swap: dict[tuple[Place, str], str | None] = {}
        refused: dict[tuple[Place, str], RailBlocked] = {}
        source = call.name if call.kind in ("tool", "retriever") else ""
        talk = not (plans["input"].local and plans["tool_result"].local)
        for leaf in leaves(value, place, numbers=numbers, talk=talk):
            plan = plans[leaf.place]
            if plan:
                await self.leaf(call, plan, leaf, source, report, swap, refused)
        if refused:
            raise Refusal(next(iter(refused.values())), place, {**swap, **dict.fromkeys(refused)}, refused)
        return rebuilt(value, place, swap) if swap else None

    async def leaf(
        self,
        call: Call,
        plan: Plan,
        leaf: Leaf,
        source: str,
        report: Report,
        swap: dict[tuple[Place, str], str | None],
        refused: dict[tuple[Place, str], RailBlocked],
    ) -> None:
        try:
            new = await self.one(call, plan, Subject(leaf.text, leaf.place, call, leaf.talk, source), report)
        except Refusal as refusal:
            refused[leaf.place, leaf.text] = refusal.error
        else:
            if new is not None:
                swap[leaf.place, leaf.text] = new

    async def one(self, call: Call, plan: Plan, subject: Subject, report: Report) -> str | None:
        """The text that must stand in place of the subject's, or None when it may stay."""
        ruling = await self.judge.rule(plan, subject)
        report.saw(subject, ruling)
        if not ruling.found:
            return None
        fresh = subject.fresh
        report.add(ruling, subject)
        if ruling.blocked is not None:
            rail, verdict = ruling.blocked
            if not fresh:
                return f"[withheld: {verdict.category or rail.name}]"
            error = RailBlocked(rail.name, verdict.reason, verdict.category, place=subject.place, failed=verdict.failed)
            raise self.blocked(call, error, report)
        if ruling.ask is not None:
            rail, verdict = ruling.ask
            if fresh:
                if not report.was_asked(subject) and not self.approvals.approved(call, subject.text, elsewhere=True):
                    self.approvals.ask(call, subject, rail, verdict)
                    report.asked(subject)
            elif not self.approvals.approved(call, subject.text):
                return f"[withheld: {verdict.category or rail.name}]"
        return ruling.text if ruling.text != subject.text else None

    async def guarded(self, call: ModelCall, plans: Plans, result: ModelResult, report: Report) -> ModelResult:
        """The answer with what must be changed in it: its text, its thoughts, its tool calls."""
        message, talk = result.message, talk_of(call.messages) if plans["output"] and not plans["output"].local else ()
        update: dict[str, Any] = {}
        if plans["output"]:
            for name, text in texts_of(message).items():
                try:
                    new = await self.one(call, plans["output"], Subject(text, "output", call, talk), report)
                except Refusal as refusal:
                    raise Refusal(refusal.error, "output", {}, {}) from None
                if new is not None:
                    update[name] = new
        if update:
            message = with_texts(message, update)
        if message.tool_calls and plans["tool_call"]:
            spoken = [_spoken(each) for each in message.tool_calls]
            changed = await self.value(call, plans, spoken, "tool_call", report)
            if changed is not None:  # arguments are rewritten where they lie
                message = with_arguments(message, await self.arguments(call, plans, message, report))
        return result if message is result.message else result.replace(message=message)

    async def arguments(self, call: ModelCall, plans: Plans, message: Any, report: Report) -> list[Any]:
        found = []
        for each in message.tool_calls:
            args = await self.value(call, plans, each["args"], "tool_call", report, numbers=True)
            found.append(each if args is None else {**each, "args": args})
        return found


def _spoken(call: Mapping[str, Any]) -> str:
    """A tool call of a message as one text."""
    return f"{call.get('name')}\n{flat(call.get('args'))}"
