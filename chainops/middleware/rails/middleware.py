"""The rails middleware: judges what goes into and comes out of nodes, models, tools and retrievers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from chainops.calls import Kind, ModelCall, ModelNext, ModelResult, NodeCall, NodeNext, ToolCall, ToolNext
from chainops.errors import SetupError
from chainops.layer import Streaming
from chainops.middleware.rails.answers import Refusal, refused_node, refused_tool, without
from chainops.middleware.rails.asking import Approvals
from chainops.middleware.rails.boundary import at_the_boundary
from chainops.middleware.rails.judge import Judge, Ruling
from chainops.middleware.rails.outgoing import Outgoing, StreamMode, guard_all
from chainops.middleware.rails.placing import Placing, Plans
from chainops.middleware.rails.rail import Rail, Subject
from chainops.middleware.rails.report import Report
from chainops.middleware.rails.screening import Screen
from chainops.middleware.rails.strikes import Strikes
from chainops.middleware.rails.texts import flat, replaced, talk_of
from chainops.middleware.rails.verdict import Place, RailBlocked
from chainops.pipeline import Middleware

if TYPE_CHECKING:
    from chainops.middleware.rails.nemo.dialog import Dialog

__all__ = ["Rails"]

OnBlock = Literal["stop", "refuse"]


class Rails(Middleware):
    """Judges every text that enters or leaves a node, model, tool or retriever.

    New user turns and tool results are judged wherever they enter. What was refused before and still stands in the
    history is withheld from the model. A rail that breaks refuses.

    Args:
        rails: at least one, or a dialog.
        on_block: ``stop`` raises ``RailBlocked`` and so ends the run; ``refuse`` answers with ``refusal`` in place of
            the model, tool or text, and the graph goes on with that.
        refusal: the text of such an answer.
        stream: how rails that judge (not patterns) treat a stream; see ``StreamMode``.
        fields: which fields of a node's state and result are judged beside messages: ``all``, ``messages`` (no others),
            or their names.
        dialog: what a person says to the graph goes to these dialog rails first; their answer ends the run.
        strikes: counts refusals by user, and makes users wait who are refused again and again.
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
        stream: StreamMode = "hold",
        fields: Literal["all", "messages"] | Iterable[str] = "all",
        dialog: Dialog | None = None,
        strikes: Strikes | None = None,
        memory: int = 4096,
    ) -> None:
        if on_block not in ("stop", "refuse"):
            raise SetupError(f"Rails(on_block={on_block!r})", hint="Write 'stop' or 'refuse'.", code="setup.rail")
        if stream not in ("hold", "cut", "whole"):
            raise SetupError(f"Rails(stream={stream!r})", hint="Write hold, cut or whole.", code="setup.rail")
        self.placing = Placing(rails, needed=dialog is None)
        self.stream: StreamMode = stream
        self._streams: dict[int, Outgoing] = {}
        self.on_block, self.refusal = on_block, refusal
        self.fields = fields if isinstance(fields, str) else frozenset(fields)
        if isinstance(fields, str) and fields not in ("all", "messages"):
            self.fields = frozenset({fields})
        self.strikes = strikes
        self.dialog = dialog
        if dialog is not None:
            self.kinds = self.kinds | {"run"}  # type: ignore[misc]  # of this layer, not of the class
        self._preparing = [rail for rail in rails if type(rail).prepare is not Rail.prepare]
        self._screen = Screen(Judge(memory), Approvals(), stops=on_block == "stop", strikes=strikes)

    @property
    def rails(self) -> tuple[Rail, ...]:
        """The rails, in the order in which they were given."""
        return self.placing.rails

    def describe(self) -> Mapping[str, Any]:
        """Its settings, and those of each rail."""
        fields = self.fields if isinstance(self.fields, str) else sorted(self.fields)
        rails = {rail.name: rail.describe() for rail in self.rails}
        strikes = None if self.strikes is None else self.strikes.describe()
        return {
            "on_block": self.on_block,
            "stream": self.stream,
            "refusal": self.refusal,
            "fields": fields,
            "strikes": strikes,
            "dialog": None if self.dialog is None else self.dialog.describe(),
            "rails": rails,
        }

    async def judged(self, text: str, place: Place = "input") -> Ruling:
        """What the rails of a place say about one text, outside of any call: for commands and tests."""
        return await self._screen.judge.rule(self.placing.default[place], Subject(text, place))

    async def wrap_node_call(self, call: NodeCall, call_next: NodeNext) -> Any:
        """Judge the state that goes in and the update that comes out."""
        if call.kind == "run":
            if self.dialog is None:
                return await call_next(call)
            return await at_the_boundary(self.dialog, call, call_next, answers=self.on_block == "refuse")
        plans = self.placing.plans(call)
        report = Report(call)
        try:
            self._screen.throttle(call, report)
            state = await self._screen.value(call, plans, self._chosen(call.input), "input", report)
        except Refusal as refusal:
            return refused_node(call, refusal.error, self.refusal)
        if state is not None:
            call = call.replace(input=self._put_back(call.input, state))
        result = await call_next(call)
        try:
            changed = await self._screen.value(call, plans, self._chosen(result), "output", report)
        except Refusal as refusal:
            return without(result, refusal, self.refusal)
        return result if changed is None else self._put_back(result, changed)

    async def wrap_tool_call(self, call: ToolCall, call_next: ToolNext) -> Any:
        """Judge the arguments and the result of a tool, the query and the documents of a retriever."""
        plans = self.placing.plans(call)
        report = Report(call)
        try:
            args = await self._screen.value(call, plans, call.args, "tool_call", report, numbers=True)
        except Refusal as refusal:
            return refused_tool(call, refusal.error, self.refusal)
        if args is not None:
            call = call.replace(args=args)
        result = await call_next(call)
        place: Place = "retrieval" if call.kind == "retriever" else "tool_result"
        try:
            changed = await self._screen.value(call, plans, result, place, report, numbers=True)
        except Refusal as refusal:
            return without(result, refusal, self.refusal)
        return result if changed is None else changed

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Judge the conversation that goes in, and the answer with its tool calls before any of it leaves."""
        plans = self.placing.plans(call)
        report = Report(call)
        try:
            self._screen.throttle(call, report)
            messages = await self._screen.messages(call, plans, report)
        except Refusal as refusal:
            return await self._refused(call, refusal, None, report)
        if messages is not None:
            call = call.replace(messages=messages)
        for rail in self._preparing:
            if rail in self.placing.placed(call):
                call = rail.prepare(call)
        guarded = plans["output"] or plans["tool_call"]
        return await (
            self._answered(call, call_next, plans, report) if guarded else self._open(call, call_next, report)
        )

    async def _open(self, call: ModelCall, call_next: ModelNext, report: Report) -> ModelResult:
        result = await call_next(call)
        return report.on(result)

    async def _answered(self, call: ModelCall, call_next: ModelNext, plans: Plans, report: Report) -> ModelResult:
        how = self._outgoing(plans)
        if call.streaming and not how.whole:
            return await self._streamed(call, call_next, plans, report, how)
        key = _key(call) if self._may_ask(plans) else ""
        held = self._screen.approvals.held(call, key) if key else None
        emitted = False

        async def keep_back(chunk: Any) -> None:
            nonlocal emitted
            emitted = True

        result: ModelResult = held if held is not None else await call_next(call.replace(emit=keep_back))
        try:
            guarded = await self._screen.guarded(call, plans, result, report)
        except Refusal as refusal:
            return await self._refused(call, refusal, result, report, emitted)
        except RailBlocked:
            raise
        except Exception:
            if key:  # a person is asked: what the model said is kept until the answer comes
                self._screen.approvals.hold(call, key, result)
            raise
        result = report.on(guarded)
        if call.streaming or emitted:
            await call.emit(result.as_chunk())
        return result

    async def _streamed(
        self,
        call: ModelCall,
        call_next: ModelNext,
        plans: Plans,
        report: Report,
        how: Outgoing,
    ) -> ModelResult:
        talk = talk_of(call.messages)

        async def judge(window: str) -> None:
            assert how.sentences is not None
            await self._screen.one(call, how.sentences, Subject(window, "output", call, talk), report)

        stream = how.stream(call.emit, judge)
        try:
            result = await call_next(call.replace(emit=stream))
            guarded = await self._screen.guarded(call, plans, result, report)
            expected = guard_all(how.watches, result.text)
            if stream.began and isinstance(result.message.content, str) and guarded.text != expected:
                raise RailBlocked(
                    "rails", "what was found is no part of it alone", "whole", place="output", failed=True
                )
            result = report.on(guarded)
            await stream.end(result.message)
            if not stream.began:
                await call.emit(result.as_chunk())
            return result
        except RailBlocked as error:
            error.retract = stream.shown
            report.blocked(error)
            raise
        finally:
            await stream.drop()

    def _outgoing(self, plans: Plans) -> Outgoing:
        plan = plans["output"]
        known = self._streams.get(id(plan))
        if known is None:
            known = self._streams[id(plan)] = Outgoing(plan, self.stream, refuses=self.on_block == "refuse")
        return known

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

    def _may_ask(self, plans: Plans) -> bool:
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


def _key(call: ModelCall) -> str:
    text = "\x1e".join(f"{m.type}\x1f{flat(m.content)}" for m in call.messages)
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
