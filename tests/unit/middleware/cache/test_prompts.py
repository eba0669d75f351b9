"""Moving a label of a prompt: what was answered with the other version is never given again."""

from typing import TypedDict

import pytest
from langgraph.graph import START, StateGraph

import chainops
from chainops.middleware.cache import Cache
from chainops.middleware.prompts import Prompts
from chainops.store.artifacts import Artifacts
from chainops.testing import ScriptedModel


class State(TypedDict):
    said: str


RAN = []


async def node(state):
    text = chainops.prompt("hello").render().text
    RAN.append(text)
    return {"said": text}


@pytest.fixture
def store(tmp_path):
    store = Artifacts(tmp_path / "chainops.db")
    RAN.clear()
    for text in ("one", "two"):
        store.add("prompt", "hello", {"messages": [{"role": "system", "template": text}]}, author="a")
    store.move("prompt", "hello", "prod", 1, who="a")
    return store


@pytest.fixture(params=["memory", "disk"])
def cache(request, tmp_path):
    cache = Cache(None if request.param == "memory" else tmp_path / "cache")
    yield cache
    cache.close()


def graph_of(path, cache, code=node, settings=True):
    builder = StateGraph(State)
    builder.add_node("node", code, metadata={"chainops": {"cache": settings}})
    builder.add_edge(START, "node")
    return chainops.instrument(builder.compile(), [Prompts(path, max_age_s=0), cache])


async def test_a_cached_node_follows_the_label(store, cache):
    graph = graph_of(store.path, cache, settings={"node": True, "version": "1"})
    said = []
    for version in (1, 1, 2, 2, 1):
        store.move("prompt", "hello", "prod", version, who="a")
        said.append((await graph.ainvoke({"said": ""}))["said"])
    assert said == ["one", "one", "two", "two", "one"]
    assert RAN == ["one", "two"]  # back at the first version, its answer is right again


async def test_a_cached_model_call_follows_the_label_of_the_prompt_put_before_it(store, cache):
    model = ScriptedModel([lambda messages: messages[0].text] * 9).bind(temperature=0)
    cache.asking.versions = {"scripted": "1"}

    async def asks(state):
        return {"said": (await model.ainvoke("hi")).text}

    builder = StateGraph(State)
    builder.add_node("node", asks, metadata={"chainops": {"prompts": "hello"}})
    builder.add_edge(START, "node")
    graph = chainops.instrument(builder.compile(), [Prompts(store.path, max_age_s=0), cache])
    said = []
    for version in (1, 1, 2, 2):
        store.move("prompt", "hello", "prod", version, who="a")
        said.append((await graph.ainvoke({"said": ""}))["said"])
    assert said == ["one", "one", "two", "two"]
    assert len(model.bound.calls) == 2


async def test_the_tag_of_a_prompt_forgets_what_used_it(store, cache):
    graph = graph_of(store.path, cache, settings={"node": True, "version": "1"})
    await graph.ainvoke({"said": ""})
    cache.flush()
    assert cache.invalidate("prompt:other") == 0
    assert cache.invalidate("prompt:hello") == 1
    await graph.ainvoke({"said": ""})
    assert RAN == ["one", "one"]
