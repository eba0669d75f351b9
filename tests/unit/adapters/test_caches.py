"""LangChain's and LangGraph's cache interfaces on the stores of the cache middleware."""

import time

import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_tests.integration_tests.cache import AsyncCacheTestSuite, SyncCacheTestSuite
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy

from chainops.adapters.caches import GraphCache, ModelCache
from chainops.testing import ScriptedModel


class TestLangChainInMemory(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self):
        cache = ModelCache()
        yield cache
        cache.close()


class TestLangChainOnDisk(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, tmp_path):
        cache = ModelCache(tmp_path / "cache")
        yield cache
        cache.close()


class TestLangChainInMemoryAsync(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self):
        cache = ModelCache()
        yield cache
        cache.close()


class TestLangChainOnDiskAsync(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, tmp_path):
        cache = ModelCache(tmp_path / "cache")
        yield cache
        cache.close()


async def test_a_model_answers_from_it_and_tenants_do_not_share(tmp_path):
    one, other = ModelCache(tmp_path / "cache", tenant="a"), ModelCache(tmp_path / "cache", tenant="b")
    script = [AIMessage("one", id="x")] * 3
    model = ScriptedModel(script, cache=one)
    answers = [await model.ainvoke("hi") for _ in range(3)]
    assert {answer.text for answer in answers} == {"one"}
    assert len(model.calls) == 1
    assert other.lookup("p", "m") is None
    model = ScriptedModel(script, cache=other)
    await model.ainvoke("hi")
    assert len(model.calls) == 1
    other.clear()
    assert await ScriptedModel(script, cache=one).ainvoke("hi")
    one.close()
    other.close()


def test_answers_that_were_cut_or_would_not_come_back_are_not_kept():
    cache = ModelCache()
    cut = ChatGeneration(message=AIMessage("a", response_metadata={"finish_reason": "length"}))
    for i, generation in enumerate([cut, Generation(text="a", generation_info={"x": object()})]):
        cache.update(f"{i}", "m", [generation])
        assert cache.lookup(f"{i}", "m") is None
    cache.close()


def test_what_is_looked_up_can_be_changed_without_changing_the_cache():
    cache = ModelCache()
    cache.update("p", "m", [Generation(text="a", generation_info={"n": [1]})])
    cache.lookup("p", "m")[0].generation_info["n"].append(2)
    assert cache.lookup("p", "m") == [Generation(text="a", generation_info={"n": [1]})]
    cache.close()


@pytest.fixture(params=["memory", "disk"])
def graph_cache(request, tmp_path):
    cache = GraphCache(None if request.param == "memory" else tmp_path / "cache")
    yield cache
    cache.close()


async def test_nodes_of_a_graph_are_cached_in_it(graph_cache):
    ran = []

    def node(state):
        ran.append(state["x"])
        return {"x": state["x"] + 1}

    builder = StateGraph(dict)
    builder.add_node("node", node, cache_policy=CachePolicy(ttl=60))
    builder.add_edge(START, "node")
    graph = builder.compile(cache=graph_cache)
    for _ in range(2):
        assert (await graph.ainvoke({"x": 1}))["x"] == 2
        assert graph.invoke({"x": 1})["x"] == 2
    assert ran == [1]
    await graph.aclear_cache()
    await graph.ainvoke({"x": 1})
    assert ran == [1, 1]


def test_namespaces_are_cleared_apart_and_commas_in_names_do_no_harm(graph_cache):
    keys = [(("a", "b"), "k"), (("a,b",), "k"), (("c",), "k")]
    graph_cache.set({key: (i, None) for i, key in enumerate(keys)})
    assert graph_cache.get(keys) == dict(zip(keys, range(3), strict=True))
    graph_cache.clear([("a", "b")])
    assert graph_cache.get(keys) == {keys[1]: 1, keys[2]: 2}
    graph_cache.clear()
    assert graph_cache.get(keys) == {}


def test_values_end_with_their_time(graph_cache):
    key = (("a",), "k")
    now = [time.time()]
    graph_cache.tiers.clock = lambda: now[0]
    graph_cache.set({key: ("x", 10)})
    assert graph_cache.get([key]) == {key: "x"}
    now[0] += 11
    assert graph_cache.get([key]) == {}
