"""Chat models inside the pipeline, at the leaf methods that LangChain calls last.

Only there can a layer hold back tokens before any callback sees them, and so before ``stream_mode="messages"``.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from chainops.adapters.bridge import run_async, run_sync, stream_async, stream_sync
from chainops.adapters.scope import CURRENT, new_run
from chainops.adapters.tokens import no_relay, relay_async, relay_sync
from chainops.calls import EMPTY, NO_SETTINGS, ModelCall, ModelResult
from chainops.errors import CallError
from chainops.pipeline import Pipeline

__all__ = ["is_wrapped", "shim", "wrap"]

Model = TypeVar("Model", bound=BaseChatModel)
_SHARED = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")


def wrap(model: Model, pipeline: Pipeline | None = None) -> Model:
    """``model`` as an object of the same class whose calls go through the pipeline.

    Inside an instrumented node that is the graph's pipeline, with the layers of ``pipeline`` inside it; elsewhere
    it is ``pipeline`` alone. State (counters, clients, caches) is shared with the original, which stays as it is.
    """
    return _share(model, _shim_class(_original(type(model)), pipeline))


def shim(model: Model) -> Model:
    """As :func:`wrap` without a pipeline, but a wrapped model stays what it is."""
    return model if is_wrapped(model) else wrap(model)


def is_wrapped(model: BaseChatModel) -> bool:
    """True for what :func:`wrap` returns."""
    return type(model) in _ORIGINALS


_ORIGINALS: WeakKeyDictionary[type, type[BaseChatModel]] = WeakKeyDictionary()
_PLAIN: WeakKeyDictionary[type, type] = WeakKeyDictionary()
_BOUND: WeakKeyDictionary[Pipeline, WeakKeyDictionary[type, type]] = WeakKeyDictionary()


def _original(cls: type) -> type[BaseChatModel]:
    return _ORIGINALS.get(cls, cls)


def _share(model: Model, cls: type) -> Model:
    """An object of ``cls`` on the same attribute dictionary as ``model``."""
    new: Any = object.__new__(cls)
    for name in _SHARED:
        object.__setattr__(new, name, getattr(model, name))
    return new  # type: ignore[no-any-return]


def _shim_class(cls: type[BaseChatModel], pipeline: Pipeline | None) -> type:
    classes = _PLAIN if pipeline is None else _BOUND.setdefault(pipeline, WeakKeyDictionary())
    if cls not in classes:
        names: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        names.update(_leaves(cls, pipeline))
        classes[cls] = sub = type(cls.__name__, (cls,), names)
        _ORIGINALS[sub] = cls
    return classes[cls]


class _Door:
    """One model call on its way into the pipeline."""

    def __init__(self, model: BaseChatModel, cls: type[BaseChatModel], pipeline: Pipeline | None) -> None:
        self.model = _share(model, cls)  # what it calls on itself is not intercepted again
        scope = CURRENT.get()
        self.parent = None if scope is None else scope.call
        if scope is not None:
            pipeline = scope.pipeline if pipeline is None else scope.pipeline.merge(pipeline)
        off = frozenset[str]() if self.parent is None else self.parent.off
        self.pipeline = pipeline if pipeline is not None and pipeline.wraps("model", off) else None

    def call(self, messages: list[Any], stop: Any, params: Mapping[str, Any], *, streaming: bool) -> ModelCall:
        parent = self.parent
        return ModelCall(
            run=new_run("", EMPTY) if parent is None else parent.run,
            kind="model",
            name=_model_name(self.model),
            path="" if parent is None else parent.path,
            attempt=1 if parent is None else parent.attempt,
            config=EMPTY if parent is None else parent.config,
            settings=NO_SETTINGS if parent is None else parent.settings,
            parent=parent,
            engine=_no_engine,
            messages=tuple(messages),
            model=self.model,
            stop=stop,
            params=params,
            streaming=streaming,
        )


async def _no_engine(call: ModelCall) -> ModelResult:
    raise AssertionError("the bridge puts a model call's engine in")


def _model_name(model: BaseChatModel) -> str:
    for field in ("model_name", "model"):
        if isinstance(name := getattr(model, field, None), str) and name:
            return name
    return type(model).__name__


def _leaves(cls: type[BaseChatModel], bound: Pipeline | None) -> dict[str, Callable[..., Any]]:
    """The methods of a shim class. Streaming methods only where the class has them: LangChain looks."""

    def _generate(self: Any, messages: Any, stop: Any = None, run_manager: Any = None, **params: Any) -> ChatResult:
        door = _Door(self, cls, bound)

        def work(call: ModelCall, relay: Any = run_manager) -> ModelResult:
            managed = {"run_manager": relay} if _takes_manager(cls._generate) else {}
            return _model_result(door.model._generate(list(call.messages), call.stop, **managed, **call.params))  # type: ignore[arg-type]

        call = door.call(messages, stop, params, streaming=False)
        if door.pipeline is None:
            return _chat_result(work(call))
        call, relay = relay_sync(call, run_manager, door.pipeline)
        return _chat_result(run_sync(door.pipeline, call, lambda inner: work(inner, relay(inner))))

    async def _agenerate(
        self: Any, messages: Any, stop: Any = None, run_manager: Any = None, **params: Any
    ) -> ChatResult:
        door = _Door(self, cls, bound)

        async def engine(call: ModelCall) -> ModelResult:
            managed = {"run_manager": relay(call)} if _takes_manager(cls._agenerate) else {}
            return _model_result(
                await door.model._agenerate(list(call.messages), call.stop, **managed, **call.params)  # type: ignore[arg-type]
            )

        call = door.call(messages, stop, params, streaming=False)
        if door.pipeline is None:
            relay = no_relay(run_manager)
            return _chat_result(await engine(call))
        call, relay = relay_async(call, run_manager)
        return _chat_result(await run_async(door.pipeline, call.replace(engine=engine)))

    def _stream(
        self: Any, messages: Any, stop: Any = None, run_manager: Any = None, **params: Any
    ) -> Iterator[ChatGenerationChunk]:
        door = _Door(self, cls, bound)
        if door.pipeline is None:
            yield from door.model._stream(messages, stop, run_manager=run_manager, **params)
            return
        edge = _Edge()

        def start(call: ModelCall) -> Iterator[AIMessageChunk]:
            for chunk in door.model._stream(list(call.messages), call.stop, **call.params):  # type: ignore[arg-type]
                yield edge.enter(chunk)

        call = door.call(messages, stop, params, streaming=True)
        chunks = stream_sync(door.pipeline, call, start, _Answer)
        while True:
            try:
                message = next(chunks)
            except StopIteration as done:
                yield from edge.rest(done.value)
                return
            yield edge.leave(message)

    async def _astream(
        self: Any, messages: Any, stop: Any = None, run_manager: Any = None, **params: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        door = _Door(self, cls, bound)
        if door.pipeline is None:
            async for chunk in door.model._astream(messages, stop, run_manager=run_manager, **params):
                yield chunk
            return
        edge = _Edge()

        async def start(call: ModelCall) -> AsyncIterator[AIMessageChunk]:
            async with aclosing(door.model._astream(list(call.messages), call.stop, **call.params)) as chunks:  # type: ignore[arg-type,type-var]
                async for chunk in chunks:
                    yield edge.enter(chunk)

        call, results = door.call(messages, stop, params, streaming=True), list[Any]()
        async with aclosing(stream_async(door.pipeline, call, start, _Answer, results)) as chunks:
            async for message in chunks:
                yield edge.leave(message)
        for chunk in edge.rest(results[0]):
            yield chunk

    leaves: dict[str, Any] = {"_generate": _generate, "_agenerate": _agenerate}
    streams = cls._stream is not BaseChatModel._stream
    if streams:
        leaves["_stream"] = _stream
    if streams or cls._astream is not BaseChatModel._astream:
        leaves["_astream"] = _astream
        # native event hooks would go round the layers; without them LangChain builds its events from the chunks
        leaves |= {name: None for name in _EVENT_HOOKS if hasattr(cls, name)}
    return leaves


_EVENT_HOOKS = ("_stream_chat_model_events", "_astream_chat_model_events")


def _takes_manager(method: Callable[..., Any]) -> bool:
    parameters = inspect.signature(method).parameters
    return "run_manager" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


class _Edge:
    """Between LangChain's generation chunks and the message chunks that layers see."""

    def __init__(self) -> None:
        self.entered: dict[int, ChatGenerationChunk] = {}
        self.left: list[Any] = []

    def enter(self, chunk: ChatGenerationChunk) -> AIMessageChunk:
        # a layer that holds chunks back may still emit them unchanged; older ones are rebuilt from their message
        if len(self.entered) > 256:
            self.entered = dict(list(self.entered.items())[-64:])
        self.entered[id(chunk.message)] = chunk
        return chunk.message  # type: ignore[return-value]

    def leave(self, message: Any) -> ChatGenerationChunk:
        self.left.append(message.content)
        known = self.entered.get(id(message))
        return known if known is not None and known.message is message else ChatGenerationChunk(message=message)

    def rest(self, result: Any) -> Iterator[ChatGenerationChunk]:
        """What is still owed when nothing was emitted: a cache hit, a refusal.

        LangChain builds the answer from the chunks that left. A layer that changed only the result has
        therefore changed nothing, and what it wanted to hide is out: that must not pass in silence.
        """
        answer = _checked(result)
        if not self.left:
            yield ChatGenerationChunk(message=answer.as_chunk())
        elif all(isinstance(part, str) for part in self.left) and "".join(self.left) != answer.text:
            raise CallError(
                f"A middleware returned another text ({len(answer.text)} characters) than was streamed "
                f"({len(''.join(self.left))} characters)",
                hint="Wrap call.emit as well as the result, or set `streaming = 'buffered'` on that middleware.",
                code="call.stream",
            )


class _Answer:
    """Adds the chunks of a model's answer up."""

    def __init__(self) -> None:
        self.chunks: list[AIMessageChunk] = []

    def add(self, chunk: AIMessageChunk) -> None:
        """Keep ``chunk``."""
        # a shallow copy: LangChain writes ids and metadata into the chunk that travels on
        self.chunks.append(chunk.model_copy())

    def result(self) -> ModelResult:
        """The whole answer."""
        if not self.chunks:
            raise CallError("The model's stream ended without a chunk", hint="The model answered nothing; try again.")
        first, *more = self.chunks
        return ModelResult(message=add_ai_message_chunks(first, *more) if more else first)


def _model_result(result: ChatResult) -> ModelResult:
    return ModelResult(message=result.generations[0].message, raw={"chat_result": result})  # type: ignore[arg-type]


def _checked(result: Any) -> ModelResult:
    if not isinstance(result, ModelResult):
        raise CallError(
            f"A middleware returned {type(result).__name__} from wrap_model_call, not a ModelResult",
            hint="Return `ModelResult(message=AIMessage(...))` or what `call_next` returned.",
            code="call.result",
        )
    return result


def _chat_result(result: Any) -> ChatResult:
    """Back to what LangChain expects; what the layers left alone stays the same object."""
    message = _checked(result).message
    original: ChatResult | None = result.raw.get("chat_result")
    if original is None:
        return ChatResult(generations=[ChatGeneration(message=message)])
    first = original.generations[0]
    if first.message is message:
        return original
    if message.id is None:
        message.id = first.message.id
    changed = ChatGeneration(message=message, generation_info=first.generation_info)
    return ChatResult(generations=[changed, *original.generations[1:]], llm_output=original.llm_output)
