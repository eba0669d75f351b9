"""The bridge to create_agent, both ways."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    ExtendedModelResponse,
    LLMToolSelectorMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelResponse,
    ModelRetryMiddleware,
    PIIMiddleware,
    TodoListMiddleware,
    ToolErrorMiddleware,
    ToolRetryMiddleware,
    dynamic_prompt,
    wrap_model_call,
    wrap_tool_call,
)
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from chainops import Blocked, CallError, Middleware, SetupError, instrument
from chainops.adapters.agent_layer import from_langchain, hooks_of
from chainops.adapters.langchain_agent import ChainopsMiddleware
from chainops.calls import ModelCall, ModelResult, NodeCall, ToolCall
from chainops.middleware.trace import Trace
from chainops.testing import MiddlewareConformance, RecordedTrace, ScriptedModel


def asks(name: str = "look", **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"call-{name}"}])


@tool
def look(word: str) -> str:
    """Look a word up."""
    return f"found {word}"


class Seen(Middleware):
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        self.calls.append((call.kind, call.path))
        return await call_next(call)

    async def wrap_tool_call(self, call: ToolCall, call_next: Any) -> Any:
        self.calls.append((call.kind, call.name))
        return await call_next(call)


class Redact(Middleware):
    """Keeps every digit back, in the stream as in the result."""

    suspends = False

    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        def clean(message: Any) -> Any:
            return message.model_copy(update={"content": "".join("*" if c.isdigit() else c for c in message.text)})

        async def emit(chunk: Any) -> None:
            await call.emit(clean(chunk))

        result = await call_next(call.replace(emit=emit))
        return result.replace(message=clean(result.message))


class NodesOnly(Middleware):
    async def wrap_node_call(self, call: NodeCall, call_next: Any) -> Any:
        return await call_next(call)


@pytest.mark.parametrize("sync", [False, True])
async def test_a_pipeline_in_create_agent_sees_its_models_and_tools(sync: bool) -> None:
    seen = Seen()
    model = ScriptedModel([asks(word="tea"), "It is tea."])
    agent = create_agent(model, [look], middleware=[ChainopsMiddleware([seen])])
    given: Any = {"messages": ["What is it?"]}
    state = await asyncio.to_thread(agent.invoke, given) if sync else await agent.ainvoke(given)
    assert state["messages"][-1].text == "It is tea."
    assert isinstance(state["messages"][-2], ToolMessage)
    assert seen.calls == [("model", "model"), ("tool", "look"), ("model", "model")]


async def test_no_token_leaves_before_the_layers_saw_it() -> None:
    agent = create_agent(ScriptedModel(["the code is 4711 today"]), middleware=[ChainopsMiddleware([Redact()])])
    streamed, final = "", ""
    async for mode, part in agent.astream({"messages": ["?"]}, stream_mode=["messages", "values"]):
        if mode == "messages":
            streamed += part[0].text
        else:
            final = part["messages"][-1].text
    assert (streamed, final) == ("the code is **** today",) * 2


async def test_what_a_bridge_records_has_the_thread_and_the_agents_name(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "t.db")
    agent = create_agent(ScriptedModel(["fine"]), middleware=[ChainopsMiddleware([trace], agent="helper")])
    await agent.ainvoke({"messages": ["?"]}, {"configurable": {"thread_id": "t9"}})
    trace.close()
    with sqlite3.connect(tmp_path / "t.db") as db:
        assert db.execute("SELECT graph, thread, model_calls FROM run").fetchall() == [("helper", "t9", 1)]


async def test_a_layer_runs_once_where_the_agent_is_instrumented_too() -> None:
    seen = Seen()
    agent = create_agent(ScriptedModel(["fine"]), middleware=[ChainopsMiddleware([seen])])
    await instrument(agent, [seen]).ainvoke({"messages": ["?"]})
    assert [kind for kind, _ in seen.calls] == ["model"]


def test_a_layer_that_wraps_nodes_only_is_refused_with_the_way_out() -> None:
    with pytest.raises(SetupError, match=r"'nodes_only' wraps nodes only(.|\n)*chainops.instrument\(agent"):
        ChainopsMiddleware([NodesOnly()])


class Refuses(Middleware):
    async def wrap_tool_call(self, call: ToolCall, call_next: Any) -> Any:
        raise Blocked("not today", code="test.no")


async def test_a_refusal_of_a_layer_ends_the_agent_with_that_error() -> None:
    agent = create_agent(ScriptedModel([asks(word="x")]), [look], middleware=[ChainopsMiddleware([Refuses()])])
    with pytest.raises(Blocked, match="not today"):
        await agent.ainvoke({"messages": ["?"]})


# the other way: LangChain's own as layers, around agents and around any graph


def plain_graph(model: Any, *tools: Any) -> Any:
    async def node(state: MessagesState) -> Any:
        messages = [await model.ainvoke(state["messages"])]
        for call in messages[0].tool_calls:
            messages.append(await tools[0].ainvoke({**call, "type": "tool_call"}))
        return {"messages": messages}

    builder = StateGraph(MessagesState)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return builder.compile()


RETRY = {"max_retries": 2, "initial_delay": 0.0, "jitter": False}


@pytest.mark.parametrize("bridged", [False, True])
async def test_an_app_on_five_middleware_of_langchain_does_the_same_bridged(bridged: bool) -> None:
    tries = {"tool": 0}

    @tool
    def flaky(word: str) -> str:
        """Fails once."""
        tries["tool"] += 1
        if tries["tool"] == 1:
            raise ConnectionError("try again")
        return f"found {word} " * 50

    @tool
    def broken(word: str) -> str:
        """Always fails."""
        raise ValueError("no such word")

    first = ScriptedModel([ConnectionError("down")] * 9)
    second = ScriptedModel([asks("flaky", word="tea"), asks("broken", word="x"), "All done."])
    five: list[AgentMiddleware[Any, Any, Any]] = [
        ModelFallbackMiddleware(second),
        ModelRetryMiddleware(**RETRY, on_failure="error"),
        ToolErrorMiddleware(on_error=lambda error, request: f"failed: {error}"),
        ToolRetryMiddleware(**RETRY, on_failure="error", retry_on=(ConnectionError,)),
        ContextEditingMiddleware(edits=[ClearToolUsesEdit(trigger=60, keep=1, placeholder="[cleared]")]),
    ]
    tools = [flaky, broken]
    if bridged:
        agent = instrument(create_agent(first, tools), [from_langchain(each) for each in five])
    else:
        agent = create_agent(first, tools, middleware=five)
    state = await agent.ainvoke({"messages": [HumanMessage("go")]})
    assert [type(m).__name__ for m in state["messages"]] == [
        "HumanMessage",
        "AIMessage",
        "ToolMessage",
        "AIMessage",
        "ToolMessage",
        "AIMessage",
    ]
    assert state["messages"][-1].text == "All done."
    assert state["messages"][4].content == "failed: no such word"
    assert (tries["tool"], len(first.calls), len(second.calls)) == (2, 9, 3)
    asked = [message.content for message in second.calls[2] if isinstance(message, ToolMessage)]
    assert asked == ["[cleared]", "failed: no such word"]


def test_every_hook_that_cannot_run_as_a_layer_is_named_with_the_reason() -> None:
    assert hooks_of(ModelRetryMiddleware()) == {"wrap_model_call": ""}
    with pytest.raises(SetupError, match=r"PIIMiddleware cannot run.*before_model: it becomes a node.*after_model"):
        from_langchain(PIIMiddleware("email"))
    with pytest.raises(SetupError, match=r"tools: a layer cannot give the agent tools"):
        from_langchain(TodoListMiddleware())
    with pytest.raises(SetupError, match=r"state_schema: a layer has no state"):
        from_langchain(ModelCallLimitMiddleware(run_limit=1))
    with pytest.raises(SetupError, match=r"it chooses among tool objects"):
        from_langchain(LLMToolSelectorMiddleware())
    with pytest.raises(SetupError, match="overrides no hook"):
        from_langchain(AgentMiddleware())
    with pytest.raises(SetupError, match="is a pipeline already"):
        from_langchain(ChainopsMiddleware([]))


async def test_a_dynamic_prompt_reaches_a_model_of_any_graph() -> None:
    @dynamic_prompt
    def polite(request: Any) -> str:
        return f"Be polite. {len(request.state['messages'])} so far."

    model = ScriptedModel(["ok"])
    await instrument(plain_graph(model), [from_langchain(polite)]).ainvoke({"messages": ["hi"]})
    assert [(m.type, m.text) for m in model.calls[0]] == [("system", "Be polite. 1 so far."), ("human", "hi")]


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (ExtendedModelResponse(ModelResponse([AIMessage("ok")]), Command(update={"seen": True})), "a Command"),
        (ModelResponse([AIMessage("ok")], structured_response={"key": 1}), "a structured response"),
        (ModelResponse([AIMessage("a"), AIMessage("b")]), "AIMessage, AIMessage"),
    ],
)
async def test_an_answer_that_only_an_agent_can_carry_out_is_an_error_and_not_lost(answer: Any, what: str) -> None:
    @wrap_model_call
    def answers(request: Any, handler: Any) -> Any:
        return answer

    graph = instrument(plain_graph(ScriptedModel(["ok"])), [from_langchain(answers)])
    with pytest.raises(CallError, match=f"Middleware 'answers' answered with {what}") as caught:
        await graph.ainvoke({"messages": ["hi"]})
    assert caught.value.code == "call.bridge"


async def test_a_hook_that_changes_the_messages_in_place_is_heard() -> None:
    @wrap_model_call
    def nicer(request: Any, handler: Any) -> Any:
        request.messages.append(HumanMessage("Be nice!"))
        request.model_settings["temperature"] = 0.5
        return handler(request)

    model = ScriptedModel(["ok"])
    await instrument(plain_graph(model), [from_langchain(nicer)]).ainvoke({"messages": ["hi"]})
    assert [message.text for message in model.calls[0]] == ["hi", "Be nice!"]


def test_a_tool_hook_sees_the_state_and_the_runtime_as_in_create_agent() -> None:
    seen: list[Any] = []

    @wrap_tool_call
    def watch(request: Any, handler: Any) -> Any:
        seen.append((type(request.runtime).__name__, request.runtime.tool_call_id, len(request.state["messages"])))
        return handler(request)

    script = [asks(word="tea"), "done"]
    plain = create_agent(ScriptedModel(script), [look], middleware=[watch])
    layered = instrument(create_agent(ScriptedModel(script), [look]), [from_langchain(watch)])
    for agent in (plain, layered):
        agent.invoke({"messages": ["What is tea?"]})
    assert seen[0] == seen[1] == ("ToolRuntime", seen[0][1], 2)


async def test_a_synchronous_hook_runs_on_a_thread_and_its_answer_is_streamed_too(tmp_path: Path) -> None:
    @wrap_model_call
    def louder(request: Any, handler: Any) -> AIMessage:
        return AIMessage(handler(request).result[0].text.upper())

    trace = Trace(tmp_path / "t.db")
    graph = instrument(plain_graph(ScriptedModel(["one two"])), [trace, from_langchain(louder)])
    streamed = [chunk.text async for chunk, _ in graph.astream({"messages": ["hi"]}, stream_mode="messages")]
    trace.close()
    assert "".join(streamed) == "ONE TWO"
    assert RecordedTrace(tmp_path / "t.db").assert_span("model").output["content"] == "ONE TWO"


async def test_a_tool_called_without_an_id_gives_its_bare_value() -> None:
    graph = StateGraph(MessagesState)

    async def node(state: MessagesState) -> Any:
        return {"messages": [await look.ainvoke({"word": "tea"})]}

    graph.add_node("node", node)
    graph.add_edge(START, "node")
    layer = from_langchain(ToolRetryMiddleware(**RETRY))
    state = await instrument(graph.compile(), [layer]).ainvoke({"messages": []})
    assert state["messages"][-1].text == "found tea"


class TestRetryConformance(MiddlewareConformance):
    def make(self) -> Middleware:
        return from_langchain(ModelRetryMiddleware(max_retries=0, on_failure="error"))


class TestToolRetryConformance(MiddlewareConformance):
    def make(self) -> Middleware:
        return from_langchain(ToolRetryMiddleware(max_retries=0, on_failure="error"))


class TestSyncHookConformance(MiddlewareConformance):
    def make(self) -> Middleware:
        @wrap_model_call
        def passes(request: Any, handler: Any) -> Any:
            return handler(request)

        return from_langchain(passes)
