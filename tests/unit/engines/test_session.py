"""A loaded model answers requests from anywhere, and stops when nobody listens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from chainops.errors import CallError, MissingExtra, SetupError

pytestmark = pytest.mark.llama
Chain = Callable[..., Any]
Eventually = Callable[[Callable[[], bool]], None]

HELLO = [b"Hel", b"lo ", b"wor", b"ld", b"!"]
LONG = 60_000
ENDLESS: dict[str, Any] = {"loop": True, "context": LONG, "n_ctx": LONG, "max_tokens": None}


async def test_the_chunks_of_a_stream_are_the_answer(chain: Chain) -> None:
    model = chain(HELLO)
    chunks = [chunk async for chunk in model.astream("hi")]
    assert [chunk.content for chunk in chunks] == ["Hel", "lo ", "wor", "ld", "!", ""]
    assert (await model.ainvoke("hi")).content == "Hello world!"
    assert model.invoke("hi").content == "Hello world!"
    assert "".join(chunk.content for chunk in model.stream("hi")) == "Hello world!"


async def test_characters_spread_over_tokens_arrive_whole(chain: Chain) -> None:
    model = chain([b"caf", b"\xc3", b"\xa9 ", b"\xf0\x9f", b"\x98", b"\x80"])
    chunks = [chunk.content async for chunk in model.astream("hi")]
    assert chunks == ["caf", "é ", "😀", ""]
    assert model.invoke("hi").content == "café 😀"


async def test_a_character_cut_off_at_the_end_is_marked_not_lost(chain: Chain) -> None:
    assert chain([b"caf", b"\xc3"]).invoke("hi").content == "caf\ufffd"


@pytest.mark.parametrize("stop", ["o wor", "world", "!", "ld!", "lo w"])
async def test_a_stop_string_ends_the_answer_before_it_and_no_part_of_it_leaves(chain: Chain, stop: str) -> None:
    model = chain(HELLO)
    wanted = "Hello world!".split(stop)[0]
    seen = "".join([chunk.content async for chunk in model.astream("hi", stop=[stop, "zzz"])])
    answer = model.invoke("hi", stop=[stop])
    assert seen == answer.content == wanted
    assert answer.response_metadata["finish_reason"] == "stop"


async def test_text_that_only_begins_like_a_stop_string_is_delivered(chain: Chain) -> None:
    assert chain(HELLO, stop=["d!!", "low"]).invoke("hi").content == "Hello world!"


async def test_max_tokens_ends_the_answer_with_reason_length(chain: Chain) -> None:
    answer = chain(HELLO).invoke("hi", max_tokens=2)
    assert (answer.content, answer.response_metadata["finish_reason"]) == ("Hello ", "length")
    assert answer.usage_metadata["output_tokens"] == 2


async def test_usage_adds_up_and_the_second_call_reuses_the_prompt(chain: Chain) -> None:
    model = chain(HELLO)
    first, second = model.invoke("hi").usage_metadata, model.invoke("hi").usage_metadata
    assert first["output_tokens"] == len(HELLO)
    assert first["total_tokens"] == first["input_tokens"] + first["output_tokens"]
    assert first["input_token_details"] == {"cache_read": 0}
    assert second["input_token_details"] == {"cache_read": first["input_tokens"] - 1}
    stats = model.session.stats
    assert (stats.requests, stats.prompt_tokens) == (2, 2 * first["input_tokens"])


async def test_timings_are_measured_for_every_call(chain: Chain) -> None:
    meta = (await chain(HELLO).ainvoke("hi")).response_metadata
    timings = meta["timings"]
    assert set(timings) == {"queue_ms", "prefill_ms", "ttft_ms", "decode_ms", "tokens_per_second"}
    assert timings["ttft_ms"] >= timings["prefill_ms"] > 0
    assert timings["tokens_per_second"] == pytest.approx(len(HELLO) / timings["decode_ms"] * 1000, rel=0.01)


async def test_a_prompt_that_does_not_fit_is_refused_before_generating(chain: Chain) -> None:
    from langchain_core.exceptions import ContextOverflowError

    from chainops.engines.llama import ContextOverflow

    model = chain(HELLO, n_ctx=64)
    with pytest.raises(ContextOverflow, match=r"The prompt has \d+ tokens, the context holds 64") as caught:
        await model.ainvoke("x " * 200)
    assert isinstance(caught.value, ContextOverflowError)
    assert caught.value.prompt_tokens > caught.value.limit == 64
    assert model.session.stats.generated_tokens == 0
    assert model.invoke("hi").content == "Hello world!"


async def test_the_context_ends_an_answer_with_reason_length(chain: Chain) -> None:
    answer = chain(HELLO, loop=True, n_ctx=64, max_tokens=None).invoke("hi")
    assert answer.response_metadata["finish_reason"] == "length"
    assert answer.usage_metadata["total_tokens"] == 65  # the last token is generated, but never fed back


async def test_closing_an_async_stream_stops_the_model(chain: Chain, eventually: Eventually) -> None:
    model = chain(HELLO, **ENDLESS)
    stream = model.astream("hi")
    for _ in range(3):
        await anext(stream)
    await stream.aclose()
    stats = model.session.stats
    await asyncio.to_thread(eventually, lambda: stats.cancelled == 1)
    stopped_at = stats.generated_tokens
    assert 3 <= stopped_at < LONG // 2
    assert (await model.ainvoke("hi", max_tokens=5)).content == "Hello world!"
    assert stats.generated_tokens == stopped_at + 5


async def test_cancelling_the_task_stops_the_model(chain: Chain, eventually: Eventually) -> None:
    model = chain(HELLO, **ENDLESS)
    task = asyncio.create_task(model.ainvoke("hi"))
    stats = model.session.stats
    await asyncio.to_thread(eventually, lambda: stats.generated_tokens > 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(eventually, lambda: stats.cancelled == 1)
    assert stats.generated_tokens < LONG // 2


def test_closing_a_sync_stream_stops_the_model(chain: Chain, eventually: Eventually) -> None:
    model = chain(HELLO, **ENDLESS)
    stream = model.stream("hi")
    assert next(stream).content == "Hel"
    stream.close()
    eventually(lambda: model.session.stats.cancelled == 1)
    assert model.session.stats.generated_tokens < LONG // 2


async def test_a_call_cancelled_while_it_waits_never_runs(chain: Chain, eventually: Eventually) -> None:
    model = chain(HELLO, **ENDLESS, n_parallel=1)
    running = model.astream("hi")
    await anext(running)
    waiting = asyncio.create_task(model.ainvoke("this one waits"))
    while not model.session.waiting:
        await asyncio.sleep(0)
    before = model.session.stats.prompt_tokens
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await running.aclose()
    await asyncio.to_thread(eventually, lambda: model.session.stats.cancelled == 2)
    assert model.session.stats.prompt_tokens == before


async def test_a_long_prompt_is_given_up_between_two_steps(chain: Chain, eventually: Eventually) -> None:
    model = chain(HELLO, **ENDLESS, n_batch=8)
    stats = model.session.stats
    task = asyncio.create_task(model.ainvoke("x" * 50_000))
    await asyncio.to_thread(eventually, lambda: stats.requests == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(eventually, lambda: stats.cancelled == 1)
    assert stats.prompt_tokens == 0  # counted when a prompt is complete
    assert (await model.ainvoke("hi", max_tokens=5)).content == "Hello world!"


async def test_eight_calls_at_once_answer_like_one_alone(chain: Chain) -> None:
    model = chain(HELLO)
    answers = await asyncio.gather(*(model.ainvoke(f"question {number}") for number in range(8)))
    assert {answer.content for answer in answers} == {"Hello world!"}


async def test_the_event_loop_runs_while_the_model_loads_and_generates(chain: Chain) -> None:
    model = chain(HELLO, **ENDLESS)
    task = asyncio.create_task(model.ainvoke("hi", max_tokens=3000))
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    assert (await task).usage_metadata["output_tokens"] == 3000
    assert turns > 100


async def test_a_sync_stream_works_inside_a_running_loop(chain: Chain) -> None:
    assert "".join(chunk.content for chunk in chain(HELLO).stream("hi")) == "Hello world!"


def test_two_event_loops_share_one_model(chain: Chain) -> None:
    model = chain(HELLO)
    answers: list[str] = []

    async def ask() -> None:
        answers.extend(a.content for a in await asyncio.gather(*(model.ainvoke(f"q{n}") for n in range(4))))

    threads = [threading.Thread(target=asyncio.run, args=(ask(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert answers == ["Hello world!"] * 8


def test_a_loop_that_ends_in_the_middle_of_a_stream_does_not_block_the_next_call(
    chain: Chain, eventually: Eventually
) -> None:
    model = chain(HELLO, **ENDLESS)

    async def begin() -> Any:
        stream = model.session.stream(_ask(model))
        await anext(stream)
        return stream

    loop = asyncio.new_event_loop()
    stream = loop.run_until_complete(begin())
    loop.close()
    eventually(lambda: model.session.stats.cancelled == 1)
    assert model.invoke("hi", max_tokens=5).content == "Hello world!"
    del stream


def _ask(model: Any) -> Any:
    from chainops.engines.llama.request import Ask

    return Ask(messages=[{"role": "user", "content": "hi"}])


async def test_the_same_seed_gives_the_same_text(chain: Chain) -> None:
    model = chain(HELLO, temperature=20.0, top_k=0, top_p=1.0, max_tokens=12)
    texts = [model.invoke("hi", seed=seed).content for seed in (1, 1, 2, 3)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3
    assert model.invoke("hi").content != model.invoke("hi").content


async def test_sampling_options_reach_the_model(chain: Chain) -> None:
    model = chain(HELLO, temperature=20.0, max_tokens=5, seed=4)
    assert model.invoke("hi", top_k=1).content == "Hello world!"
    assert model.invoke("hi", top_p=0.0001).content == "Hello world!"
    assert model.invoke("hi", min_p=0.9).content == "Hello world!"
    assert model.invoke("hi", top_k=0, top_p=1.0).content != "Hello world!"
    endless = chain([b"ab", b"cd"], loop=True, max_tokens=8, temperature=1.0, top_k=0, top_p=1.0, seed=4)
    assert endless.invoke("hi").content == "abcdabcd" * 2
    assert endless.invoke("hi", repeat_penalty=10.0).content != "abcdabcd" * 2


async def test_penalties_and_biases_change_the_likeliest_token(chain: Chain) -> None:
    from chainops.engines.llama.request import Ask
    from chainops.engines.llama.sampling import Sampling

    model = chain([b"ab", b"cd"], loop=True, max_tokens=8)
    assert model.invoke("hi").content == "abcdabcd" * 2
    endless = "abcd" * 100
    assert model.invoke("hi", max_tokens=200).content == endless
    assert model.invoke("hi", frequency_penalty=2.0, max_tokens=200).content not in endless
    asked = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
    strong = Ask(**asked, sampling=Sampling(presence_penalty=500.0))
    assert "".join(e for e in model.session.stream_sync(strong) if isinstance(e, str)) not in endless
    [star] = model.get_token_ids("*")
    assert model.invoke("hi", logit_bias={star: 100}, max_tokens=3).content == "***"
    assert model.invoke("hi", logit_bias={str(star): -100}).content == "abcdabcd" * 2
    assert "*" in model.invoke("hi", logit_bias={star: 100}, max_tokens=3, temperature=1.0, seed=1).content
    with pytest.raises(CallError, match="names token 99999") as caught:
        await model.ainvoke("hi", logit_bias={99999: 1})
    assert caught.value.code == "call.option"
    assert model.invoke("hi").content == "abcdabcd" * 2


async def test_a_timeout_ends_the_call_and_the_model_goes_on(chain: Chain) -> None:
    from chainops.engines.llama import ModelTimeout

    model = chain(HELLO, **ENDLESS)
    model.invoke("hi", max_tokens=1)
    with pytest.raises(ModelTimeout, match=r"within 0.05 seconds") as caught:
        await model.ainvoke("hi", timeout=0.05)
    assert caught.value.retryable
    assert model.invoke("hi", max_tokens=5).content == "Hello world!"


async def test_a_timeout_counts_the_time_of_waiting_for_others(chain: Chain) -> None:
    from chainops.engines.llama import ModelTimeout

    model = chain(HELLO, **ENDLESS, n_parallel=1)
    running = model.astream("hi")
    await anext(running)
    with pytest.raises(ModelTimeout):
        await model.ainvoke("waits", timeout=0.02)
    with pytest.raises(ModelTimeout):
        list(model.stream("waits", timeout=0.02))
    assert (await anext(running)).content  # the call before it is still running
    await running.aclose()


@pytest.mark.parametrize("layers", [1, -1])
def test_a_build_without_a_gpu_computes_on_the_processor_and_says_so_once(
    chain: Chain, caplog: pytest.LogCaptureFixture, layers: int
) -> None:
    from chainops.engines.llama import gpu
    from chainops.engines.llama.library import library

    if library().llama_supports_gpu_offload():
        pytest.skip("this build of llama-cpp-python has GPU support")
    gpu.warn_once.cache_clear()
    model = chain(HELLO, n_gpu_layers=layers)
    assert model.invoke("hi").content == "Hello world!"
    model.session.unload().result(10)
    assert model.invoke("hi").content == "Hello world!"
    said = [record.getMessage() for record in caplog.records if "runs on the processor" in record.getMessage()]
    assert len(said) == 1
    assert "has no GPU support" in said[0]
    caplog.clear()
    assert chain(HELLO).invoke("hi").content == "Hello world!"
    assert not [record for record in caplog.records if "runs on the processor" in record.getMessage()]


@pytest.mark.parametrize(
    ("wanted", "can", "free", "fitting", "layers", "problem"),
    [
        ("auto", False, None, 0, 0, ""),
        ("auto", True, None, 0, 0, "no device"),
        ("auto", True, 1000, 0, 0, "no layer fits"),
        ("auto", True, 1000, 7, 7, ""),
        ("auto", True, 1000, -1, -1, ""),
        (5, False, None, 0, 0, "no GPU support"),
        (5, True, None, 0, 0, "no device"),
        (5, True, 1000, 0, 5, ""),
        (-1, True, 1000, 0, -1, ""),
        (0, True, 1000, 0, 0, ""),
    ],
)
def test_layers_go_to_the_gpu_as_wanted_and_as_they_fit(
    wanted: Any, can: bool, free: int | None, fitting: int, layers: int, problem: str
) -> None:
    from chainops.engines.llama.gpu import choose_layers

    chosen, said = choose_layers(wanted, can=can, free=free, fitting=fitting)
    assert chosen == layers
    assert problem in said
    assert bool(problem) == bool(said)


def test_a_context_that_cannot_fit_is_refused_before_it_is_allocated(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chainops.engines.llama import room

    monkeypatch.setattr(room, "available_memory", lambda: 8_000_000_000)
    with pytest.raises(SetupError, match="needs about") as caught:
        chain(HELLO, n_ctx=1_000_000_000).invoke("hi")
    assert caught.value.code == "setup.model_memory"


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from chainops.engines.llama import library as module

    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(MissingExtra, match="llama-cpp-python") as caught:
        module.library.__wrapped__()
    assert "chainops[llama]" in caught.value.hint


async def test_a_failure_inside_the_worker_is_told_and_does_not_end_it(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chainops.engines.llama import worker

    model = chain(HELLO)
    model.invoke("hi")
    with monkeypatch.context() as patch:
        patch.setattr(worker, "sampler_for", None)
        with pytest.raises(CallError, match="TypeError"):
            await model.ainvoke("hi")
    assert model.invoke("hi").content == "Hello world!"
