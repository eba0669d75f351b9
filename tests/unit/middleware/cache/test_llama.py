"""The cache around a real model of llama.cpp."""

import asyncio
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from chainops import Pipeline, wrap
from chainops.middleware.cache import Cache

TINY = Path(__file__).parents[4] / "recipes" / "tiny_model" / "support-desk-tiny.gguf"


@pytest.fixture
def make(tmp_path):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    if not TINY.exists():
        pytest.skip("recipes/tiny_model/support-desk-tiny.gguf is not there")
    from chainops.engines.llama import ChatLlama

    made = []

    def build(**options):
        model, cache = ChatLlama(model_path=TINY, probe=False, **options), Cache(tmp_path / "cache")
        made.extend([model, cache])
        return wrap(model, Pipeline([cache])), cache

    yield build
    for each in made:
        each.close()


def hits(cache):
    cache.flush()
    return sum(n for (_, _, what), n in cache.tiers.store.counted().items() if what in ("hit", "joined"))


async def test_a_real_answer_is_given_again_whole_and_streamed(make):
    model, cache = make()
    first = await model.ainvoke("How much is shipping?")
    assert first.text
    assert (await model.ainvoke([HumanMessage("How much is shipping?", id="x")])).text == first.text
    streamed = "".join([chunk.text async for chunk in model.astream("How much is shipping?")])
    assert streamed == first.text
    assert hits(cache) == 2
    other, its_cache = make()
    assert (await other.ainvoke("How much is shipping?")).text == first.text
    assert hits(its_cache) == 3


async def test_sampling_without_a_seed_is_not_cached_and_with_one_it_is(make):
    model, cache = make(temperature=1.0)
    for _ in range(2):
        await model.ainvoke("How much is shipping?")
    assert hits(cache) == 0
    model, cache = make(temperature=1.0, seed=7)
    answers = [(await model.ainvoke("How much is shipping?")).text for _ in range(2)]
    assert answers[0] == answers[1]
    assert hits(cache) == 1


async def test_equal_real_calls_at_once_run_once(make):
    model, cache = make()
    answers = await asyncio.gather(*[model.ainvoke("Where is my order?") for _ in range(20)])
    assert len({answer.text for answer in answers}) == 1
    assert hits(cache) == 19
