"""What LangGraph can do, one function each: ``scenario(around)`` builds a graph, runs it, returns what a user sees.

``around`` is the identity, or instruments. The same scenario must return the same both ways.
"""

from __future__ import annotations

import asyncio
import contextvars
import operator
import threading
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.errors import NodeError
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore
from langgraph.types import CachePolicy, Command, RetryPolicy, Send, StreamWriter, TimeoutPolicy, interrupt
from typing_extensions import TypedDict

Around = Callable[[Any], Any]
SCENARIOS: dict[str, Callable[[Around], Any]] = {}
MODES = ["values", "updates", "custom", "debug", "tasks", "checkpoints", "messages"]
THREAD: Any = {"configurable": {"thread_id": "1"}}


class State(TypedDict, total=False):
    xs: Annotated[list[Any], operator.add]
    messages: Annotated[list[AnyMessage], add_messages]
    n: int


def scenario(function: Callable[[Around], Any]) -> Callable[[Around], Any]:
    SCENARIOS[function.__name__] = function
    return function


def chain(*nodes: tuple[str, Any], **compile_options: Any) -> Any:
    """A graph that runs the nodes one after another."""
    builder, previous = StateGraph(State), START
    for name, node in nodes:
        builder.add_node(name, node)
        builder.add_edge(previous, name)
        previous = name
    return builder.compile(**compile_options)


def add(x: str) -> Any:
    return lambda state: {"xs": [x]}


async def add_async(state: State) -> Any:
    return {"xs": ["async"]}


def model() -> Any:
    return GenericFakeChatModel(messages=iter([AIMessage("hello big world", id="m1")] * 9))


@scenario
def ainvoke(around: Around) -> Any:
    graph = chain(("a", add("a")), ("b", RunnableLambda(add("b"))), ("c", add_async))
    return asyncio.run(around(graph).ainvoke({"xs": []}))


@scenario
def invoke(around: Around) -> Any:
    return around(chain(("a", add("a")), ("b", RunnableLambda(add("b"))))).invoke({"xs": []})


@scenario
def invoke_inside_a_running_loop(around: Around) -> Any:
    graph = around(chain(("a", add("a"))))

    async def main() -> Any:
        return graph.invoke({"xs": []})

    return asyncio.run(main())


@scenario
def a_node_that_calls_asyncio_run(around: Around) -> Any:
    async def inner() -> str:
        return "r"

    return around(chain(("a", lambda state: {"xs": [asyncio.run(inner())]}))).invoke({"xs": []})


@scenario
def a_node_stays_on_the_callers_thread(around: Around) -> Any:
    local = threading.local()
    local.value = "main"
    return around(chain(("a", lambda state: {"xs": [getattr(local, "value", None)]}))).invoke({"xs": []})


@scenario
def sync_fan_out(around: Around) -> Any:
    builder = StateGraph(State)
    for name in "abcd":
        builder.add_node(name, add(name))
        builder.add_edge(START, name)
    return sorted(around(builder.compile()).invoke({"xs": []})["xs"])


def _writer_graph() -> Any:
    def write(state: State, writer: StreamWriter) -> Any:
        writer({"w": 1})
        return {"xs": ["a"]}

    return chain(("a", write), ("b", add("b")), checkpointer=InMemorySaver())


@scenario
def every_stream_mode_async(around: Around) -> Any:
    async def main() -> Any:
        return [part async for part in around(_writer_graph()).astream({"xs": []}, THREAD, stream_mode=MODES)]

    return asyncio.run(main())


@scenario
def every_stream_mode_sync(around: Around) -> Any:
    return list(around(_writer_graph()).stream({"xs": []}, THREAD, stream_mode=MODES))


@scenario
def typed_stream_parts_v2(around: Around) -> Any:
    return list(around(_writer_graph()).stream({"xs": []}, THREAD, stream_mode=["values", "updates"], version="v2"))


@scenario
def tokens_from_an_async_node(around: Around) -> Any:
    llm = model()

    async def node(state: State) -> Any:
        return {"messages": [await llm.ainvoke("hi")]}

    async def main() -> Any:
        stream = around(chain(("a", node))).astream({"messages": []}, stream_mode="messages")
        return [(chunk.content, chunk.id, meta["langgraph_node"]) async for chunk, meta in stream]

    return asyncio.run(main())


@scenario
def tokens_from_a_sync_node(around: Around) -> Any:
    llm = model()
    graph = around(chain(("a", lambda state: {"messages": [llm.invoke("hi")]})))
    return [(c.content, m["langgraph_node"]) for c, m in graph.stream({"messages": []}, stream_mode="messages")]


@scenario
def tokens_from_a_sync_node_in_an_async_run(around: Around) -> Any:
    llm = model()
    graph = around(chain(("a", lambda state: {"messages": [llm.invoke("hi")]})))

    async def main() -> Any:
        return [c.content async for c, _ in graph.astream({"messages": []}, stream_mode="messages")]

    return asyncio.run(main())


class Events(BaseCallbackHandler):
    run_inline = True

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.names: dict[Any, Any] = {}

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        self.names[run_id] = more.get("name")
        steps = tuple(tag for tag in more.get("tags") or () if tag.startswith("seq"))
        self.seen.append(("chain", more.get("name"), self.names.get(parent_run_id), steps))

    def on_chat_model_start(self, serialized: Any, messages: Any, *, parent_run_id: Any = None, **more: Any) -> None:
        self.seen.append(("model", self.names.get(parent_run_id)))


@scenario
def callback_tree_of_an_lcel_node(around: Around) -> Any:
    prompt = ChatPromptTemplate.from_messages([("human", "{q}")])
    steps = (lambda state: {"q": "x"}) | prompt | model() | (lambda message: {"messages": [message]})
    events = Events()
    asyncio.run(around(chain(("a", steps))).ainvoke({"messages": []}, {"callbacks": [events]}))
    return events.seen


@scenario
def astream_events_v2(around: Around) -> Any:
    prompt = ChatPromptTemplate.from_messages([("human", "q")])
    graph = around(chain(("a", prompt | model() | (lambda message: {"messages": [message]}))))

    async def main() -> Any:
        events = graph.astream_events({"messages": []}, version="v2")
        return [(e["event"], e["name"], getattr(e["data"].get("chunk"), "content", "")) async for e in events]

    return asyncio.run(main())


@scenario
def astream_events_v3(around: Around) -> Any:
    llm = model()

    async def node(state: State) -> Any:
        return {"messages": [await llm.ainvoke("hi")]}

    async def main() -> Any:
        run = await around(chain(("a", node))).astream_events({"messages": []}, version="v3")
        return [[text async for text in message.text] async for message in run.messages]

    return asyncio.run(main())


class Context(TypedDict):
    user: str


@scenario
def everything_that_is_injected(around: Around) -> Any:
    async def first(
        state: State, config: RunnableConfig, *, runtime: Runtime[Context], store: Any = None, writer: StreamWriter
    ) -> Any:
        info = runtime.execution_info
        return {
            "xs": [
                config["configurable"]["thread_id"],
                runtime.context["user"],
                runtime.store is not None,
                info.node_attempt,
            ]
        }

    def second(state: State, config: RunnableConfig, runtime: Runtime[Context]) -> Any:
        return {"xs": [runtime.context["user"], config["metadata"]["langgraph_node"]]}

    builder = StateGraph(State, Context)
    builder.add_node("first", first)
    builder.add_node("second", second)
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    graph = around(builder.compile(checkpointer=InMemorySaver(), store=InMemoryStore()))
    return asyncio.run(graph.ainvoke({"xs": []}, THREAD, context={"user": "me"}))


def _two_questions(ran: list[int]) -> Any:
    def node(state: State) -> Any:
        ran.append(1)
        return {"xs": [interrupt("first?"), interrupt("second?")]}

    return node


@scenario
def interrupt_and_resume_async(around: Around) -> Any:
    ran: list[int] = []
    graph = around(chain(("a", _two_questions(ran)), checkpointer=InMemorySaver()))

    async def main() -> Any:
        first = await graph.ainvoke({"xs": []}, THREAD)
        waiting = (await graph.aget_state(THREAD)).next
        return [first, waiting, *[await graph.ainvoke(Command(resume=answer), THREAD) for answer in "AB"]]

    return asyncio.run(main()), len(ran)


@scenario
def interrupt_and_resume_sync_with_sqlite(around: Around) -> Any:
    ran: list[int] = []
    with SqliteSaver.from_conn_string(":memory:") as saver:
        graph = around(chain(("a", _two_questions(ran)), checkpointer=saver))
        first = graph.invoke({"xs": []}, THREAD)
        waiting = graph.get_state(THREAD).next
        return [first, waiting, *[graph.invoke(Command(resume=answer), THREAD) for answer in "AB"]], len(ran)


@scenario
def command_goto_and_drawing(around: Around) -> Any:
    def jump(state: State) -> Command[Literal["c"]]:
        return Command(update={"xs": ["a"]}, goto="c")

    builder = StateGraph(State)
    builder.add_node("a", jump)
    builder.add_node("c", add("c"))
    builder.add_edge(START, "a")
    graph = around(builder.compile())
    return asyncio.run(graph.ainvoke({"xs": []})), graph.get_graph().draw_mermaid()


@scenario
def command_to_the_parent(around: Around) -> Any:
    inner = chain(("i", lambda state: Command(graph=Command.PARENT, goto="z", update={"xs": ["i"]})))
    builder = StateGraph(State)
    builder.add_node("sub", inner, destinations=("z",))
    builder.add_node("z", add("z"))
    builder.add_edge(START, "sub")
    return asyncio.run(around(builder.compile()).ainvoke({"xs": []}))


@scenario
def send_to_many(around: Around) -> Any:
    builder = StateGraph(State)
    builder.add_node("a", lambda state: {})
    builder.add_node("w", lambda state: {"xs": [state["n"]]})
    builder.add_edge(START, "a")
    builder.add_conditional_edges("a", lambda state: [Send("w", {"n": i}) for i in range(4)], ["w"])
    return asyncio.run(around(builder.compile()).ainvoke({"xs": []}))


@scenario
def a_subgraph_as_a_node(around: Around) -> Any:
    inner = chain(("i", lambda state: {"xs": [interrupt("in sub")]}))
    graph = around(chain(("sub", inner), checkpointer=InMemorySaver()))

    async def main() -> Any:
        seen: list[Any] = [
            p async for p in graph.astream({"xs": []}, THREAD, stream_mode=["updates", "values"], subgraphs=True)
        ]
        state = await graph.aget_state(THREAD, subgraphs=True)
        seen.append((state.next, [inner.state and inner.state.next for inner in state.tasks]))
        seen += [p async for p in graph.astream(Command(resume="R"), THREAD, stream_mode=["updates"], subgraphs=True)]
        return [*seen, [name for name, _ in graph.get_subgraphs()], graph.get_graph(xray=True).draw_mermaid()]

    return asyncio.run(main())


@scenario
def a_subgraph_called_inside_a_node(around: Around) -> Any:
    inner = chain(("i", lambda state: {"xs": [interrupt("x")]}))

    async def outer(state: State) -> Any:
        return await inner.ainvoke(state)

    graph = around(chain(("f", outer), checkpointer=InMemorySaver()))

    async def main() -> Any:
        first = await graph.ainvoke({"xs": []}, THREAD)
        state = await graph.aget_state(THREAD, subgraphs=True)
        inside = [t.state and t.state.next for t in state.tasks]
        return [
            first,
            state.next,
            inside,
            await graph.ainvoke(Command(resume="R"), THREAD),
            list(graph.get_subgraphs()),
        ]

    return asyncio.run(main())


@scenario
def retry_policy(around: Around) -> Any:
    attempts: list[int] = []

    async def node(state: State, runtime: Runtime) -> Any:
        attempts.append(runtime.execution_info.node_attempt)
        if len(attempts) < 3:
            raise ValueError("x")
        return {"xs": list(attempts)}

    builder = StateGraph(State)
    builder.add_node("a", node, retry_policy=RetryPolicy(initial_interval=0.001, jitter=False, retry_on=ValueError))
    builder.add_edge(START, "a")
    return asyncio.run(around(builder.compile()).ainvoke({"xs": []}))


@scenario
def node_cache(around: Around) -> Any:
    ran: list[int] = []

    def node(state: State) -> Any:
        ran.append(1)
        return {"xs": ["a"]}

    builder = StateGraph(State)
    builder.add_node("a", node, cache_policy=CachePolicy())
    builder.add_edge(START, "a")
    graph = around(builder.compile(cache=InMemoryCache()))
    first = [graph.invoke({"xs": []}), graph.invoke({"xs": []}), len(ran)]
    graph.clear_cache()
    graph.invoke({"xs": []})
    return first, len(ran)


@scenario
def two_graphs_with_one_node_cache(around: Around) -> Any:
    def one(state: State) -> Any:
        return {"xs": ["one"]}

    def other(state: State) -> Any:
        return {"xs": ["other"]}

    cache, results = InMemoryCache(), []
    for function in (one, other):
        builder = StateGraph(State)
        builder.add_node("n", function, cache_policy=CachePolicy())
        builder.add_edge(START, "n")
        results.append(around(builder.compile(cache=cache)).invoke({"xs": []}))
    return results


def _slow_node(timeout: Any, node: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("a", node, timeout=timeout)
    builder.add_edge(START, "a")
    return builder


@scenario
def a_node_timeout_fires(around: Around) -> Any:
    async def node(state: State) -> Any:
        await asyncio.sleep(30)

    try:
        return asyncio.run(around(_slow_node(0.05, node).compile()).ainvoke({"xs": []}))
    except Exception as error:
        return type(error).__name__


@scenario
def a_timeout_on_a_sync_node_is_refused(around: Around) -> Any:
    try:
        around(_slow_node(0.05, lambda state: None).compile())
    except ValueError:
        return "refused"
    return "accepted"


@scenario
def with_config_keeps_a_timeout_valid(around: Around) -> Any:
    async def node(state: State) -> Any:
        return {"xs": ["ok"]}

    graph = around(_slow_node(5.0, node).compile()).with_config({"tags": ["t"]})
    return asyncio.run(graph.ainvoke({"xs": []}))


@scenario
def heartbeats_hold_off_the_idle_timeout(around: Around) -> Any:
    async def node(state: State, runtime: Runtime) -> Any:
        for _ in range(5):
            await asyncio.sleep(0.1)
            runtime.heartbeat()
        return {"xs": ["ok"]}

    policy = TimeoutPolicy(idle_timeout=0.3, refresh_on="heartbeat")
    return asyncio.run(around(_slow_node(policy, node).compile()).ainvoke({"xs": []}))


@scenario
def error_handlers(around: Around) -> Any:
    def fail(state: State) -> Any:
        raise ValueError("boom")

    def handle(state: State, error: NodeError) -> Any:
        return {"xs": [str(error.error), error.node]}

    builder = StateGraph(State)
    builder.add_node("a", fail, error_handler=handle)
    builder.add_edge(START, "a")
    return asyncio.run(around(builder.compile()).ainvoke({"xs": []}))


@scenario
def deferred_nodes(around: Around) -> Any:
    builder = StateGraph(State)
    for name in "abc":
        builder.add_node(name, add(name))
    builder.add_node("d", lambda state: {"xs": [f"d{len(state['xs'])}"]}, defer=True)
    for edge in ((START, "a"), (START, "b"), ("b", "c"), ("a", "d"), ("c", "d")):
        builder.add_edge(*edge)
    graph = around(builder.compile())
    return asyncio.run(graph.ainvoke({"xs": []})), graph.get_graph().draw_mermaid()


@scenario
def durability_modes(around: Around) -> Any:
    counts = []
    for durability in ("sync", "async", "exit"):
        graph = around(chain(("a", add("a")), ("b", add("b")), checkpointer=InMemorySaver()))
        asyncio.run(graph.ainvoke({"xs": []}, THREAD, durability=durability))
        counts.append(len(list(graph.get_state_history(THREAD))))
    return counts


@scenario
def drawing_of_tools(around: Around) -> Any:
    @tool
    def lookup(x: int) -> int:
        "Look something up."
        return x

    builder = StateGraph(State)
    builder.add_node("a", lambda state: None)
    builder.add_node("tools", ToolNode([lookup]))
    builder.add_edge(START, "a")
    builder.add_edge("a", "tools")
    graph = around(builder.compile()).get_graph()
    return graph.draw_mermaid(), graph.to_json()


COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="unset")


@scenario
def context_variables_async(around: Around) -> Any:
    async def node(state: State) -> Any:
        return {"xs": [COLOUR.get()]}

    graph = around(chain(("a", lambda state: {"xs": [COLOUR.get()]}), ("c", node)))

    async def main() -> Any:
        COLOUR.set("outer")
        return await graph.ainvoke({"xs": []})

    return asyncio.run(main())


@scenario
def context_variables_sync(around: Around) -> Any:
    token = COLOUR.set("outer")
    try:
        return around(chain(("a", lambda state: {"xs": [COLOUR.get()]}))).invoke({"xs": []})
    finally:
        COLOUR.reset(token)


@scenario
def update_state_and_history(around: Around) -> Any:
    graph = around(chain(("a", add("a")), ("b", add("b")), checkpointer=InMemorySaver()))
    graph.invoke({"xs": []}, THREAD)
    graph.update_state(THREAD, {"xs": ["edited"]}, as_node="a")
    return graph.get_state(THREAD).next, graph.invoke(None, THREAD), len(list(graph.get_state_history(THREAD)))


@scenario
def create_agent(around: Around) -> Any:
    from langchain.agents import create_agent

    @tool
    def plus(a: int, b: int) -> int:
        "Add."
        return a + b

    class Model(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **options: Any) -> Any:
            return self

    call = AIMessage("", tool_calls=[{"name": "plus", "args": {"a": 1, "b": 2}, "id": "c1"}], id="1")
    graph = around(create_agent(Model(messages=iter([call, AIMessage("three", id="2")])), [plus]))
    state = asyncio.run(graph.ainvoke({"messages": [HumanMessage("q", id="h")]}))
    return [(m.type, m.content) for m in state["messages"]], graph.get_graph().draw_mermaid()


@scenario
def functional_api_async(around: Around) -> Any:
    ran: list[int] = []

    @task
    async def square(x: int) -> int:
        ran.append(x)
        return x * x

    @task
    def increment(x: int) -> int:
        return x + 1

    @entrypoint(checkpointer=InMemorySaver())
    async def flow(xs: list[int], *, previous: Any = None) -> Any:
        squares = await asyncio.gather(*[square(x) for x in xs])
        total = await increment(sum(squares))
        answer = interrupt("ok?")
        return entrypoint.final(value=(total, answer, previous), save=total)

    graph = around(flow)

    async def main() -> Any:
        first = await graph.ainvoke([1, 2, 3], THREAD)
        second = await graph.ainvoke(Command(resume="yes"), THREAD)
        return [first, second, [part async for part in graph.astream([1], THREAD, stream_mode="updates")]]

    return asyncio.run(main()), sorted(ran)


@scenario
def functional_api_sync(around: Around) -> Any:
    @task
    def increment(x: int) -> int:
        return x + 1

    @entrypoint(checkpointer=InMemorySaver())
    def flow(x: int, *, previous: Any = None) -> Any:
        return increment(x).result(), previous

    graph = around(flow)
    return [graph.invoke(1, THREAD), graph.invoke(2, THREAD)]


@scenario
def parallel_nodes_run_at_the_same_time(around: Around) -> Any:
    barrier = threading.Barrier(2, timeout=10)

    def meet(state: State) -> Any:
        barrier.wait()
        return {"xs": [1]}

    builder = StateGraph(State)
    for name in "ab":
        builder.add_node(name, meet)
        builder.add_edge(START, name)
    started = time.monotonic()
    result = around(builder.compile()).invoke({"xs": []})
    return result, time.monotonic() - started < 10
