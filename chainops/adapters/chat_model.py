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
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from chainops.adapters.answers import Answer, Edge, chat_result, model_result
from chainops.adapters.bridge import run_async, run_sync, stream_async, stream_sync
from chainops.adapters.scope import CURRENT, new_run
from chainops.adapters.tokens import no_relay, relay_async, relay_sync
from chainops.calls import EMPTY, NO_SETTINGS, ModelCall, ModelResult
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


def _original(cls: type) -> type[BaseChatModel]:
    return _ORIGINALS.get(cls, cls)


def _share(model: Model, cls: type) -> Model:
    """An object of ``cls`` on the same attribute dictionary as ``model``."""
    new: Any = object.__new__(cls)
    for name in _SHARED:
        object.__setattr__(new, name, getattr(model, name))
    return new  # type: ignore[no-any-return]


def _shim_class(cls: type[BaseChatModel], pipeline: Pipeline | None) -> type:
    classes = _PLAIN if pipeline is None else pipeline.adapted
    if cls not in classes:
        names: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        # a class made here has no importable name; its objects are pickled as the original, wrapped again on loading
        names["__reduce_ex__"] = lambda model, protocol: (wrap, (_share(model, cls), pipeline))
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
            return model_result(door.model._generate(list(call.messages), call.stop, **managed, **call.params))  # type: ignore[arg-type]

        call = door.call(messages, stop, params, streaming=False)
        if door.pipeline is None:
            return _unwatched(work(call))
        call, relay, reported = relay_sync(call, run_manager, door.pipeline)
        result = run_sync(door.pipeline, call, lambda inner: work(inner, relay(inner)))
        return chat_result(result, call, reported)

    async def _agenerate(
        self: Any, messages: Any, stop: Any = None, run_manager: Any = None, **params: Any
    ) -> ChatResult:
        door = _Door(self, cls, bound)

        async def engine(call: ModelCall) -> ModelResult:
            managed = {"run_manager": relay(call)} if _takes_manager(cls._agenerate) else {}
            return model_result(
                await door.model._agenerate(list(call.messages), call.stop, **managed, **call.params)  # type: ignore[arg-type]
            )

        call = door.call(messages, stop, params, streaming=False)
        if door.pipeline is None:
            relay = no_relay(run_manager)
            return _unwatched(await engine(call))
        call, relay, reported = relay_async(call, run_manager)
        return chat_result(await run_async(door.pipeline, call.replace(engine=engine)), call, reported)

    def _stream(
        self: Any, messages: Any, stop: Any = None, run_manager: Any = None, **params: Any
    ) -> Iterator[ChatGenerationChunk]:
        door = _Door(self, cls, bound)
        if door.pipeline is None:
            yield from door.model._stream(messages, stop, run_manager=run_manager, **params)
            return
        call = door.call(messages, stop, params, streaming=True)
        edge = Edge(call)

        def start(call: ModelCall) -> Iterator[AIMessageChunk]:
            for chunk in door.model._stream(list(call.messages), call.stop, **call.params):  # type: ignore[arg-type]
                yield edge.enter(chunk)

        chunks = stream_sync(door.pipeline, call, start, Answer)
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
        call, results = door.call(messages, stop, params, streaming=True), list[Any]()
        edge = Edge(call)

        async def start(call: ModelCall) -> AsyncIterator[AIMessageChunk]:
            async with aclosing(door.model._astream(list(call.messages), call.stop, **call.params)) as chunks:  # type: ignore[arg-type,type-var]
                async for chunk in chunks:
                    yield edge.enter(chunk)

        async with aclosing(stream_async(door.pipeline, call, start, Answer, results)) as chunks:
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


def _unwatched(result: ModelResult) -> ChatResult:
    original: ChatResult = result.raw["chat_result"]
    return original


_EVENT_HOOKS = ("_stream_chat_model_events", "_astream_chat_model_events")


def _takes_manager(method: Callable[..., Any]) -> bool:
    parameters = inspect.signature(method).parameters
    return "run_manager" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
