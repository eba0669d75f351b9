"""What is about to happen at one boundary of a graph: frozen records that travel through the pipeline."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

from chainops.guard import Guard
from chainops.held import Versions
from chainops.node_settings import NO_SETTINGS, NodeSettings
from chainops.quick_init import quick_init
from chainops.recorder import NO_RECORDER, Recorder, SpanHandle

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCallChunk

__all__ = [
    "NO_SETTINGS",
    "Call",
    "Emit",
    "Handler",
    "Kind",
    "ModelCall",
    "ModelResult",
    "NodeCall",
    "NodeSettings",
    "Recorder",
    "RunContext",
    "SpanHandle",
    "ToolCall",
]

Kind = Literal["run", "node", "route", "task", "model", "tool", "retriever"]
"""run: a whole graph run (also of a graph called inside a node) · node · route: a conditional edge ·
task: a ``@task`` · model · tool · retriever."""

Emit = Callable[[Any], Awaitable[None]]
Handler = Callable[[Any], Awaitable[Any]]
EMPTY: Mapping[str, Any] = MappingProxyType({})


def _empty() -> Mapping[str, Any]:
    return EMPTY


async def discard(chunk: Any) -> None:
    """The ``emit`` of a call that nobody streams from."""


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The run that a call belongs to: equal for every call of one graph run, nested graphs included.

    Args:
        run_id: UUIDv7 as text, sortable by start time.
        thread_id: LangGraph's thread, or None where the run has none.
        graph: name of the outermost graph.
        held: which versions labels mean for this run, whatever they mean elsewhere; None: what they mean now.
        tags: what the run's config carries as tags.
        metadata: what the run's config carries as metadata (user, tenant ...).
    """

    run_id: str
    thread_id: str | None = None
    graph: str = ""
    held: Versions | None = field(default=None, hash=False)
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=_empty, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Call:
    """One thing about to happen. Immutable: change a copy with :meth:`replace` and pass it to ``call_next``.

    Args:
        run: the run that it belongs to.
        kind: what it is, see ``Kind``.
        name: name of the node, tool, model, task or graph.
        path: names of the enclosing nodes, outermost first, joined by ``/`` ("research/write").
            For a model, tool or retriever call: the path of the node that makes it.
        attempt: 1, or more when LangGraph's RetryPolicy runs the node again.
        config: LangChain's RunnableConfig as the node gets it. Treat as read-only.
        settings: what is set for this node, by ``add_node(metadata={"chainops": {...}})`` and by glob.
        parent: the enclosing call, or None for the outermost.
        recorder: where annotations, inner spans and scores go.
        engine: the innermost handler, which does the thing itself. A router replaces it.
        emit: where streamed chunks go. Wrap it to change what leaves (and change the result as well).
        guard: the pipeline's own memory of this call; leave it alone.
    """

    run: RunContext
    kind: Kind
    name: str
    path: str = ""
    attempt: int = 1
    config: Mapping[str, Any] = field(default_factory=_empty, repr=False)
    settings: NodeSettings = field(default=NO_SETTINGS, repr=False)
    parent: Call | None = field(default=None, repr=False)
    recorder: Recorder = field(default=NO_RECORDER, repr=False)
    engine: Handler = field(repr=False)
    emit: Emit = field(default=discard, repr=False)
    guard: Guard = field(default_factory=Guard, repr=False)

    @property
    def thread(self) -> str | None:
        """LangGraph's thread id, or None."""
        return self.run.thread_id

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Values that are set for this node, by the name of the middleware that reads them."""
        return self.settings.metadata

    @property
    def off(self) -> frozenset[str]:
        """Names of the middleware that are switched off for this node."""
        return self.settings.off

    @property
    def input(self) -> Any:
        """What goes in: the node's input, the messages, or the tool's arguments."""
        raise NotImplementedError  # every subclass has it

    def replace(self, **changes: Any) -> Self:
        """A copy with ``changes``; unknown names raise ``TypeError``."""
        return dataclasses.replace(self, **changes)

    def annotate(self, name: str, /, **attributes: Any) -> None:
        """Attach attributes (JSON values) to this call's span, under the name of the middleware."""
        self.recorder.annotate(name, attributes)
        notes = self.guard.mark().notes
        notes[name] = {**notes[name], **attributes} if name in notes else attributes

    def artifact(self, kind: str, name: str, version: str) -> None:
        """Note that the call used this version of an artifact: on its span, and as the tags ``kind:name`` and
        ``kind:name@version``."""
        self.recorder.artifact(kind, name, version)
        self.tag(f"{kind}:{name}", f"{kind}:{name}@{version}")

    def tag(self, *tags: str) -> None:
        """By these tags a cache can be told to forget the result of this call and of every call around it."""
        for call in self._outward():
            call.guard.mark().tags.update(tags)

    def depends(self, name: str, value: Any) -> None:
        """Say that the result depends on ``value`` (JSON) beside the input: a cache inside puts it into the key."""
        self.guard.mark().depends[name] = value

    def mark_private(self) -> None:
        """Say that the result of this call, and of every call around it, is for the user of this run alone.

        A cache does not keep it, unless the user is part of the key.
        """
        for call in self._outward():
            call.guard.mark().private = True

    def mark_bound(self) -> None:
        """Say that the result of this call means something in its thread only: no cache keeps it for another."""
        self.guard.mark().bound = True

    def due_in(self, seconds: float) -> None:
        """Say that the call should have its result within ``seconds``: layers inside wait and retry no longer."""
        due = time.monotonic() + seconds
        known = self.guard.deadline
        self.guard.deadline = due if known is None else min(known, due)

    def remaining_s(self) -> float | None:
        """Seconds until the call, or a call around it, should have its result; below 0: too late; None: no limit."""
        due: float | None = None
        call: Call | None = self
        while call is not None:
            this = call.guard.deadline
            if this is not None and (due is None or this < due):
                due = this
            call = call.parent
        return None if due is None else due - time.monotonic()

    def at_engine(self, name: str, wrap: Callable[[Handler], Handler]) -> None:
        """Put ``wrap(engine)`` in place of the engine, whichever that is when it runs: a router inside may choose it.

        So a layer sees what the engine returns and emits before any layer inside keeps it. Once per ``name``: said
        again, the later one counts.
        """
        if self.guard.around is None:
            self.guard.around = {}
        self.guard.around[name] = wrap

    def _outward(self) -> Iterator[Call]:
        call: Call | None = self
        while call is not None:
            yield call
            call = call.parent


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeCall(Call):
    """A node, route, task or whole run about to execute.

    Args:
        input: the state (or task arguments as ``(args, kwargs)``) that it gets.
        runnable: what runs: LangChain's runnable of a node or route, the function of a task, the graph of a run.
        context: what the run was given as LangGraph's ``context=``.
    """

    input: Any = None
    runnable: Any = field(default=None, repr=False)
    context: Any = field(default=None, repr=False)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelCall(Call):
    """A chat model about to be called with ``messages``.

    Args:
        messages: the prompt as the model would see it now.
        model: the LangChain model object that the node called.
        stop: stop strings, or None.
        params: keyword arguments of the call: ``tools``, ``tool_choice``, sampling parameters ...
        streaming: True when the caller reads chunks as they come.
    """

    messages: Sequence[BaseMessage]
    model: Any = field(default=None, repr=False)
    stop: Sequence[str] | None = None
    params: Mapping[str, Any] = field(default_factory=_empty)
    streaming: bool = False

    @property
    def input(self) -> Sequence[BaseMessage]:
        """The messages."""
        return self.messages


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ToolCall(Call):
    """A tool (kind ``tool``) or retriever (kind ``retriever``) about to run.

    Args:
        args: the arguments: a mapping by name, or the bare value that the caller gave.
        tool: the LangChain tool or retriever object.
        call_id: id of the model's tool call that asked for it, or None for a direct call.
    """

    args: Any
    tool: Any = field(default=None, repr=False)
    call_id: str | None = None

    @property
    def input(self) -> Any:
        """The arguments."""
        return self.args


def tool_call_chunks(message: AIMessage) -> list[ToolCallChunk]:
    """The tool calls of a whole message in the form that a stream carries them."""
    from langchain_core.messages.tool import tool_call_chunk

    return [
        tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=i)
        for i, call in enumerate(message.tool_calls)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResult:
    """What a model answered.

    Args:
        message: the whole answer, tool calls and usage included.
        raw: provider data that LangChain keeps beside the message (``llm_output``), untouched.
    """

    message: AIMessage
    raw: Mapping[str, Any] = field(default_factory=_empty, repr=False)

    @property
    def text(self) -> str:
        """The text of the answer; blocks that are no text are left out."""
        return str(self.message.text)

    @property
    def tokens(self) -> int:
        """Tokens in and out together, or 0 when the model reports no usage."""
        usage = self.message.usage_metadata
        return usage["total_tokens"] if usage else 0

    def as_chunk(self) -> AIMessageChunk:
        """The whole answer as one stream chunk, tool calls included."""
        from langchain_core.messages import AIMessageChunk

        if isinstance(self.message, AIMessageChunk):
            return self.message
        fields = {
            k: getattr(self.message, k) for k in ("content", "additional_kwargs", "response_metadata", "name", "id")
        }
        return AIMessageChunk(
            **fields,
            usage_metadata=self.message.usage_metadata,
            tool_call_chunks=tool_call_chunks(self.message),
            chunk_position="last",
        )

    def replace(self, **changes: Any) -> ModelResult:
        """A copy with ``changes``."""
        return dataclasses.replace(self, **changes)


ModelNext = Callable[[ModelCall], Awaitable[ModelResult]]
ToolNext = Callable[[ToolCall], Awaitable[Any]]
NodeNext = Callable[[NodeCall], Awaitable[Any]]
