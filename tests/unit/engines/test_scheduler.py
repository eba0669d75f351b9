"""Many calls of one model run side by side, and none can tell."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chainops.engines.llama import QueueFull
from chainops.engines.llama.native import NO_ROOM
from chainops.errors import CallError, SetupError

pytestmark = pytest.mark.llama
Chain = Callable[..., Any]
Eventually = Callable[[Callable[[], bool]], None]

HELLO = [b"Hel", b"lo ", b"wor", b"ld", b"!"]
ENDLESS: dict[str, Any] = {"loop": True, "context": 8192, "n_ctx": 8192, "max_tokens": None}


@pytest.fixture(params=["unified", "partitioned"])
def chain(chain: Chain, request: pytest.FixtureRequest) -> Chain:
    """The chain models, with cells for all and with cells for each."""

    def make(pieces: Any, **options: Any) -> Any:
        return chain(pieces, **({} if "n_cells" in options else {"kv_layout": request.param}), **options)

    return make


def worker_of(model: Any) -> Any:
    model.session.token_ids("loaded")
    return model.session._worker


def check_books(model: Any) -> None:
    """With nothing running, every cell and every sequence is free, in the plan and in llama.cpp."""
    residents = worker_of(model)._residents
    native = residents._native
    assert not residents.running
    residents.settle()
    assert residents.cells.free == residents.cells.count == len(set(residents.cells.take(residents.cells.count)))
    residents.cells.release(np.arange(residents.cells.count))
    assert sorted(residents.free_ids) == list(range(native.options.n_parallel))
    positions = [native.lib.llama_memory_seq_pos_max(native._memory, number) for number in residents.free_ids]
    assert set(positions) == {-1}
    kept = residents.kept
    assert kept.size == sum(len(one.tokens) for one in kept._used) <= native.options.n_kept
    assert len(kept._tree) == len(kept)
    assert len(residents._prompts) == 0


async def test_streams_run_side_by_side(chain: Chain) -> None:
    model = chain(HELLO, **ENDLESS, n_parallel=3)
    streams = [model.astream(f"question {number}") for number in range(3)]
    for _ in range(20):
        assert len({(await anext(stream)).content for stream in streams}) == 1
    assert model.session.stats.most_running == 3
    for stream in streams:
        await stream.aclose()


async def test_a_short_call_does_not_wait_for_a_long_one(chain: Chain) -> None:
    model = chain(HELLO, **ENDLESS)
    running = model.astream("hi")
    await anext(running)
    assert (await model.ainvoke("hi", max_tokens=5)).content == "Hello world!"
    await running.aclose()


async def test_a_long_prompt_does_not_stop_running_streams(chain: Chain) -> None:
    model = chain(HELLO, **ENDLESS, n_batch=16)
    running = model.astream("hi")
    await anext(running)
    task = asyncio.create_task(model.ainvoke("x" * 1600, max_tokens=1))
    before = model.session.stats.generated_tokens
    await task
    assert model.session.stats.generated_tokens - before > 90  # one for each of the 100 steps that the prompt takes
    await running.aclose()


async def test_cancelling_one_of_many_disturbs_no_other(chain: Chain, eventually: Eventually) -> None:
    model = chain(HELLO, loop=True, max_tokens=400)
    tasks = [asyncio.create_task(model.ainvoke(f"question {number}")) for number in range(8)]
    await asyncio.to_thread(eventually, lambda: model.session.stats.running == 8)
    for task in tasks[::2]:
        task.cancel()
    answers = await asyncio.gather(*tasks[1::2])
    assert {answer.content for answer in answers} == {"Hello world!" * 80}
    await asyncio.to_thread(eventually, lambda: model.session.stats.cancelled == 4)
    check_books(model)


async def test_of_those_that_wait_the_highest_priority_is_next_and_equals_keep_their_order(
    chain: Chain,
) -> None:
    model = chain(HELLO, **ENDLESS, n_parallel=1)
    running = model.astream("hi")
    await anext(running)
    order: list[str] = []

    async def ask(name: str, priority: int) -> None:
        await model.ainvoke(name, max_tokens=5, priority=priority)
        order.append(name)

    tasks = []
    for name, priority in (("a", 0), ("b", 0), ("low", -1), ("high", 5), ("c", 0)):
        tasks.append(asyncio.create_task(ask(name, priority)))
        await asyncio.sleep(0)
    while model.session.waiting < 5:
        await asyncio.sleep(0)
    await running.aclose()
    await asyncio.gather(*tasks)
    assert order == ["high", "a", "b", "c", "low"]


async def test_a_full_queue_refuses_the_next_call_and_takes_others_later(chain: Chain) -> None:
    model = chain(HELLO, **ENDLESS, n_parallel=1, max_waiting=2)
    running = model.astream("hi")
    await anext(running)
    waiting = [asyncio.create_task(model.ainvoke("waits", max_tokens=5)) for _ in range(2)]
    while model.session.waiting < 2:
        await asyncio.sleep(0)
    with pytest.raises(QueueFull, match="2 calls wait") as caught:
        await model.ainvoke("too many")
    assert caught.value.retryable
    assert caught.value.code == "call.queue_full"
    await running.aclose()
    assert [answer.content for answer in await asyncio.gather(*waiting)] == ["Hello world!"] * 2
    assert (await model.ainvoke("hi", max_tokens=5)).content == "Hello world!"


async def test_calls_that_do_not_fit_together_wait_for_each_other(chain: Chain) -> None:
    model = chain(HELLO, loop=True, n_ctx=256, n_cells=256, n_parallel=8, max_tokens=60)
    answers = await asyncio.gather(*(model.ainvoke(f"{number} is my question") for number in range(8)))
    assert {answer.content for answer in answers} == {"Hello world!" * 12}
    assert 1 < model.session.stats.most_running < 4  # each takes 57 tokens of prompt, some of them shared, and 59 more
    check_books(model)


def test_a_budget_below_one_call_is_refused(chain: Chain) -> None:
    with pytest.raises(SetupError, match="n_cells=64 is less than the 256") as caught:
        chain(HELLO, n_ctx=256, n_cells=64).invoke("hi")
    assert caught.value.code == "setup.option"


async def test_a_common_prefix_is_computed_once_by_calls_that_come_together(chain: Chain) -> None:
    model = chain(HELLO, n_batch=64)
    prefix = "y" * 900
    answers = await asyncio.gather(*(model.ainvoke(f"{prefix}{number}") for number in range(8)))
    assert {answer.content for answer in answers} == {"Hello world!"}
    cached = sorted(answer.usage_metadata["input_token_details"]["cache_read"] for answer in answers)
    assert cached[0] == 0
    assert all(count > 900 for count in cached[1:])
    check_books(model)


async def test_when_the_call_that_computes_the_common_prefix_is_cancelled_another_goes_on(
    chain: Chain, eventually: Eventually
) -> None:
    model = chain(HELLO, context=8192, n_ctx=4096, n_batch=8)
    prefix = "y" * 2000
    worker = worker_of(model)
    tasks = [asyncio.create_task(model.ainvoke(f"{prefix[: 2000 - 100 * number]}{number}")) for number in range(4)]
    await asyncio.to_thread(eventually, lambda: sum(s.leader is not None for s in list(worker._running)) == 3)
    tasks[0].cancel()
    await asyncio.to_thread(eventually, lambda: model.session.stats.cancelled == 1)
    answers = await asyncio.gather(*tasks[1:])
    assert {answer.content for answer in answers} == {"Hello world!"}
    stats = model.session.stats
    assert stats.cached_tokens > stats.prompt_tokens / 2
    check_books(model)


async def test_finished_calls_are_kept_within_their_budget_the_least_used_go_first(chain: Chain) -> None:
    model = chain(HELLO, n_kept=300, n_parallel=1)

    async def cached(text: str) -> int:
        return int((await model.ainvoke(text)).usage_metadata["input_token_details"]["cache_read"])

    first, second, third = ("a" * 100, "b" * 100, "c" * 100)
    assert await cached(first) < 20
    assert await cached(second) < 20  # what the template begins with
    assert await cached(first) > 100
    assert await cached(third) < 20  # the second had to go
    assert await cached(first) > 100
    assert await cached(second) < 20
    check_books(model)


async def test_a_conversation_goes_on_where_it_was_though_others_came_between(chain: Chain) -> None:
    model = chain(HELLO, n_parallel=2)
    start: Any = [("user", "s" * 100), ("ai", "Hello world!"), ("user", "next")]
    await model.ainvoke(start[:1])
    await asyncio.gather(*(model.ainvoke(f"{number}" * 50) for number in range(6)))
    usage = (await model.ainvoke(start)).usage_metadata
    assert usage["input_token_details"]["cache_read"] > 110


async def test_a_failing_decode_fails_its_calls_and_the_model_goes_on(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = chain(HELLO, loop=True, max_tokens=200)
    native = worker_of(model)._native

    def fail() -> int:
        monkeypatch.undo()
        native.batch.add([1 << 30], 0, 0, last=False)  # no such token: llama.cpp refuses the batch
        return native.decode()

    monkeypatch.setattr(native, "decode", fail)
    failed = await asyncio.gather(*(model.ainvoke(f"q{number}") for number in range(3)), return_exceptions=True)
    assert any(isinstance(error, CallError) and error.code == "call.decode" for error in failed)
    assert (await model.ainvoke("hi", max_tokens=5)).content == "Hello world!"
    check_books(model)


async def test_a_full_cache_costs_the_youngest_call_only(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    model = chain(HELLO, loop=True, max_tokens=500)
    native = worker_of(model)._native
    old = [asyncio.create_task(model.ainvoke(f"old {number}")) for number in range(2)]
    await asyncio.to_thread(eventually, lambda: model.session.stats.generated_tokens > 4)
    young = asyncio.create_task(model.ainvoke("young"))
    await asyncio.to_thread(eventually, lambda: model.session.stats.running == 3)

    def full() -> int:
        monkeypatch.undo()
        return NO_ROOM

    monkeypatch.setattr(native, "decode", full)
    with pytest.raises(CallError, match="cache is full"):
        await young
    assert {answer.content for answer in await asyncio.gather(*old)} == {"Hello world!" * 100}
    check_books(model)


async def test_one_sampler_that_fails_fails_one_call(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    from chainops.engines.llama.sampling import Sampler

    model = chain(HELLO, loop=True, max_tokens=60)

    def broken(self: Any, row: int) -> int:
        raise RuntimeError("broken")

    monkeypatch.setattr(Sampler, "next", broken)
    greedy = [model.ainvoke(f"q{number}") for number in range(3)]
    warm = model.ainvoke("w", temperature=1.0, top_k=1)
    done = await asyncio.gather(*greedy, warm, return_exceptions=True)
    assert "broken" in str(done[3])
    monkeypatch.undo()
    assert (await model.ainvoke("hi", max_tokens=5)).content == "Hello world!"
    check_books(model)


async def test_greedy_and_sampled_calls_run_in_one_batch(chain: Chain) -> None:
    model = chain(HELLO, loop=True, max_tokens=20)
    calls = [
        model.ainvoke(f"q{number}", temperature=number % 2 * 1.0, top_k=1 + 39 * (number % 2), min_p=0.9)
        for number in range(8)
    ]
    assert {answer.content for answer in await asyncio.gather(*calls)} == {"Hello world!" * 4}


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_comes_goes_and_is_given_up_the_books_stay_right(chain: Chain, seed: int) -> None:
    rng = random.Random(seed)
    model = chain(HELLO, loop=True, n_ctx=256, n_cells=rng.choice([256, 700, 2048]), n_parallel=6, n_batch=32)
    worker_of(model)
    prefixes = ["y" * rng.randrange(0, 150) for _ in range(3)]

    async def call(number: int) -> None:
        text = rng.choice(prefixes) + "z" * rng.randrange(0, 20) + str(number)
        size = rng.randrange(1, 60)
        task = asyncio.create_task(model.ainvoke(text[:170], max_tokens=size))
        for _ in range(rng.randrange(0, 60)):
            await asyncio.sleep(0)
        if rng.random() < 0.3:
            task.cancel()
        try:
            answer = await task
        except asyncio.CancelledError:
            return
        assert ("Hello world!" * 20).startswith(answer.content)
        assert answer.usage_metadata["output_tokens"] == size

    await asyncio.gather(*(call(number) for number in range(60)))
    while model.session.stats.running or model.session.waiting:
        await asyncio.sleep(0.001)
    check_books(model)
