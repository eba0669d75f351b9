from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel

import chainops
from chainops import App, CallError, Middleware, Pipeline, SetupError, instrument
from chainops.calls import NodeSettings
from chainops.errors import StoreError
from chainops.middleware.prompts import Prompts
from chainops.middleware.trace import Trace
from chainops.store.artifacts import Artifacts
from chainops.testing import MiddlewareConformance, ScriptedModel, model_call, node_call


class State(TypedDict, total=False):
    q: str
    said: Annotated[list[str], lambda a, b: [*a, *b]]


INPUTS = {"properties": {"q": {"type": "string"}}, "required": ["q"]}


class Shop:
    """A database with the prompt "ask", versions 1 and 2; "prod" points to 1."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Artifacts(path)
        self.put("ask", "one {{ q }}", system="You are one.")
        self.put("ask", "two {{ q }}", system="You are two.")
        self.promote(1)

    def put(self, name: str, template: str, system: str = "", **more: Any) -> None:
        messages = [{"role": "user", "template": template}]
        if system:
            messages.insert(0, {"role": "system", "template": system})
        self.store.add("prompt", name, {"inputs": INPUTS, "messages": messages, **more}, author="ann")

    def promote(self, version: int, name: str = "ask", label: str = "prod") -> None:
        self.store.move("prompt", name, label, version, who="ann")

    def prompts(self, **options: Any) -> Prompts:
        return Prompts(self.path, max_age_s=0, **options)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "prompts.db")


class TestPrompts(MiddlewareConformance):
    @pytest.fixture(autouse=True)
    def database(self, shop: Shop) -> None:
        self.shop = shop

    def make(self) -> Middleware:
        return self.shop.prompts()


def graph(*nodes: Callable[[Any], Any], state: Any = State, **metadata: Any) -> Any:
    builder, previous = StateGraph(state), START
    for node in nodes:
        builder.add_node(node.__name__, node, metadata={"chainops": metadata} if metadata else None)
        builder.add_edge(previous, node.__name__)
        previous = node.__name__
    return builder.compile()


def ask(state: State) -> State:
    return {"said": [chainops.prompt("ask").render(q=state["q"]).messages[-1].text]}


async def ask_async(state: State) -> State:
    await asyncio.sleep(0)
    return ask(state)


@pytest.mark.parametrize("node", [ask, ask_async])
async def test_a_node_gets_the_version_that_the_label_points_to(shop: Shop, node: Any) -> None:
    made = instrument(graph(node), Pipeline([shop.prompts()]))
    assert (await made.ainvoke({"q": "?"}))["said"] == ["one ?"]
    shop.promote(2)
    assert (await made.ainvoke({"q": "?"}))["said"] == ["two ?"]


def test_a_synchronous_run_gets_it_too(shop: Shop) -> None:
    made = instrument(graph(ask, ask_second), Pipeline([shop.prompts()]))
    assert made.invoke({"q": "?"})["said"] == ["one ?", "two ?"]
    assert next(made.stream({"q": "?"}, stream_mode="updates")) == {"ask": {"said": ["one ?"]}}


def ask_second(state: State) -> State:
    return {"said": [chainops.prompt("ask", 2).messages(q=state["q"])[-1].text]}


async def test_a_promotion_in_the_middle_of_a_run_changes_nothing_for_it(shop: Shop) -> None:
    async def promote(state: State) -> State:
        await asyncio.to_thread(shop.promote, 2)
        return {}

    async def again(state: State) -> State:
        return ask(state)

    inner = graph(ask_async)

    async def nested(state: State) -> State:
        return {"said": (await inner.ainvoke({"q": "nested"}))["said"]}

    made = instrument(graph(ask, promote, again, nested), Pipeline([shop.prompts()]))
    assert (await made.ainvoke({"q": "?"}))["said"] == ["one ?", "one ?", "one nested"]
    assert (await made.ainvoke({"q": "?"}))["said"] == ["two ?", "two ?", "two nested"]


async def test_runs_at_the_same_time_do_not_mix_their_versions(shop: Shop) -> None:
    first_asked, promoted = asyncio.Event(), asyncio.Event()

    async def hold(state: State) -> State:
        if state["q"] == "first":
            first_asked.set()
            await promoted.wait()
        return ask(state)

    made = instrument(graph(hold), Pipeline([shop.prompts()]))
    first = asyncio.create_task(made.ainvoke({"q": "first"}))
    await first_asked.wait()
    await asyncio.to_thread(shop.promote, 2)
    assert (await made.ainvoke({"q": "second"}))["said"] == ["two second"]
    promoted.set()
    assert (await first)["said"] == ["one first"]


async def test_routes_tasks_and_tools_can_ask_as_well(shop: Shop) -> None:
    @tool
    def lookup(q: str) -> str:
        """Look up."""
        return chainops.prompt("ask").render(q=q).messages[-1].text

    def route(state: State) -> str:
        return END if chainops.prompt("ask").version == 1 else "never"

    async def node(state: State) -> State:
        return {"said": [await lookup.ainvoke({"q": "tool"})]}

    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_node("never", node)
    builder.add_edge(START, "node")
    builder.add_conditional_edges("node", route, [END, "never"])
    made = instrument(builder.compile(), Pipeline([shop.prompts()]))
    assert (await made.ainvoke({"q": "?"}))["said"] == ["one tool"]

    @task
    async def step(q: str) -> str:
        return chainops.prompt("ask").render(q=q).messages[-1].text

    @entrypoint()
    async def flow(q: str) -> str:
        return await step(q)

    assert await instrument(flow, Pipeline([shop.prompts()])).ainvoke("task") == "one task"


def spans(path: Path) -> dict[str, Any]:
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT kind, artifacts, attributes FROM span").fetchall()
    db.close()
    return {row[0]: (json.loads(row[1] or "[]"), json.loads(row[2] or "{}")) for row in rows}


async def test_the_span_names_the_version_its_hash_and_the_hashes_of_the_values_but_no_value(shop: Shop) -> None:
    async def twice(state: State) -> State:
        ask(state)
        return ask(state)

    with App(
        pipeline={"middleware": ["trace", "prompts"]},
        trace={"path": shop.path, "content": False},
        prompts={"max_age_s": 0},
    ) as app:
        await app.instrument(graph(twice)).ainvoke({"q": "s3cret"})
    artifacts, attributes = spans(shop.path)["node"]
    assert artifacts == [{"kind": "prompt", "name": "ask", "version": "1"}]
    noted = attributes["prompts"]["ask"]
    version = Artifacts(shop.path).add("prompt", "ask", version_one(), author="")[0]
    assert (noted["ref"], noted["version"], noted["sha256"]) == ("prod", 1, version.sha256)
    assert len(noted["variables"]["q"]) == 16
    assert "s3cret" not in json.dumps(attributes)


def version_one() -> dict[str, Any]:
    messages = [{"role": "system", "template": "You are one."}, {"role": "user", "template": "one {{ q }}"}]
    return {"inputs": INPUTS, "messages": messages}


class Talk(MessagesState, total=False):
    q: str


def talker(model: ScriptedModel) -> Any:
    async def talk(state: Talk) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return talk


@pytest.mark.parametrize(
    "setting", ["ask", {"name": "ask"}, {"name": "ask", "label": "prod"}, {"name": "ask", "label": 1}]
)
async def test_a_node_that_names_a_prompt_gets_it_before_its_messages(shop: Shop, setting: Any) -> None:
    model = ScriptedModel(["ok"])
    made = instrument(graph(talker(model), state=Talk, prompts=setting), Pipeline([shop.prompts()]))
    await made.ainvoke({"q": "{{ q }}", "messages": [HumanMessage("and I?")]})
    assert [(m.type, m.text) for m in model.calls[0]] == [
        ("system", "You are one."),
        ("human", "one {{ q }}"),
        ("human", "and I?"),
    ]


class Model(BaseModel):
    q: str = "?"


@dataclass
class Record:
    q: str = "?"


@dataclass(slots=True)
class Slots:
    q: str = "?"


@pytest.mark.parametrize("state", [Model, Record, Slots, dict, None])
async def test_variables_come_from_the_fields_of_a_state_and_never_from_its_methods(shop: Shop, state: Any) -> None:
    inputs = {"properties": {"q": {"type": "string"}, "copy": {"type": "string", "default": "no method"}}}
    messages = [{"role": "user", "template": "{{ q|default('-') }} {{ copy }}"}]
    shop.store.add("prompt", "f", {"inputs": inputs, "messages": messages}, author="ann")
    shop.promote(1, "f")
    model = ScriptedModel(["ok"])

    async def engine(call: Any) -> Any:
        around = Pipeline([shop.prompts()]).around_model(model)
        return await around(model_call("hi", parent=call, settings=NodeSettings((), {"prompts": "f"})))

    given = {"q": "?"} if state is dict else state() if state else None
    await engine(node_call(given))
    assert model.calls[0][0].text == ("- no method" if state is None else "? no method")


async def test_the_model_span_of_such_a_node_names_the_version(shop: Shop) -> None:
    pipeline = Pipeline([Trace(shop.path), shop.prompts()], nodes={"talk": {"prompts": {"name": "ask", "label": 2}}})
    await instrument(graph(talker(ScriptedModel(["ok"])), state=Talk), pipeline).ainvoke({"q": "x", "messages": []})
    pipeline.middleware[0].close()  # type: ignore[attr-defined]
    artifacts, attributes = spans(shop.path)["model"]
    assert artifacts == [{"kind": "prompt", "name": "ask", "version": "2"}]
    assert attributes["prompts"]["ask"]["ref"] == 2


async def test_the_settings_of_a_prompt_are_defaults_of_the_model_call(shop: Shop) -> None:
    shop.put("warm", "{{ q }}", model={"temperature": 1, "top_k": 5})
    shop.promote(1, "warm")
    seen: list[Any] = []

    class Look(Middleware):
        async def wrap_model_call(self, call: Any, call_next: Any) -> Any:
            seen.append(dict(call.params))
            return await call_next(call)

    async def talk(state: Talk) -> Any:
        return {"messages": [await ScriptedModel(["ok"]).ainvoke([], temperature=0)]}

    made = instrument(graph(talk, state=Talk, prompts="warm"), Pipeline([shop.prompts(), Look()]))
    await made.ainvoke({"q": "x", "messages": []})
    assert seen == [{"temperature": 0, "top_k": 5}]


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({"messages": [SystemMessage("mine")], "q": "x"}, "prompt.system"),
        ({"messages": []}, "prompt.inputs"),
        ({"messages": [], "q": 3}, "prompt.inputs"),
        ({"messages": [], "q": AIMessage("x")}, "prompt.inputs"),
    ],
)
async def test_what_does_not_fit_the_prompt_never_reaches_the_model(shop: Shop, state: Any, code: str) -> None:
    model = ScriptedModel(["ok"])
    made = instrument(graph(talker(model), state=Talk, prompts="ask"), Pipeline([shop.prompts()]))
    with pytest.raises(CallError) as caught:
        await made.ainvoke(state)
    assert caught.value.code == code
    assert model.calls == []


@pytest.mark.parametrize("setting", [3, {"nmae": "ask"}, {"name": 3}, {"name": "ask", "label": 1.5}, ["ask"]])
async def test_a_setting_that_is_none_is_a_clear_error(shop: Shop, setting: Any) -> None:
    model = ScriptedModel(["ok"])
    made = instrument(graph(talker(model), state=Talk, prompts=setting), Pipeline([shop.prompts()]))
    with pytest.raises(SetupError, match="The setting 'prompts' of 'talk'"):
        await made.ainvoke({"q": "x", "messages": []})
    assert model.calls == []


async def test_the_label_of_the_nodes_settings_wins_over_that_of_the_middleware(shop: Shop) -> None:
    shop.promote(2, label="canary")
    for options, label, expected in (({}, "canary", "two"), ({"label": "canary"}, "prod", "one")):
        made = instrument(graph(ask, prompts={"label": label}), Pipeline([shop.prompts(**options)]))
        assert (await made.ainvoke({"q": "?"}))["said"] == [f"{expected} ?"]
    made = instrument(graph(ask), Pipeline([shop.prompts(label="canary")]))
    assert (await made.ainvoke({"q": "?"}))["said"] == ["two ?"]


@pytest.mark.parametrize(
    ("name", "ref", "code"),
    [
        ("aks", None, "store.unknown_name"),
        ("ask", "canary", "store.unknown_label"),
        ("ask", 7, "store.unknown_version"),
        ("ask", 2, "store.retired"),
    ],
)
async def test_an_unknown_label_or_a_retired_version_is_a_clear_error(
    shop: Shop, name: str, ref: str | int | None, code: str
) -> None:
    shop.store.retire("prompt", "ask", 2, who="ann", why="it lies")

    def node(state: State) -> State:
        chainops.prompt(name, ref)
        return {}

    with pytest.raises(StoreError) as caught:
        await instrument(graph(node), Pipeline([shop.prompts()])).ainvoke({"q": "?"})
    assert caught.value.code == code


async def test_a_packaged_version_stands_in_for_what_the_database_does_not_have(
    shop: Shop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "packaged"
    folder.mkdir()
    (folder / "ask.prompt").write_text(
        "---\ninputs: {properties: {q: {}}}\npartials: [part]\n---\n{% include 'part' %} {{ q }}"
    )
    (folder / "part.prompt").write_text("packaged")

    async def said(prompts: Prompts) -> list[str]:
        result: list[str] = (await instrument(graph(ask), Pipeline([prompts])).ainvoke({"q": "?"}))["said"]
        return result

    assert await said(shop.prompts(fallback=folder)) == ["one ?"]
    assert caplog.records == []
    unlabelled = shop.prompts(fallback=folder, label="nowhere")
    assert [await said(unlabelled), await said(unlabelled)] == [["packaged ?"], ["packaged ?"]]
    assert ["packaged version of prompt 'ask' is used" in r.message for r in caplog.records] == [True]
    assert await said(Prompts(tmp_path / "none.db", fallback=folder)) == ["packaged ?"]
    assert not (tmp_path / "none.db").exists()


async def test_a_packaged_version_that_was_retired_does_not_stand_in(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "packaged"
    folder.mkdir()
    (folder / "ask.prompt").write_text(
        "---\ninputs: {properties: {q: {type: string}}, required: [q]}\n---\nsystem:\nYou are one.\nuser:\none {{ q }}"
    )
    shop.store.retire("prompt", "ask", 1, who="ann", why="it lies")
    made = instrument(graph(ask), Pipeline([shop.prompts(fallback=folder)]))
    with pytest.raises(StoreError, match="retired"):
        await made.ainvoke({"q": "?"})


async def test_without_a_database_only_who_asks_gets_an_error(tmp_path: Path) -> None:
    def quiet(state: State) -> State:
        return {"said": ["fine"]}

    prompts = Prompts(tmp_path / "none.db")
    assert (await instrument(graph(quiet), Pipeline([prompts])).ainvoke({"q": "?"}))["said"] == ["fine"]
    with pytest.raises(StoreError) as caught:
        await instrument(graph(ask), Pipeline([prompts])).ainvoke({"q": "?"})
    assert caught.value.code == "store.missing"


def test_outside_a_run_there_is_no_prompt(shop: Shop) -> None:
    with pytest.raises(CallError) as caught:
        chainops.prompt("ask")
    assert caught.value.code == "prompt.outside"
    instrument(graph(ask), Pipeline([shop.prompts()])).invoke({"q": "?"})
    with pytest.raises(CallError):
        chainops.prompt("ask")


def test_a_thread_of_its_own_inside_a_node_is_outside(shop: Shop) -> None:
    caught: list[BaseException] = []

    def node(state: State) -> State:
        def work() -> None:
            try:
                chainops.prompt("ask")
            except CallError as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return {}

    instrument(graph(node), Pipeline([shop.prompts()])).invoke({"q": "?"})
    assert len(caught) == 1


async def test_a_call_without_a_run_around_it_is_served_too(shop: Shop) -> None:
    around = Pipeline([shop.prompts()]).around_node(lambda call: asyncio.sleep(0, chainops.prompt("ask").version))
    assert await around(node_call({"q": "x"})) == 1
    model = ScriptedModel(["ok", "ok"])
    around_model = Pipeline([shop.prompts()]).around_model(model)
    await around_model(model_call("hi"))
    assert [m.text for m in model.calls[0]] == ["hi"]


def test_prompts_stand_before_what_changes_or_caches_messages(shop: Shop) -> None:
    cache = type("Cache", (Middleware,), {})()
    with pytest.raises(SetupError, match=r"'prompts' .* must come before 'cache'"):
        Pipeline([cache, shop.prompts()])


def test_an_app_takes_prompts_from_the_trace_file_unless_told_otherwise(shop: Shop, tmp_path: Path) -> None:
    pipeline = {"middleware": ["trace", "prompts"]}
    app = App(pipeline=pipeline, trace={"path": str(shop.path)}, prompts={"label": "canary", "max_age_s": 5})
    layer = app.pipeline.middleware[1]
    assert isinstance(layer, Prompts)
    assert (layer.registry.store.path, layer.label, layer.registry.max_age_s) == (shop.path, "canary", 5)
    other = App(pipeline=pipeline, prompts={"path": str(tmp_path / "other.db")}).pipeline.middleware[1]
    assert isinstance(other, Prompts)
    assert other.registry.store.path == tmp_path / "other.db"
    with pytest.raises(SetupError, match="There is no folder"):
        App(pipeline=pipeline, prompts={"fallback": str(tmp_path / "nowhere")})


TINY = Path(__file__).parents[4] / "recipes" / "tiny_model" / "support-desk-tiny.gguf"


@pytest.mark.llama
@pytest.mark.skipif(not TINY.is_file(), reason=f"{TINY.name} is not there; recipes/tiny_model makes it")
async def test_the_real_model_answers_a_prompt_by_name_with_the_prompts_settings(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    from chainops.engines.llama import ChatLlama

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shop.put("desk", "{{ q }}", model={"temperature": 0, "max_tokens": 3})
    shop.promote(1, "desk")
    with closing(ChatLlama(model_path=str(TINY))) as model:

        async def talk(state: Talk) -> Any:
            return {"messages": [await model.ainvoke(state["messages"])]}

        made = instrument(graph(talk, state=Talk, prompts="desk"), Pipeline([shop.prompts()]))
        answer = (await made.ainvoke({"q": "How much is shipping?", "messages": []}))["messages"][-1]
        longer = await model.ainvoke("How much is shipping?", temperature=0)
    assert answer.usage_metadata["output_tokens"] == 3
    assert answer.text
    assert longer.text.startswith(answer.text)


@pytest.mark.llama
@pytest.mark.skipif(not TINY.is_file(), reason=f"{TINY.name} is not there; recipes/tiny_model makes it")
async def test_the_real_model_is_held_to_the_output_schema_of_a_prompt(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    from chainops.engines.llama import ChatLlama

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    topics = ["shipping", "returns"]
    output = {"type": "object", "properties": {"topic": {"enum": topics}}, "required": ["topic"]}
    shop.put("desk", "{{ q }}", model={"temperature": 0, "max_tokens": 60}, output=output)
    shop.promote(1, "desk")
    with closing(ChatLlama(model_path=str(TINY))) as model:

        async def talk(state: Talk) -> Any:
            return {"messages": [await model.ainvoke(state["messages"])]}

        made = instrument(graph(talk, state=Talk, prompts="desk"), Pipeline([shop.prompts()]))
        answer = (await made.ainvoke({"q": "How much is shipping?", "messages": []}))["messages"][-1]
    assert json.loads(answer.text)["topic"] in topics
