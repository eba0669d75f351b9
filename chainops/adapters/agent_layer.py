"""One of LangChain's agent middleware as a chainops layer, as far as its hooks allow."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    ExtendedModelResponse,
    ModelRequest,
    ModelResponse,
)
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langgraph.types import Command

from chainops.adapters.agent_request import model_request, tool_request
from chainops.adapters.langchain_agent import ChainopsMiddleware
from chainops.calls import ModelCall, ModelNext, ModelResult, ToolCall, ToolNext
from chainops.errors import CallError, SetupError
from chainops.layer import Middleware, Streaming

__all__ = ["from_langchain", "hooks_of"]

_NODE_HOOKS = ("before_agent", "before_model", "after_model", "after_agent")
_NEED_TOOLS = frozenset({"LLMToolSelectorMiddleware", "ProviderToolSearchMiddleware"})
_CANNOT = "it becomes a node of the agent's graph and changes its state; a layer is around a call and has neither"


def hooks_of(middleware: AgentMiddleware[Any, Any, Any]) -> dict[str, str]:
    """Every hook that ``middleware`` overrides: empty where it can run as a layer, else why it cannot."""
    found: dict[str, str] = {}
    for hook in ("wrap_model_call", "wrap_tool_call"):
        if _overrides(middleware, hook) or _overrides(middleware, f"a{hook}"):
            found[hook] = ""
    for hook in _NODE_HOOKS:
        if _overrides(middleware, hook) or _overrides(middleware, f"a{hook}"):
            found[hook] = _CANNOT
    if getattr(middleware, "tools", None):
        found["tools"] = "a layer cannot give the agent tools"
    if middleware.transformers:
        found["transformers"] = "a layer cannot add a transformer to the graph's stream"
    if set(middleware.state_schema.__annotations__) - set(AgentState.__annotations__):
        found["state_schema"] = "a layer has no state in the graph"
    if type(middleware).__name__ in _NEED_TOOLS:
        found["wrap_model_call"] = "it chooses among tool objects; a layer sees them as they were bound to the model"
    return found


def from_langchain(middleware: AgentMiddleware[Any, Any, Any]) -> Middleware:
    """A chainops layer that runs ``wrap_model_call`` and ``wrap_tool_call`` of ``middleware``, asynchronous or not.

    It works around every model and tool of an instrumented graph, whatever built it. The hooks get the request that
    they know: ``state`` is the input of the node where that is a mapping, ``tools`` are as they were bound to the
    model. They see whole answers, so the layer buffers streams.

    Raises:
        SetupError: it has hooks that cannot run as a layer, each named with the reason, or none that can
            (``setup.bridge``).
    """
    if isinstance(middleware, ChainopsMiddleware):
        raise SetupError(
            "A ChainopsMiddleware is a pipeline already", hint="Use its layers themselves.", code="setup.bridge"
        )
    hooks = hooks_of(middleware)
    if cannot := {hook: why for hook, why in hooks.items() if why}:
        reasons = "; ".join(f"{hook}: {why}" for hook, why in cannot.items())
        raise SetupError(
            f"{type(middleware).__name__} cannot run as a chainops layer: {reasons}",
            hint="Give it to create_agent(middleware=[...]), and chainops beside it as ChainopsMiddleware(pipeline).",
            code="setup.bridge",
        )
    if not hooks:
        raise SetupError(
            f"{type(middleware).__name__} overrides no hook",
            hint="Leave it out, or override wrap_model_call or wrap_tool_call.",
            code="setup.bridge",
        )
    bases = [_HOOKS[hook] for hook in hooks]
    own = {"name": _snake(middleware.name), "streaming": "buffered" if "wrap_model_call" in hooks else "transparent"}
    made: type[_Layer] = type(type(middleware).__name__, (*bases, _Layer), own)
    return made(middleware)


def _overrides(middleware: Any, hook: str) -> bool:
    return getattr(type(middleware), hook) is not getattr(AgentMiddleware, hook)


def _snake(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.removesuffix("Middleware")).lower()
    return re.sub(r"\W+", "_", words).strip("_") or "langchain"


class _Layer(Middleware):
    """What the layers of both hooks have in common."""

    inside: ClassVar[tuple[str, ...]] = ("trace",)
    streaming: ClassVar[Streaming] = "buffered"

    def __init__(self, theirs: AgentMiddleware[Any, Any, Any]) -> None:
        self.theirs = theirs

    def describe(self) -> Mapping[str, Any]:
        """Whose hooks run."""
        return {"langchain": f"{type(self.theirs).__module__}.{type(self.theirs).__qualname__}"}

    async def _run(self, hook: str, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Their hook: on the loop where they wrote it asynchronous, else on a thread that comes back for each call."""
        if _overrides(self.theirs, f"a{hook}"):
            return await getattr(self.theirs, f"a{hook}")(request, handler)
        loop, inner = asyncio.get_running_loop(), set[asyncio.Task[Any]]()
        stopped = False

        async def go(changed: Any) -> Any:
            inner.add(asyncio.current_task())  # type: ignore[arg-type]
            return await handler(changed)

        def from_thread(changed: Any) -> Any:
            # an exception that no `except Exception` of theirs retries
            if stopped:
                raise asyncio.CancelledError
            try:
                return asyncio.run_coroutine_threadsafe(go(changed), loop).result()
            except concurrent.futures.CancelledError:
                raise asyncio.CancelledError from None

        thread = asyncio.ensure_future(asyncio.to_thread(getattr(self.theirs, hook), request, from_thread))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            stopped = True
            for task in inner:
                task.cancel()
            await asyncio.wait({thread, *inner})
            raise


class _ModelHook(_Layer):
    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        request, was, answers = model_request(call), model_request(call), dict[int, ModelResult]()

        async def handler(changed: Any) -> ModelResponse[Any]:
            result = await call_next(_changed(call, was, changed))
            answers[id(result.message)] = result
            return ModelResponse(result=[result.message])

        message = _only_message(self.name, await self._run("wrap_model_call", request, handler))
        known = answers.get(id(message))
        if known is not None:
            return known
        last = next(reversed(answers.values()), None)
        return ModelResult(message=message) if last is None else last.replace(message=message)


class _ToolHook(_Layer):
    async def wrap_tool_call(self, call: ToolCall, call_next: ToolNext) -> Any:
        if call.kind != "tool":
            return await call_next(call)
        results = dict[int, Any]()

        async def handler(changed: Any) -> Any:
            result = await call_next(call.replace(args=changed.tool_call["args"]))
            message = result if isinstance(result, ToolMessage | Command) else _tool_message(call, result)
            results[id(message)] = result
            return message

        answer = await self._run("wrap_tool_call", tool_request(call), handler)
        if id(answer) in results:
            return results[id(answer)]
        return answer.content if isinstance(answer, ToolMessage) and call.call_id is None else answer


_HOOKS: dict[str, type[_Layer]] = {"wrap_model_call": _ModelHook, "wrap_tool_call": _ToolHook}


def _changed(call: ModelCall, was: ModelRequest[Any], now: ModelRequest[Any]) -> ModelCall:
    """The call as their hook wants it, also where it changed a list in place; what they did not touch stays."""
    changes: dict[str, Any] = {}
    system = [] if now.system_message is None else [now.system_message]
    messages = (*system, *now.messages)
    if list(map(id, messages)) != list(map(id, call.messages)):
        changes["messages"] = messages
    params = {key: value for key, value in call.params.items() if key not in was.model_settings} | now.model_settings
    for name in ("tools", "tool_choice"):
        if getattr(now, name) != getattr(was, name):
            params[name] = getattr(now, name)
    if params != call.params:
        changes["params"] = params
    if now.model is not was.model:
        changes |= {"model": now.model, "engine": _engine(now)}
    return call.replace(**changes) if changes else call


def _engine(request: ModelRequest[Any]) -> Callable[[ModelCall], Awaitable[ModelResult]]:
    """Another model in place of the one that the node called."""

    async def engine(call: ModelCall) -> ModelResult:
        tools, settings = call.params.get("tools"), dict(call.params)
        settings.pop("tools", None)
        if call.stop is not None:
            settings["stop"] = list(call.stop)
        model: Any = request.model.bind_tools(tools, **settings) if tools else request.model.bind(**settings)
        quiet: Any = {"callbacks": []}
        if not call.streaming:
            return ModelResult(message=await model.ainvoke(list(call.messages), quiet))
        total: AIMessageChunk | None = None
        async for chunk in model.astream(list(call.messages), quiet):
            total = chunk if total is None else total + chunk
            await call.emit(chunk)
        if total is None:
            raise CallError(f"{type(request.model).__name__} streamed nothing", code="call.empty")
        return ModelResult(message=total)

    return engine


def _only_message(name: str, response: Any) -> AIMessage:
    command = None
    if isinstance(response, ExtendedModelResponse):
        response, command = response.model_response, response.command
    if command is not None or getattr(response, "structured_response", None) is not None:
        what = "a structured response" if command is None else "a Command"
        raise CallError(
            f"Middleware {name!r} answered with {what}, which only a node of an agent can carry out",
            hint="Give it to create_agent(middleware=[...]).",
            code="call.bridge",
        )
    messages = response.result if isinstance(response, ModelResponse) else [response]
    if len(messages) != 1 or not isinstance(messages[0], AIMessage):
        kinds = ", ".join(type(message).__name__ for message in messages) or "nothing"
        raise CallError(
            f"Middleware {name!r} answered with {kinds}, where a model call has exactly one AIMessage",
            hint="Give it to create_agent(middleware=[...]).",
            code="call.bridge",
        )
    return messages[0]


def _tool_message(call: ToolCall, result: Any) -> ToolMessage:
    content = result if isinstance(result, str | list) else str(result)
    return ToolMessage(content, name=call.name, tool_call_id=call.call_id or f"chainops-{call.name}")
