from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, RetryPolicy, TimeoutPolicy, interrupt

from chainops import Blocked, CallError, Middleware, ModelCall, ModelResult, Pipeline, SetupError, instrument, wrap
from chainops.layer import ALL_KINDS
from chainops.testing import ScriptedModel

THREAD: Any = {"configurable": {"thread_id": "t1"}}
EMPTY: Any = {"messages": []}


class Watch(Middleware):
    """Remembers every call that it sees."""

    kinds = ALL_KINDS
    suspends = False

    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def _watch(self, call: Any, call_next: Any) -> Any:
        self.calls.append(call)
        return await call_next(call)

    wrap_node_call = wrap_model_call = wrap_tool_call = _watch

    @property
    def seen(self) -> list[tuple[str, str, str]]:
        return [(call.kind, call.name, call.path) for call in self.calls]


class WatchSlowly(Watch):
    name = "watch"
    suspends = True

    async def _watch(self, call: Any, call_next: Any) -> Any:
        await asyncio.sleep(0)
        self.calls.append(call)
        return await call_next(call)

    wrap_node_call = wrap_model_call = wrap_tool_call = _watch


def graph_of(*nodes: tuple[str, Any], state: Any = MessagesState, checkpointer: Any = None, **options: Any) -> Any:
    builder, previous = StateGraph(state), START
    for name, node in nodes:
        builder.add_node(name, node, **options)
        builder.add_edge(previous, name)
        previous = name
    return builder.compile(checkpointer=checkpointer)


def asks(model: Any) -> Any:
    async def node(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return node


@tool
def lookup(x: int) -> int:
    """Look something up."""
    return x * 10


@pytest.mark.parametrize("watch_class", [Watch, WatchSlowly])
async def test_every_kind_of_call_is_seen_with_its_path_and_parent(watch_class: type[Watch]) -> None:
    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> Any:
            return []

    model = ScriptedModel(["hi"], repeat=True)
    inner = graph_of(("think", asks(model)))
    shelf = Shelf()

    async def work(state: MessagesState) -> Any:
        await shelf.ainvoke("query")
        await lookup.ainvoke({"x": 1})
        return await inner.ainvoke(state)

    watch = watch_class()
    builder = StateGraph(MessagesState)
    builder.add_node("work", work)
    builder.add_node("sub", inner)
    builder.add_edge(START, "work")
    builder.add_conditional_edges("work", lambda state: "sub", ["sub"])
    graph = instrument(builder.compile(), Pipeline([watch]))
    await graph.ainvoke({"messages": ["q"]}, {"run_name": "x"})
    assert watch.seen == [
        ("run", "LangGraph", ""),
        ("node", "work", "work"),
        ("retriever", "Shelf", "work"),
        ("tool", "lookup", "work"),
        ("run", "LangGraph", "work"),
        ("node", "think", "work/think"),
        ("model", "scripted", "work/think"),
        ("route", "work", "work"),
        ("node", "sub", "sub"),
        ("node", "think", "sub/think"),
        ("model", "scripted", "sub/think"),
    ]
    assert {call.run for call in watch.calls} == {watch.calls[0].run}
    parents = {(c.kind, c.path): c.parent and (c.parent.kind, c.parent.path) for c in watch.calls}
    assert parents["run", ""] is None
    assert parents["tool", "work"] == ("node", "work")
    assert parents["model", "work/think"] == ("node", "work/think")
    assert parents["run", "work"] == ("node", "work")


async def test_tasks_and_their_models_are_seen() -> None:
    model, watch = ScriptedModel(["hi"], repeat=True), Watch()

    @task
    async def step(x: int) -> Any:
        return (await model.ainvoke("q")).content

    @entrypoint()
    async def flow(x: int) -> Any:
        return await step(x)

    assert await instrument(flow, Pipeline([watch])).ainvoke(1) == "hi"
    assert watch.seen[1:] == [
        ("node", "flow", "flow"),
        ("task", "step", "flow/step"),
        ("model", "scripted", "flow/step"),
    ]


async def test_a_task_that_a_task_or_a_route_schedules_is_seen() -> None:
    @task
    async def inner(x: int) -> int:
        return x + 1

    @task
    async def outer(x: int) -> int:
        return await inner(x)

    @entrypoint()
    async def flow(x: int) -> int:
        return await outer(x)

    watch = Watch()
    assert await instrument(flow, Pipeline([watch])).ainvoke(1) == 2
    assert [path for kind, _, path in watch.seen if kind == "task"] == ["flow/outer", "flow/outer/inner"]

    @task
    def choose(x: int) -> str:
        return "b"

    builder = StateGraph(MessagesState)
    builder.add_node("a", lambda state: EMPTY)
    builder.add_node("b", lambda state: EMPTY)
    builder.add_edge(START, "a")
    builder.add_conditional_edges("a", lambda state: choose(1).result(), ["b"])
    watch.calls.clear()
    instrument(builder.compile(), Pipeline([watch])).invoke(EMPTY)
    assert [(kind, path) for kind, _, path in watch.seen] == [
        ("run", ""), ("node", "a"), ("route", "a"), ("task", "a/choose"), ("node", "b"),
    ]  # fmt: skip


async def test_the_original_graph_stays_as_it_was() -> None:
    watch = Watch()
    graph = graph_of(("a", asks(ScriptedModel(["hi"], repeat=True))))
    copy = instrument(graph, Pipeline([watch]))
    assert type(copy).__name__ == type(graph).__name__
    assert isinstance(copy, type(graph))
    await graph.ainvoke(EMPTY)
    assert watch.seen == []


async def test_instrumenting_twice_runs_both_pipelines_and_a_shared_layer_once() -> None:
    class Other(Watch):
        name = "other"

    watch, other = Watch(), Other()
    once = instrument(graph_of(("a", asks(ScriptedModel(["hi"], repeat=True)))), Pipeline([watch]))
    twice = instrument(once, Pipeline([other, watch]))
    await twice.ainvoke(EMPTY)
    assert watch.seen == other.seen
    assert [kind for kind, *_ in watch.seen] == ["run", "node", "model"]


async def test_layers_of_an_outer_graph_wrap_the_nodes_of_an_instrumented_inner_one() -> None:
    class Inner(Watch):
        name = "inner"

    outer_watch, inner_watch = Watch(), Inner()
    inner = instrument(graph_of(("think", asks(ScriptedModel(["hi"], repeat=True)))), Pipeline([inner_watch]))

    async def call(state: Any) -> Any:
        return await inner.ainvoke(state)

    await instrument(graph_of(("call", call)), Pipeline([outer_watch])).ainvoke(EMPTY)
    assert ("model", "scripted", "call/think") in outer_watch.seen
    assert ("model", "scripted", "call/think") in inner_watch.seen


async def test_a_graph_may_call_one_whose_own_pipeline_has_a_layer_of_the_same_name() -> None:
    outer_watch, inner_watch, models_watch = Watch(), Watch(), Watch()
    inner = instrument(graph_of(("think", asks(ScriptedModel(["hi"], repeat=True)))), Pipeline([inner_watch]))
    model = wrap(ScriptedModel(["ho"], repeat=True), Pipeline([models_watch]))

    async def call(state: Any) -> Any:
        await model.ainvoke("x")
        return await inner.ainvoke(state)

    graph = instrument(graph_of(("call", call)), Pipeline([outer_watch]))
    await graph.ainvoke(EMPTY)
    assert models_watch.seen == [("model", "scripted", "call")]
    assert [kind for kind, *_ in inner_watch.seen] == ["run", "node", "model"]
    assert [kind for kind, *_ in outer_watch.seen] == ["run", "node", "model", "run", "node", "model"]


def test_instrumenting_twice_with_layers_of_one_name_is_refused_at_once() -> None:
    graph = instrument(graph_of(("a", asks(ScriptedModel()))), Pipeline([Watch()]))
    with pytest.raises(SetupError, match="Two middleware are called 'watch'"):
        instrument(graph, Pipeline([Watch()]))


async def test_a_pipeline_made_for_one_request_is_freed_after_it() -> None:
    inner = graph_of(("think", asks(ScriptedModel(["hi"], repeat=True))))
    model = ScriptedModel(["ho"], repeat=True)

    async def call(state: Any) -> Any:
        await wrap(model, Pipeline([Watch()])).ainvoke("x")
        return await inner.ainvoke(state)

    outer = graph_of(("call", call))

    async def request() -> Any:
        watch = Watch()
        await instrument(outer, Pipeline([watch])).ainvoke(EMPTY)
        assert len(watch.calls) == 6
        return weakref.ref(watch)

    watches = [await asyncio.create_task(request()) for _ in range(3)]
    gc.collect()
    assert [watch() for watch in watches] == [None, None, None]


def test_an_uncompiled_graph_is_refused_with_the_fix() -> None:
    with pytest.raises(SetupError, match=r"Call \.compile\(\) first"):
        instrument(StateGraph(MessagesState), Pipeline([]))  # type: ignore[type-var]


async def test_without_auto_only_wrapped_models_are_seen() -> None:
    plain, watch = ScriptedModel(["hi"], repeat=True), Watch()
    wrapped = wrap(plain)

    async def node(state: MessagesState) -> Any:
        await plain.ainvoke("a")
        return {"messages": [await wrapped.ainvoke("b")]}

    await instrument(graph_of(("a", node)), Pipeline([watch]), auto=False).ainvoke(EMPTY)
    assert [call.messages[0].content for call in watch.calls if call.kind == "model"] == ["b"]


async def test_a_wrapped_model_works_outside_a_graph_and_shares_its_state() -> None:
    plain, watch = ScriptedModel(["one", "two"]), Watch()
    wrapped = wrap(plain, Pipeline([watch]))
    assert isinstance(wrapped, ScriptedModel)
    assert type(wrapped).__name__ == "ScriptedModel"
    assert (await wrapped.ainvoke("q")).content == "one"
    assert plain.invoke("q").content == "two"
    assert [kind for kind, *_ in watch.seen] == ["model"]
    assert len(plain.calls) == len(wrapped.calls) == 2


async def test_a_model_that_a_layer_calls_is_not_intercepted_again() -> None:
    judge = ScriptedModel(["fine"], repeat=True)

    class Judge(Middleware):
        async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
            await judge.ainvoke("is this fine?")
            return await call_next(call)

        async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
            await judge.ainvoke("may this run?")
            return await call_next(call)

    await instrument(graph_of(("a", asks(ScriptedModel(["hi"])))), Pipeline([Judge()])).ainvoke(EMPTY)
    assert len(judge.calls) == 2


class Retry(Middleware):
    """A plain retry at every boundary."""

    async def _retry(self, call: Any, call_next: Any) -> Any:
        try:
            return await call_next(call)
        except ValueError:
            return await call_next(call)

    wrap_node_call = wrap_model_call = wrap_tool_call = _retry


@pytest.mark.parametrize("sync", [False, True])
async def test_a_node_that_is_tried_again_does_not_ask_the_human_again(sync: bool) -> None:
    tries: list[str] = []

    def node(state: Any) -> Any:
        answer = interrupt("approve?")
        tries.append(answer)
        if len(tries) == 1:
            raise ValueError("flaky")
        return {"messages": [AIMessage(answer)]}

    graph = instrument(graph_of(("a", node), checkpointer=InMemorySaver()), Pipeline([Retry()]))
    run = (lambda value: asyncio.to_thread(graph.invoke, value, THREAD)) if sync else lambda v: graph.ainvoke(v, THREAD)
    assert "__interrupt__" in await run(EMPTY)
    result = await run(Command(resume="yes"))
    assert "__interrupt__" not in result
    assert tries == ["yes", "yes"]


async def test_a_tool_that_is_tried_again_does_not_ask_the_human_again() -> None:
    tries: list[str] = []

    @tool
    def refund(amount: int) -> str:
        """Pay back."""
        answer = interrupt(f"pay {amount}?")
        tries.append(answer)
        if len(tries) == 1:
            raise ValueError("flaky")
        return answer

    def node(state: Any) -> Any:
        first = interrupt("start?")
        return {"messages": [AIMessage(f"{first} {refund.invoke({'amount': 5})}")]}

    graph = instrument(graph_of(("a", node), checkpointer=InMemorySaver()), Pipeline([Retry()]))
    await graph.ainvoke(EMPTY, THREAD)
    await graph.ainvoke(Command(resume="go"), THREAD)
    result = await graph.ainvoke(Command(resume="yes"), THREAD)
    assert "__interrupt__" not in result
    assert result["messages"][-1].content == "go yes"
    assert tries == ["yes", "yes"]


async def test_a_block_is_not_retried_by_langgraphs_default_retry_policy() -> None:
    asked: list[int] = []

    class Refuse(Middleware):
        async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
            asked.append(call.attempt)
            raise Blocked("not today", code="test.blocked")

    graph = instrument(
        graph_of(("a", lambda s: s), retry_policy=RetryPolicy(initial_interval=0.001)), Pipeline([Refuse()])
    )
    with pytest.raises(Blocked, match="not today"):
        await graph.ainvoke(EMPTY)
    assert asked == [1]


async def test_each_attempt_of_langgraphs_retry_policy_is_a_call_of_its_own() -> None:
    watch, ran = Watch(), []

    async def node(state: Any) -> Any:
        ran.append(1)
        if len(ran) < 3:
            raise ValueError("again")
        return {"messages": []}

    policy = RetryPolicy(initial_interval=0.001, jitter=False, retry_on=ValueError)
    await instrument(graph_of(("a", node), retry_policy=policy), Pipeline([watch])).ainvoke(EMPTY)
    assert [call.attempt for call in watch.calls if call.kind == "node"] == [1, 2, 3]


async def test_a_message_that_a_layer_replaces_keeps_its_id() -> None:
    class Redact(Middleware):
        streaming = "buffered"

        async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
            result = await call_next(call)
            return result.replace(message=AIMessage("[redacted]"))

        async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
            result = await call_next(call)
            return {"messages": [AIMessage(f"{m.content} by node") for m in result["messages"]]}

    model = ScriptedModel([AIMessage("secret", id="answer-7")], repeat=True)
    graph = instrument(graph_of(("a", asks(model))), Pipeline([Redact()]))
    stored = (await graph.ainvoke(EMPTY))["messages"]
    assert [(m.id, m.content) for m in stored] == [("answer-7", "[redacted] by node")]
    streamed = [chunk async for chunk, _ in graph.astream(EMPTY, stream_mode="messages")]
    assert not any("secret" in str(chunk.content) for chunk in streamed)


async def test_cancelling_the_run_cancels_the_layer_and_the_model_call() -> None:
    ended: list[str] = []

    class Wait(Middleware):
        async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
            try:
                return await call_next(call)
            except asyncio.CancelledError:
                ended.append("layer")
                raise

    class Slow(ScriptedModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return await super()._agenerate(*args, **kwargs)
            except asyncio.CancelledError:
                ended.append("model")
                raise

    model = Slow(["hi"], gate=asyncio.Event())
    run = asyncio.create_task(instrument(graph_of(("a", asks(model))), Pipeline([Wait()])).ainvoke(EMPTY))
    while not model.calls:
        await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert ended == ["model", "layer"]


async def test_a_layer_switched_off_for_a_node_does_not_see_it_nor_its_models() -> None:
    watch = Watch()
    builder = StateGraph(MessagesState)
    builder.add_node("quiet", asks(ScriptedModel(["hi"], repeat=True)), metadata={"chainops": {"off": ["watch"]}})
    builder.add_node("loud", asks(ScriptedModel(["hi"], repeat=True)), metadata={"chainops": {"cache": {"ttl": 5}}})
    builder.add_node("globbed", asks(ScriptedModel(["hi"], repeat=True)))
    builder.add_edge(START, "quiet")
    builder.add_edge("quiet", "loud")
    builder.add_edge("loud", "globbed")
    graph = instrument(builder.compile(), Pipeline([watch], nodes={"glob*": {"off": ["watch"]}}))
    await graph.ainvoke(EMPTY)
    assert {path for _, _, path in watch.seen} == {"", "loud"}
    assert watch.calls[-1].metadata == {"cache": {"ttl": 5}}


def test_a_typing_error_in_a_nodes_metadata_is_found_when_instrumenting() -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("a", lambda s: s, metadata={"chainops": {"off": ["wach"]}})
    builder.add_edge(START, "a")
    with pytest.raises(SetupError, match="Did you mean 'watch'"):
        instrument(builder.compile(), Pipeline([Watch()]))


@pytest.mark.parametrize("streaming", ["transparent", "buffered"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_a_layer_gives_again_is_a_new_message_in_the_conversation(
    streaming: Any, stream: bool
) -> None:
    class Cache(Middleware):
        def __init__(self) -> None:
            self.known: ModelResult | None = None

        async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
            if self.known is None:
                self.known = await call_next(call)
            return self.known

    Cache.streaming = streaming
    plain = graph_of(("a", asks(ScriptedModel(["hi"]))), checkpointer=InMemorySaver())
    graph = instrument(plain, Pipeline([Cache()]))
    for _ in range(3):
        if stream:
            async for _ in graph.astream({"messages": ["q"]}, THREAD, stream_mode="messages"):
                pass
        else:
            await graph.ainvoke({"messages": ["q"]}, THREAD)
    messages = (await graph.aget_state(THREAD)).values["messages"]
    assert [message.text for message in messages] == ["q", "hi"] * 3
    assert len({message.id for message in messages}) == 6


def test_a_typing_error_in_a_subgraphs_node_is_found_when_instrumenting_too() -> None:
    inner = graph_of(("a", lambda state: {}), metadata={"chainops": {"off": ["wach"]}})
    with pytest.raises(SetupError, match="Did you mean 'watch'"):
        instrument(graph_of(("sub", graph_of(("inner", inner)))), Pipeline([Watch()]))


async def test_an_idle_timeout_does_not_fire_while_a_layer_waits() -> None:
    class Deliberate(Middleware):
        async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
            await asyncio.sleep(0.5)
            return await call_next(call)

    async def node(state: Any) -> Any:
        return {"messages": [AIMessage("done")]}

    policy = TimeoutPolicy(idle_timeout=0.2, refresh_on="heartbeat")
    graph = instrument(graph_of(("a", node), timeout=policy), Pipeline([Deliberate()]))
    assert (await graph.ainvoke(EMPTY))["messages"][-1].content == "done"


class Shout(Middleware):
    """Changes stream and result alike; waits in the middle of a stream."""

    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        async def emit(chunk: Any) -> None:
            await asyncio.sleep(0)
            await call.emit(chunk.model_copy(update={"content": chunk.content.upper()}))

        result = await call_next(call.replace(emit=emit))
        return result.replace(message=result.message.model_copy(update={"content": result.text.upper()}))


class ShoutInline(Shout):
    name = "shout"
    suspends = False

    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        async def emit(chunk: Any) -> None:
            await call.emit(chunk.model_copy(update={"content": chunk.content.upper()}))

        result = await call_next(call.replace(emit=emit))
        return result.replace(message=result.message.model_copy(update={"content": result.text.upper()}))


@pytest.mark.parametrize("shout", [Shout, ShoutInline])
@pytest.mark.parametrize("way", ["async", "sync", "sync node in async run"])
async def test_a_layer_changes_every_token_before_anybody_sees_it(shout: type[Middleware], way: str) -> None:
    model = ScriptedModel(["one two three"])
    sync_node = lambda state: {"messages": [model.invoke("hi")]}  # noqa: E731
    graph = instrument(graph_of(("a", asks(model) if way == "async" else sync_node)), Pipeline([shout()]))
    if way == "sync":
        chunks = await asyncio.to_thread(lambda: list(graph.stream(EMPTY, stream_mode="messages")))
    else:
        chunks = [part async for part in graph.astream(EMPTY, stream_mode="messages")]
    assert [chunk.content for chunk, _ in chunks if chunk.content] == ["ONE ", "TWO ", "THREE"]


async def test_a_stream_that_differs_from_the_result_is_an_error_not_a_silent_leak() -> None:
    class ResultOnly(Middleware):
        async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
            result = await call_next(call)
            return result.replace(message=AIMessage("[removed]"))

    graph = instrument(graph_of(("a", asks(ScriptedModel(["secret"])))), Pipeline([ResultOnly()]))
    with pytest.raises(CallError, match="streaming = 'buffered'"):
        async for _ in graph.astream(EMPTY, stream_mode="messages"):
            pass


async def test_a_tool_call_that_a_layer_took_out_of_the_result_only_does_not_run() -> None:
    class NoTools(Middleware):
        async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
            return (await call_next(call)).replace(message=AIMessage(""))

    asked = AIMessage("", tool_calls=[{"name": "lookup", "args": {"x": 1}, "id": "c1"}])
    graph = graph_of(("ask", asks(ScriptedModel([asked], repeat=True))), ("tools", ToolNode([lookup])))
    watch = Watch()
    with pytest.raises(CallError, match="other tool calls") as caught:
        async for _ in instrument(graph, Pipeline([watch, NoTools()])).astream(EMPTY, stream_mode="messages"):
            pass
    assert caught.value.code == "call.stream"
    assert "tool" not in {kind for kind, *_ in watch.seen}


async def test_an_answer_in_blocks_that_differs_from_its_stream_is_an_error_too() -> None:
    class Redact(Middleware):
        async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
            return (await call_next(call)).replace(message=AIMessage([{"type": "text", "text": "[removed]"}]))

    class Blocks(ScriptedModel):
        async def _astream(self, *args: Any, **kwargs: Any) -> Any:
            for word in ("secret ", "text"):
                content: list[Any] = [{"type": "text", "text": word, "index": 0}]
                yield ChatGenerationChunk(message=AIMessageChunk(content=content))

    graph = instrument(graph_of(("a", asks(Blocks()))), Pipeline([Redact()]))
    with pytest.raises(CallError, match="another text"):
        async for _ in graph.astream(EMPTY, stream_mode="messages"):
            pass


async def test_an_answer_without_the_model_still_reaches_a_stream() -> None:
    class Cache(Middleware):
        async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
            return ModelResult(message=AIMessage("from the cache"))

    graph = instrument(graph_of(("a", asks(ScriptedModel([])))), Pipeline([Cache()]))
    chunks = [chunk.content async for chunk, _ in graph.astream(EMPTY, stream_mode="messages")]
    assert "".join(chunks) == "from the cache"


async def test_tokens_that_a_model_reports_from_inside_generate_pass_the_layers_too() -> None:
    from langchain_core.callbacks import AsyncCallbackHandler

    class Talkative(ScriptedModel):
        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            for word in ("one ", "two"):
                run_manager.on_llm_new_token(word)
            return ChatResult(generations=[ChatGeneration(message=AIMessage("one two"))])

        async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            return await asyncio.to_thread(self._generate, messages, stop, run_manager.get_sync())

    heard: list[str] = []

    class Listen(AsyncCallbackHandler):
        async def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
            heard.append(token)

    graph = instrument(graph_of(("a", asks(Talkative()))), Pipeline([Shout()]))
    await graph.ainvoke(EMPTY, {"callbacks": [Listen()]})
    assert heard == ["ONE ", "TWO"]


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("sync", [False, True])
async def test_tokens_that_a_model_reports_by_itself_never_show_what_a_rail_took_out(
    suspends: bool, sync: bool
) -> None:
    class Talkative(ScriptedModel):
        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            for word in ("my ", "secret"):
                run_manager.on_llm_new_token(word)
            return ChatResult(generations=[ChatGeneration(message=AIMessage("my secret"))])

        async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            return await asyncio.to_thread(self._generate, messages, stop, run_manager.get_sync())

    class Rail(Middleware):
        async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
            await call_next(call)
            return ModelResult(message=AIMessage("[removed]"))

    class Listen(BaseCallbackHandler):
        def __init__(self) -> None:
            self.heard: list[str] = []

        def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
            self.heard.append(token)

    def sync_node(state: MessagesState) -> Any:
        return {"messages": [Talkative().invoke("hi")]}

    async def run(handler: Listen) -> Any:
        node = sync_node if sync else asks(Talkative())
        graph, config = instrument(graph_of(("a", node)), Pipeline([Rail()])), {"callbacks": [handler]}
        return await (asyncio.to_thread(graph.invoke, EMPTY, config) if sync else graph.ainvoke(EMPTY, config))

    Rail.suspends = suspends
    with pytest.raises(CallError, match="another text"):
        await run(Listen())
    Rail.streaming = "buffered"
    listen = Listen()
    assert (await run(listen))["messages"][-1].text == "[removed]"
    assert listen.heard == ["[removed]"]


async def test_a_consumer_of_a_stream_is_not_inside_the_graph() -> None:
    watch, outside = Watch(), ScriptedModel(["out"], repeat=True)
    graph = instrument(graph_of(("a", asks(ScriptedModel(["in"], repeat=True)))), Pipeline([watch]))
    async for _ in graph.astream(EMPTY, stream_mode="updates"):
        await outside.ainvoke("not ours")
    assert [call.messages for call in watch.calls if call.kind == "model"] == [()]


def test_tool_calls_of_a_tool_node_are_seen_with_name_arguments_and_id() -> None:
    watch = Watch()
    call = AIMessage("", tool_calls=[{"name": "lookup", "args": {"x": 4}, "id": "c1"}])
    graph = instrument(graph_of(("tools", ToolNode([lookup]))), Pipeline([watch]))
    result = graph.invoke({"messages": [call]})
    assert result["messages"][-1].content == "40"
    seen = watch.calls[-1]
    assert (seen.kind, seen.name, seen.args, seen.call_id) == ("tool", "lookup", {"x": 4}, "c1")


def test_a_synchronous_call_from_a_layers_loop_is_refused_not_deadlocked() -> None:
    class Blocking(Middleware):
        async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
            await asyncio.sleep(0)
            other.invoke(EMPTY)
            return await call_next(call)

    other = instrument(graph_of(("b", lambda s: s)), Pipeline([WatchSlowly()]))
    with pytest.raises(CallError, match="Use the async form"):
        instrument(graph_of(("a", lambda s: s)), Pipeline([Blocking()])).invoke(EMPTY)


def test_a_layer_that_lies_about_suspending_gets_a_clear_error_in_a_sync_run() -> None:
    class Liar(Middleware):
        suspends = False

        async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
            await asyncio.sleep(0)
            return await call_next(call)

    with pytest.raises(CallError, match="Remove `suspends = False`"):
        instrument(graph_of(("a", lambda s: s)), Pipeline([Liar()])).invoke(EMPTY)


def test_many_threads_can_run_one_instrumented_graph_at_once() -> None:
    model = ScriptedModel([lambda messages: messages[-1].content], repeat=True)
    graph = instrument(
        graph_of(("a", lambda s: {"messages": [model.invoke(s["messages"])]})), Pipeline([WatchSlowly()])
    )
    answers: dict[int, str] = {}

    def run(i: int) -> None:
        answers[i] = graph.invoke({"messages": [HumanMessage(str(i))]})["messages"][-1].content

    threads = [threading.Thread(target=run, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert answers == {i: str(i) for i in range(16)}


def test_leaving_a_synchronous_stream_early_cancels_the_layers() -> None:
    ended = threading.Event()

    class Wait(Middleware):
        async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
            try:
                return await call_next(call)
            finally:
                ended.set()

    model = wrap(ScriptedModel(["one two three"]), Pipeline([Wait()]))
    stream = model.stream("hi")
    assert next(stream).content == "one "
    stream.close()
    assert ended.wait(5)


async def test_two_runs_have_two_run_ids_that_sort_by_time() -> None:
    watch = Watch()
    graph = instrument(graph_of(("a", lambda s: s), checkpointer=InMemorySaver()), Pipeline([watch]))
    started = time.time()
    for _ in range(3):
        await graph.ainvoke(EMPTY, {**THREAD, "tags": ["x"], "metadata": {"user": "me"}})
    runs = [call.run for call in watch.calls if call.kind == "run"]
    ids = [run.run_id for run in runs]
    assert ids == sorted(set(ids))
    assert abs(int(ids[0][:8] + ids[0][9:13], 16) / 1000 - started) < 5
    assert (runs[0].thread_id, runs[0].tags, runs[0].metadata["user"]) == ("t1", ("x",), "me")


class Notes(MessagesState):
    extra: AnyMessage


async def test_a_replaced_single_message_keeps_its_id_too() -> None:
    class Replace(Middleware):
        async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
            await call_next(call)
            return Command(update={"extra": AIMessage("new")})

    async def node(state: Any) -> Any:
        return Command(update={"extra": AIMessage("old", id="m9")})

    state = await instrument(graph_of(("a", node), state=Notes), Pipeline([Replace()])).ainvoke(EMPTY)
    assert (state["extra"].id, state["extra"].content) == ("m9", "new")


async def test_call_options_of_any_name_reach_the_model_and_the_tool() -> None:
    class Options(ScriptedModel):
        got: list[Any] = []

        async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            self.got.append(kwargs)
            return await super()._agenerate(messages, stop)

    model = Options(["hi"], repeat=True)

    async def node(state: Any) -> Any:
        assert lookup.run(tool_input={"x": 2}) == 20
        return {"messages": [await model.ainvoke("q", model="other", name="n", graph="g", tool="t", call="c")]}

    await instrument(graph_of(("a", node)), Pipeline([Watch()])).ainvoke(EMPTY)
    assert model.got == [{"model": "other", "name": "n", "graph": "g", "tool": "t", "call": "c"}]
