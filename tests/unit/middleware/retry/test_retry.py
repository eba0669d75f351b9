"""Again, but not too often, not too late, and never twice where that does harm."""

import asyncio
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import InjectedToolArg, tool
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

import chainops
from chainops import Blocked, Pipeline, SetupError
from chainops.middleware.retry import Retry
from chainops.middleware.retry.middleware import AttemptTimeout
from chainops.testing import MiddlewareConformance, ScriptedModel, model_call, tool_call


class TestRetry(MiddlewareConformance):
    def make(self):
        return Retry(3, first_s=0.0, max_s=0.0, timeout_s=30, idempotent=["*"])


class TestRetryAsItComes(MiddlewareConformance):
    def make(self):
        return Retry()


def retry(attempts=3, **options):
    return Retry(attempts, **{"first_s": 0.0, "max_s": 0.0, **options})


async def test_a_failure_that_passes_is_not_seen():
    model = ScriptedModel([ConnectionError("cut"), TimeoutError("slow"), "here"])
    assert (await Pipeline([retry()]).around_model(model)(model_call())).text == "here"


async def test_the_last_error_is_raised_as_it_is():
    last = ConnectionError("third")
    model = ScriptedModel([ConnectionError("first"), ConnectionError("second"), last, "never"])
    with pytest.raises(ConnectionError) as raised:
        await Pipeline([retry()]).around_model(model)(model_call())
    assert raised.value is last and len(model.calls) == 3


@pytest.mark.parametrize("error", [ValueError("mistake"), Blocked("no"), chainops.CallError("no")])
async def test_what_will_not_pass_is_asked_once(error):
    model = ScriptedModel([error, "never"])
    with pytest.raises(type(error)):
        await Pipeline([retry()]).around_model(model)(model_call())
    assert len(model.calls) == 1


async def test_more_exceptions_can_be_named():
    model = ScriptedModel([ValueError("flaky"), "here"])
    assert (await Pipeline([retry(retry_on=(ValueError,))]).around_model(model)(model_call())).text == "here"


async def test_no_pause_goes_past_the_deadline():
    model = ScriptedModel([ConnectionError("cut"), "too late"])
    call = model_call()
    call.due_in(0.05)
    with pytest.raises(ConnectionError):
        await Pipeline([Retry(5, first_s=1e6, max_s=1e6, seed=1)]).around_model(model)(call)
    assert len(model.calls) == 1


async def test_an_attempt_that_hangs_is_cancelled_and_made_again():
    ran, cancelled = [], []

    async def engine(call: Any) -> Any:
        ran.append(1)
        if len(ran) == 1:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(1)
                raise
        return chainops.ModelResult(message=AIMessage("here"))

    layer = retry(timeout_s=0.05)
    assert (await Pipeline([layer]).around_model(engine)(model_call())).text == "here"
    assert cancelled == [1] and layer.healths["scripted"].errors > 0
    ran.clear()
    with pytest.raises(AttemptTimeout) as late:
        await Pipeline([retry(1, timeout_s=0.05)]).around_model(engine)(model_call())
    assert late.value.code == "call.attempt_timeout" and late.value.retryable


async def test_a_timeout_of_the_caller_is_not_taken_for_one_of_an_attempt():
    async def engine(call: Any) -> Any:
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await Pipeline([retry(timeout_s=50)]).around_model(engine)(model_call())


async def test_a_tool_is_called_again_only_where_it_is_said_to_do_no_harm():
    async def flaky(call: Any) -> Any:
        ran.append(call.name)
        if len(ran) == 1:
            raise ConnectionError("cut")
        return "done"

    around = Pipeline([retry(idempotent=["get_*"])]).around_tool(flaky)
    ran: list[str] = []
    with pytest.raises(ConnectionError):
        await around(tool_call({}, name="pay"))
    assert ran == ["pay"]
    ran.clear()
    assert await around(tool_call({}, name="get_price")) == "done"
    ran.clear()
    assert await around(tool_call("q", kind="retriever", name="search")) == "done"


def test_a_tool_gets_one_key_for_all_attempts():
    keys = []

    @tool
    def pay(amount: int, idempotency_key: Annotated[str, InjectedToolArg] = "") -> str:
        """Pay."""
        keys.append(idempotency_key)
        if len(keys) == 1:
            raise ConnectionError("cut")
        return "paid"

    pay.metadata = {"chainops": {"idempotent": True}}

    class State(TypedDict):
        said: str

    def node(state):
        call = {"name": "pay", "args": {"amount": 5}, "id": "c1", "type": "tool_call"}
        message: ToolMessage = pay.invoke(call)
        return {"said": message.content}

    graph = StateGraph(State).add_node(node).add_edge(START, "node").compile()
    app = chainops.instrument(graph, Pipeline([retry()]))
    assert app.invoke({"said": ""}, {"configurable": {"thread_id": "t"}})["said"] == "paid"
    assert len(keys) == 2 and keys[0] == keys[1] and len(keys[0]) == 32
    assert "idempotency_key" not in pay.tool_call_schema.model_json_schema()["properties"]
    assert app.invoke({"said": ""}, {"configurable": {"thread_id": "other"}})["said"] == "paid"
    assert keys[2] != keys[0]


async def test_a_stream_is_begun_again_only_while_nothing_has_left():
    async def breaks(call: Any) -> Any:
        ran.append(1)
        if fail_after == 0:
            fail.append(1)
            if len(ran) == 1:
                raise ConnectionError("cut")
        await call.emit(AIMessage("x"))
        if len(ran) == 1:
            raise ConnectionError("cut")
        return chainops.ModelResult(message=AIMessage("x"))

    around = Pipeline([retry()]).around_model(breaks)
    ran, fail, fail_after = [], [], 0
    assert (await around(model_call(streaming=True))).text == "x" and len(ran) == 2
    ran, fail_after = [], 1
    with pytest.raises(ConnectionError):
        await around(model_call(streaming=True))
    assert len(ran) == 1


def test_a_person_is_asked_once_though_the_tool_is_retried():
    from langgraph.checkpoint.memory import InMemorySaver

    asked = []

    @tool
    def approve(what: str) -> str:
        """Ask a person."""
        asked.append(interrupt(what))
        if len(asked) == 1:
            raise ConnectionError("cut after the answer")
        return asked[-1]

    class State(TypedDict):
        said: str

    graph = (
        StateGraph(State)
        .add_node("node", lambda state: {"said": approve.invoke({"what": "pay?"})})
        .add_edge(START, "node")
        .compile(checkpointer=InMemorySaver())
    )
    app = chainops.instrument(graph, Pipeline([retry(idempotent=["*"])]))
    config = {"configurable": {"thread_id": "t"}}
    assert app.invoke({"said": ""}, config)["__interrupt__"][0].value == "pay?"
    assert app.invoke(Command(resume="yes"), config)["said"] == "yes"
    assert asked == ["yes", "yes"]


async def test_a_model_that_keeps_failing_is_left_alone_for_a_while():
    model = ScriptedModel([ConnectionError("down")] * 100)
    layer = retry(1)
    ask = Pipeline([layer]).around_model(model)
    for _ in range(8):
        with pytest.raises(ConnectionError):
            await ask(model_call())
    with pytest.raises(chainops.CallError) as down:
        await ask(model_call())
    assert down.value.code == "route.down" and len(model.calls) == 8


@pytest.mark.parametrize("bad", [{"attempts": 0}, {"first_s": -1}, {"first_s": 5, "max_s": 1}, {"timeout_s": 0}])
def test_settings_that_make_no_sense_say_so(bad):
    with pytest.raises(SetupError) as wrong:
        Retry(**bad)
    assert wrong.value.code == "setup.retry"
