"""Prefixes stay where they are pinned, and come back from a file that the same model wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chainops.errors import CallError, SetupError

pytestmark = pytest.mark.llama
Chain = Callable[..., Any]

HELLO = [b"Hel", b"lo ", b"wor", b"ld", b"!"]
SYSTEM = [("system", "s" * 200)]


def cached(model: Any, *messages: Any, **options: Any) -> int:
    return int(model.invoke([*messages], **options).usage_metadata["input_token_details"]["cache_read"])


@pytest.mark.parametrize("layout", ["unified", "partitioned"])
def test_a_pinned_prefix_stays_and_others_come_and_go(chain: Chain, layout: str) -> None:
    model = chain(HELLO, n_kept=400, kv_layout=layout)
    size = model.pin(SYSTEM)
    assert size > 200
    for number in range(6):
        cached(model, ("user", f"{number}" * 100))
    assert cached(model, *SYSTEM, ("user", "question")) >= size
    assert model.session.stats.generated_tokens == 7 * len(HELLO)


def test_pinning_twice_keeps_it_once_and_what_was_unpinned_goes(chain: Chain) -> None:
    model = chain(HELLO, n_kept=400, n_parallel=1)
    assert model.pin(SYSTEM) == model.pin(SYSTEM)
    model.unpin()
    for number in range(6):
        cached(model, ("user", f"{number}" * 100))
    assert cached(model, *SYSTEM, ("user", "question")) < 50


async def test_what_does_not_fit_is_not_pinned(chain: Chain) -> None:
    from chainops.engines.llama import CannotPin

    model = chain(HELLO, n_kept=300)
    await model.apin(SYSTEM)
    with pytest.raises(CannotPin, match="cannot be pinned") as caught:
        await model.apin([("system", "t" * 200)])
    assert isinstance(caught.value, CallError)
    assert caught.value.code == "call.pin"


def test_tools_are_part_of_what_is_pinned(chain: Chain) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    template = "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}"
    template += "{% for m in messages %}{{ m.content }}|{% endfor %}{{ '\\n' }}"
    model = chain(HELLO, chat_template=template)
    assert model.pin(SYSTEM, tools=[tool]) > model.pin(SYSTEM) > 200


@pytest.mark.parametrize("layout", ["unified", "partitioned"])
def test_a_file_of_prefixes_warms_another_process(chain: Chain, tmp_path: Path, layout: Any) -> None:
    path = tmp_path / "prefixes"
    first = chain(HELLO, kv_layout=layout)
    size = first.pin(SYSTEM)
    cached(first, ("user", "y" * 300))
    assert first.save_prefixes(path) == 2
    first.close()
    second = type(first)(model_path=first.model_path, probe=False, kv_layout=layout)
    assert second.load_prefixes(path) == 2
    assert second.load_prefixes(path) == 0
    assert cached(second, *SYSTEM, ("user", "q")) >= size
    assert cached(second, ("user", "y" * 300)) > 300
    assert second.session._worker.kept.pinned[0].tokens.size == size
    second.close()
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_file_and_one_of_another_model_or_option_are_refused(chain: Chain, tmp_path: Path) -> None:
    path = tmp_path / "prefixes"
    model = chain(HELLO)
    model.pin(SYSTEM)
    model.save_prefixes(path, pinned_only=True)
    whole = path.read_bytes()

    def refused(by: Any, why: str) -> None:
        with pytest.raises(SetupError, match=why) as caught:
            by.load_prefixes(path)
        assert caught.value.code == "setup.prefixes"

    refused(chain([b"an", b"other"]), "model_sha256 was")
    refused(chain(HELLO, flash_attn=True), "flash_attn was False")
    refused(chain(HELLO, kv_layout="unified"), "unified was False")
    for place in range(0, len(whole), len(whole) // 23):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        refused(model, "damaged|no file of prefixes")
        path.write_bytes(whole[:place])
        refused(model, "damaged|no file of prefixes")
    path.unlink()
    refused(model, "cannot be read")
    path.write_bytes(whole)
    model.unpin()
    assert model.load_prefixes(path) == 0


async def test_an_answer_after_a_prefix_from_a_file_is_the_same(tiny_path: Path, tmp_path: Path) -> None:
    from chainops.engines.llama import ChatLlama

    first = ChatLlama(model_path=tiny_path, probe=False)
    questions = ["How much is shipping?", "When are you open?"]
    wanted = [(await first.ainvoke(question)).content for question in questions]
    await first.asave_prefixes(tmp_path / "p")
    await first.aclose()
    second = ChatLlama(model_path=tiny_path, probe=False)
    assert await second.aload_prefixes(tmp_path / "p") > 0
    answers = await asyncio.gather(*(second.ainvoke(question) for question in questions))
    assert [answer.content for answer in answers] == wanted
    assert all(answer.usage_metadata["input_token_details"]["cache_read"] > 4 for answer in answers)
    await second.aclose()


@pytest.mark.parametrize("layout", ["unified", "partitioned"])
@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0"])
async def test_smaller_caches_answer_and_share_as_well(chain: Chain, kv_type: str, layout: str) -> None:
    model = chain(HELLO, kv_type=kv_type, flash_attn=True, kv_layout=layout)
    prefix = "y" * 200
    answers = await asyncio.gather(*(model.ainvoke(f"{prefix}{number}") for number in range(4)))
    assert {answer.content for answer in answers} == {"Hello world!"}
    assert cached(model, ("user", prefix)) > 200


def test_a_smaller_cache_without_flash_attention_is_refused(chain: Chain) -> None:
    with pytest.raises(SetupError, match="needs flash attention") as caught:
        chain(HELLO, kv_type="q8_0")
    assert caught.value.code == "setup.option"
