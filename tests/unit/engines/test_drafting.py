"""Guesses make an answer come in fewer steps, and never another answer."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainops.engines.llama.drafting import continuation

Chain = Callable[..., Any]
HELLO = [b"Hel", b"lo ", b"wor", b"ld", b"!"]


def test_what_followed_the_same_tokens_for_the_last_time_is_the_guess() -> None:
    text = np.array([1, 2, 3, 9, 9, 1, 2, 4, 5, 6, 1, 2], np.int32)
    assert continuation(text, text, 3).tolist() == [4, 5, 6]
    assert continuation(text, np.array([9, 1, 2], np.int32), 9).tolist() == [4, 5, 6, 1, 2]
    assert continuation(text, np.array([7, 7], np.int32), 3).tolist() == []
    assert continuation(text, np.array([6], np.int32), 3).tolist() == []
    assert continuation(text[:0], text, 3).tolist() == []


@pytest.mark.parametrize("seed", range(8))
def test_the_guess_is_what_a_search_of_every_place_finds(seed: int) -> None:
    rng = random.Random(seed)
    text = np.array([rng.randrange(3) for _ in range(rng.randrange(0, 40))], np.int32)
    found = continuation(text, text, 4).tolist()
    for length in (4, 3, 2):
        places = [p for p in range(len(text) - length) if (text[p : p + length] == text[len(text) - length :]).all()]
        if places and len(text) >= length:
            assert found == text[places[-1] + length :][:4].tolist()
            return
    assert found == []


@pytest.mark.llama
@pytest.mark.parametrize("layout", ["unified", "partitioned"])
async def test_an_answer_that_repeats_needs_fewer_steps(chain: Chain, layout: str) -> None:
    plain = chain(HELLO, loop=True, max_tokens=100, kv_layout=layout)
    model = chain(HELLO, loop=True, max_tokens=100, n_draft=8, kv_layout=layout)
    for options in ({}, {"temperature": 1.0, "top_k": 1}, {"stop": ["ld!Hello"]}, {"max_tokens": 7}):
        before = model.session.stats.steps
        answer = await model.ainvoke("hi", **options)
        wanted = await plain.ainvoke("hi", **options)
        assert answer.content == wanted.content
        assert answer.usage_metadata["output_tokens"] == wanted.usage_metadata["output_tokens"]
        if answer.usage_metadata["output_tokens"] == 100:
            assert model.session.stats.steps - before < 40
    stats = model.session.stats
    assert 0 < stats.accepted_tokens <= stats.drafted_tokens
    texts = await asyncio.gather(*(model.ainvoke(f"q{number}") for number in range(6)))
    assert {answer.content for answer in texts} == {"Hello world!" * 20}
    residents = model.session._worker._residents
    assert residents.cells.free == residents.cells.count


@pytest.mark.llama
async def test_seeded_samples_are_the_same_with_and_without_guesses(chain: Chain) -> None:
    options: dict[str, Any] = {"loop": True, "temperature": 3.0, "top_k": 0, "top_p": 1.0, "max_tokens": 60}
    plain, model = chain(HELLO, **options), chain(HELLO, **options, n_draft=6)
    for seed in range(6):
        assert (await model.ainvoke("hi", seed=seed)).content == (await plain.ainvoke("hi", seed=seed)).content


@pytest.mark.llama
async def test_the_support_desk_answers_the_same_with_guesses_and_in_fewer_steps(tiny_path: Path) -> None:
    from chainops.engines.llama import ChatLlama
    from chainops.engines.llama.request import Ask

    plain = ChatLlama(model_path=tiny_path, probe=False)
    model = ChatLlama(model_path=tiny_path, probe=False, n_draft=8)
    samples = [json.loads(line) for line in tiny_path.with_name("heldout.jsonl").read_text().splitlines()]

    async def text(by: Any, ask: Ask) -> str:
        return "".join([event async for event in by.session.stream(ask) if isinstance(event, str)])

    for sample in samples[:40]:
        tools = sample["tools"]
        ask = Ask(messages=sample["messages"], tools=tools, max_tokens=48, forced="any" if tools else "")
        assert await text(model, ask) == await text(plain, ask)
    assert model.session.stats.generated_tokens == plain.session.stats.generated_tokens
    assert model.session.stats.steps < plain.session.stats.steps
    plain.close()
    model.close()


@pytest.mark.llama
@pytest.mark.parametrize("layout", ["unified", "partitioned"])
async def test_a_draft_model_guesses_and_the_answers_stay_the_same(
    chain: Chain, chain_path: Callable[..., Path], layout: str
) -> None:
    right = chain_path(HELLO, loop=True)
    wrong = chain_path(HELLO, loop=False)  # ends where the other goes on
    rates = []
    for draft in (right, wrong):
        model = chain(HELLO, loop=True, max_tokens=5, n_draft=4, draft_model=draft, kv_layout=layout)
        texts = await asyncio.gather(*(model.ainvoke(f"question {number}") for number in range(3)))
        assert {answer.content for answer in texts} == {"Hello world!"}
        again = await model.ainvoke("another question", max_tokens=60)
        assert again.content == "Hello world!" * 12
        stats = model.session.stats
        rates.append(stats.accepted_tokens / max(stats.drafted_tokens, 1))
        residents = model.session._worker._residents
        assert residents.cells.free == residents.cells.count
        model.close()
    assert rates[0] > 0.9


@pytest.mark.llama
async def test_a_draft_model_of_another_family_is_refused(chain: Chain, tiny_path: Path) -> None:
    from chainops.errors import SetupError

    with pytest.raises(SetupError, match="vocabularies differ") as caught:
        await chain(HELLO, n_draft=4, draft_model=tiny_path).ainvoke("hi")
    assert caught.value.code == "setup.draft_model"
    with pytest.raises(SetupError, match="n_draft allows no guesses"):
        chain(HELLO, draft_model=tiny_path)


@pytest.mark.llama
async def test_the_support_desk_guesses_for_itself(tiny_path: Path) -> None:
    from chainops.engines.llama import ChatLlama

    plain = ChatLlama(model_path=tiny_path, probe=False)
    model = ChatLlama(model_path=tiny_path, probe=False, n_draft=6, draft_model=tiny_path)
    questions = ["How much is shipping?", "When are you open?", "Where is order 67-26?", "Hello", "My name is Ada."]
    wanted = [(await plain.ainvoke(question)).content for question in questions]
    assert [(await model.ainvoke(question)).content for question in questions] == wanted
    together = await asyncio.gather(*(model.ainvoke(question) for question in questions))
    assert [answer.content for answer in together] == wanted
    assert model.session.stats.steps < 0.7 * plain.session.stats.steps * 2
    plain.close()
    model.close()
