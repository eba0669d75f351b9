"""The rails middleware: judges what goes into and comes out of nodes, models, tools and retrievers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, ClassVar, Literal

from chainops.calls import Call, Kind, ModelCall, ModelNext, ModelResult, NodeCall, NodeNext, ToolCall, ToolNext
from chainops.errors import SetupError
from chainops.layer import Streaming
from chainops.middleware.rails.answers import Refusal, refused_node, refused_tool, without
from chainops.middleware.rails.asking import Approvals
from chainops.middleware.rails.judge import Judge, Plan, Ruling
from chainops.middleware.rails.leaves import Leaf, leaves, rebuilt
from chainops.middleware.rails.placing import Placing
from chainops.middleware.rails.rail import Rail, Subject
from chainops.middleware.rails.report import Report
from chainops.middleware.rails.texts import flat, replaced, role_of
from chainops.middleware.rails.verdict import Place, RailBlocked
from chainops.pipeline import Middleware

__all__ = ["Rails"]

OnBlock = Literal["stop", "refuse"]


class Rails(Middleware):
    """Judges every text that enters or leaves a node, model, tool or retriever.

    New user turns and tool results are judged wherever they enter. What was refused before and still stands in the
    history is withheld from the model. A rail that breaks refuses.

    Args:
        rails: at least one.
        on_block: ``stop`` raises ``RailBlocked`` and so ends the run; ``refuse`` answers with ``refusal`` in place of
            the model, tool or text, and the graph goes on with that.
        refusal: the text of such an answer.
        fields: which fields of a node's state and result are judged beside messages: ``all``, ``messages`` (no others),
            or their names.
        memory: texts whose verdicts are remembered.

    Raises:
        SetupError: codes ``setup.rails_empty`` and ``setup.rail``.
    """

    name: ClassVar[str] = "rails"
    inside: ClassVar[tuple[str, ...]] = ("trace", "access", "limits", "experiment", "prompts", "compress")
    outside: ClassVar[tuple[str, ...]] = ("pii", "semantic_cache", "cache", "route", "retry")
    kinds: ClassVar[frozenset[Kind]] = frozenset({"node", "task", "model", "tool", "retriever"})
    streaming: ClassVar[Streaming] = "window"

    def __init__(
        self,
        rails: Sequence[Rail],
        *,
        on_block: OnBlock = "stop",
        refusal: str = "I cannot help with that.",
        fields: Literal["all", "messages"] | Iterable[str] = "all",
        memory: int = 4096,
    ) -> None:
        if on_block not in ("stop", "refuse"):
            raise SetupError(f"Rails(on_block={on_block!r})", hint="Write 'stop' or 'refuse'.", code="setup.rail")
        self.placing = Placing(rails)
        self.on_block, self.refusal = on_block, refusal
        self.fields = fields if isinstance(fields, str) else frozenset(fields)
        if isinstance(fields, str) and fields not in ("all", "messages"):
            self.fields = frozenset({fields})
        self._judge = Judge(memory)
        self._approvals = Approvals()

    @property
    def rails(self) -> tuple[Rail, ...]:
        """The rails, in the order in which they were given."""
        return self.placing.rails

    def describe(self) -> Mapping[str, Any]:
        """Its settings, and those of each rail."""
        fields = self.fields if isinstance(self.fields, str) else sorted(self.fields)
        rails = {rail.name: rail.describe() for rail in self.rails}
        return {"on_block": self.on_block, "refusal": self.refusal, "fields": fields, "rails": rails}

    async def judged(self, text: str, place: Place = "input") -> Ruling:
        """What the rails of a place say about one text, outside of any call: for commands and tests."""
        return await self._judge.rule(self.placing.default[place], Subject(text, place))

    async def wrap_node_call(self, call: NodeCall, call_next: NodeNext) -> Any:
        """Judge the state that goes in and the update that comes out."""
        plans = self.placing.plans(call)
        report = Report(call)
        try:
            state = await self._value(call, plans, self._chosen(call.input), "input", report)
        except Refusal as refusal:
            return refused_node(call, refusal.error, self.refusal)
        if state is not None:
            call = call.replace(input=self._put_back(call.input, state))
        result = await call_next(call)
        try:
            changed = await self._value(call, plans, self._chosen(result), "output", report)
        except Refusal as refusal:
            return without(result, refusal, self.refusal)
        return result if changed is None else self._put_back(result, changed)

    async def wrap_tool_call(self, call: ToolCall, call_next: ToolNext) -> Any:
        """Judge the arguments and the result of a tool, the query and the documents of a retriever."""
        plans = self.placing.plans(call)
        report = Report(call)
        try:
            args = await self._value(call, plans, call.args, "tool_call", report, numbers=True)
        except Refusal as refusal:
            return refused_tool(call, refusal.error, self.refusal)
        if args is not None:
            call = call.replace(args=args)
        result = await call_next(call)
        place: Place = "retrieval" if call.kind == "retriever" else "tool_result"
        try:
            changed = await self._value(call, plans, result, place, report, numbers=True)
        except Refusal as refusal:
            return without(result, refusal, self.refusal)
        return result if changed is None else changed

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Judge the conversation that goes in, and the answer with its tool calls before any of it leaves."""
        plans = self.placing.plans(call)
        report = Report(call)
        try:
            messages = await self._messages(call, plans, report)
        except Refusal as refusal:
            return await self._refused(call, refusal, None, report)
        if messages is not None:
            call = call.replace(messages=messages)
        guarded = plans["output"] or plans["tool_call"]
        return await (
            self._answered(call, call_next, plans, report) if guarded else self._open(call, call_next, report)
        )

    async def _open(self, call: ModelCall, call_next: ModelNext, report: Report) -> ModelResult:
        result = await call_next(call)
        return report.on(result)

    async def _answered(
        self, call: ModelCall, call_next: ModelNext, plans: Mapping[Place, Plan], report: Report
    ) -> ModelResult:
        key = _key(call) if self._may_ask(plans) else ""
        held = self._approvals.held(call, key) if key else None
        emitted = False

        async def keep_back(chunk: Any) -> None:
            nonlocal emitted
            emitted = True

        result: ModelResult = held if held is not None else await call_next(call.replace(emit=keep_back))
        try:
            changed = await self._value(call, plans, result.message, "output", report)
            if result.message.tool_calls:
                await self._value(call, plans, [_spoken(c) for c in result.message.tool_calls], "tool_call", report)
        except Refusal as refusal:
            return await self._refused(call, refusal, result, report, emitted)
        except RailBlocked:
            raise
        except Exception:
            if key:  # a person is asked: what the model said is kept until the answer comes
                self._approvals.hold(call, key, result)
            raise
        if changed is not None:
            result = result.replace(message=changed)
        result = report.on(result)
        if call.streaming or emitted:
            await call.emit(result.as_chunk())
        return result

    async def _messages(self, call: ModelCall, plans: Mapping[Place, Plan], report: Report) -> list[Any] | None:
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
                subject = Subject(text, place, call, tuple(talk), source)
                new = await self._one(call, plans[place], subject, report, fresh=i > last)
                if new is not None:
                    changed[i] = replaced(message, new)
                    text = new
            talk.append((role, text))
        return [changed.get(i, m) for i, m in enumerate(messages)] if changed else None

    async def _value(
        self,
        call: Call,
        plans: Mapping[Place, Plan],
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
        for leaf in leaves(value, place, numbers=numbers):
            plan = plans[leaf.place]
            if plan and leaf.new:
                await self._leaf(call, plan, leaf, source, report, swap, refused)
        if refused:
            raise Refusal(next(iter(refused.values())), place, {**swap, **dict.fromkeys(refused)}, refused)
        return rebuilt(value, place, swap) if swap else None

    async def _leaf(
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
            new = await self._one(
                call, plan, Subject(leaf.text, leaf.place, call, leaf.talk, source), report, fresh=True
            )
        except Refusal as refusal:
            refused[leaf.place, leaf.text] = refusal.error
        else:
            if new is not None:
                swap[leaf.place, leaf.text] = new

    async def _one(self, call: Call, plan: Plan, subject: Subject, report: Report, *, fresh: bool) -> str | None:
        """The text that must stand in place of the subject's, or None when it may stay."""
        ruling = await self._judge.rule(plan, subject)
        if not ruling.found:
            return None
        report.add(ruling, subject, fresh)
        if ruling.blocked is not None:
            rail, verdict = ruling.blocked
            if not fresh:
                return f"[withheld: {verdict.category or rail.name}]"
            error = RailBlocked(rail.name, verdict.reason, verdict.category, place=subject.place, failed=verdict.failed)
            report.blocked(error)
            if self.on_block == "stop":
                raise error
            raise Refusal(error, subject.place, {}, {})
        if ruling.ask is not None:
            rail, verdict = ruling.ask
            if fresh:
                if not report.was_asked(subject) and not self._approvals.approved(call, subject.text, elsewhere=True):
                    self._approvals.ask(call, subject, rail, verdict)
                    report.asked(subject)
            elif not self._approvals.approved(call, subject.text):
                return f"[withheld: {verdict.category or rail.name}]"
        return ruling.text if ruling.text != subject.text else None

    async def _refused(
        self, call: ModelCall, refusal: Refusal, result: ModelResult | None, report: Report, emitted: bool = False
    ) -> ModelResult:
        """The refusal as the model's answer, under the id of the answer that it stands for."""
        from langchain_core.messages import AIMessage

        if result is None:
            message: Any = AIMessage(self.refusal)
        else:
            message = replaced(result.message, self.refusal)
        about = {**message.response_metadata, "finish_reason": "content_filter"}
        answer = ModelResult(message=message.model_copy(update={"response_metadata": about}))
        answer = report.on(answer)
        if call.streaming or emitted:
            await call.emit(answer.as_chunk())
        return answer

    def _may_ask(self, plans: Mapping[Place, Plan]) -> bool:
        plan = plans["output"]
        return any(rail.policy == "ask" for rail in (*plan.ordered, *plan.parallel))

    def _chosen(self, value: Any) -> Any:
        """The part of a state or result that is judged."""
        if self.fields == "all" or not isinstance(value, Mapping):
            return value
        names = self.fields if isinstance(self.fields, frozenset) else frozenset()
        return {k: v for k, v in value.items() if k == "messages" or k in names}

    def _put_back(self, value: Any, part: Any) -> Any:
        return {**value, **part} if isinstance(value, Mapping) and self.fields != "all" else part


def _spoken(call: Mapping[str, Any]) -> str:
    """A tool call of a message as one text."""
    return f"{call.get('name')}\n{flat(call.get('args'))}"


def _key(call: ModelCall) -> str:
    text = "\x1e".join(f"{m.type}\x1f{flat(m.content)}" for m in call.messages)
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
