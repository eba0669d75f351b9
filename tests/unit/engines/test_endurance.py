"""What comes and goes leaves nothing behind: cancelled calls, idle models, models that are replaced."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.llama
Chain = Callable[..., Any]
Eventually = Callable[[Callable[[], bool]], None]

HELLO = [b"Hel", b"lo ", b"wor", b"ld", b"!"]


def resident_kb() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    pytest.skip("this system does not tell how much memory a process has")


async def cancel_many(model: Any, count: int) -> None:
    """Calls with and without grammar, cancelled while they wait, begin or generate."""
    stats = model.session.stats
    schema = {"type": "json_schema", "json_schema": {"schema": {"type": "object", "properties": {}}}}
    for group in range(0, count, 20):
        before = stats.cancelled
        options = [{}, {"temperature": 1.0}, {"response_format": schema}]
        tasks = [
            asyncio.create_task(model.ainvoke(f"{group} {number}" * 9, **options[number % 3])) for number in range(20)
        ]
        for _ in range(group % 7):
            await asyncio.sleep(0.0005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while stats.cancelled + stats.failed < before + 20 and (stats.running or model.session.waiting):
            await asyncio.sleep(0.0005)


async def test_a_thousand_cancelled_calls_leave_no_memory_and_no_cell_taken(chain: Chain) -> None:
    model = chain(HELLO, loop=True, max_tokens=None, n_ctx=512, n_kept=2000)
    await cancel_many(model, 400)
    gc.collect()
    before = resident_kb()
    await cancel_many(model, 1000)
    gc.collect()
    assert resident_kb() - before < 8000
    residents = model.session._worker._residents
    residents.settle()
    assert residents.cells.free == residents.cells.count
    assert len(residents.free_ids) == 8
    assert residents.kept.size <= 2000
    assert (await model.ainvoke("hi", max_tokens=5)).content == "Hello world!"


async def test_an_idle_model_is_unloaded_and_comes_back_with_what_was_pinned(
    chain: Chain, eventually: Eventually
) -> None:
    model = chain(HELLO, idle_seconds=0.05)
    session = model.session
    size = await model.apin([("system", "s" * 100)])
    await asyncio.to_thread(eventually, lambda: session._loaded is None)
    assert session.stats.loads == 1
    answer = await model.ainvoke([("system", "s" * 100), ("user", "q")])
    assert answer.content == "Hello world!"
    assert answer.usage_metadata["input_token_details"]["cache_read"] >= size
    assert session.stats.loads == 2
    await asyncio.to_thread(eventually, lambda: session._loaded is None)
    assert model.get_num_tokens("Hello") > 0
    assert session.stats.loads == 3
    assert model.session is session


async def test_unloading_gives_the_memory_back_every_time(chain: Chain) -> None:
    options: dict[str, Any] = {"context": 60_000, "n_ctx": 60_000, "kv_layout": "unified", "n_kept": 0}
    model = chain(HELLO, **options)
    session = model.session
    loaded, without = [], []
    for _ in range(6):
        assert (await model.ainvoke("hi")).content == "Hello world!"
        loaded.append(resident_kb())
        assert await asyncio.wrap_future(session.unload())
        gc.collect()
        without.append(resident_kb())
    assert session.stats.loads == 6
    assert min(loaded) - max(without) > 20_000  # its cache alone takes more
    assert without[-1] - without[1] < 16_000  # of four loads less than one takes; the process holds more than a GB


async def test_a_running_call_keeps_the_model_loaded(chain: Chain) -> None:
    model = chain(HELLO, loop=True, context=4096, n_ctx=4096, max_tokens=3000, idle_seconds=0.001)
    assert (await model.ainvoke("hi")).usage_metadata["output_tokens"] == 3000


async def test_closing_an_unloaded_model_is_clean(chain: Chain, eventually: Eventually) -> None:
    from chainops.engines.llama import ModelClosed

    model = chain(HELLO, idle_seconds=0.01)
    await model.ainvoke("hi")
    await asyncio.to_thread(eventually, lambda: model.session._loaded is None)
    await model.aclose()
    with pytest.raises(ModelClosed):
        await model.ainvoke("hi")


async def test_draining_answers_what_was_asked_and_refuses_what_comes(chain: Chain) -> None:
    from chainops.engines.llama import ModelClosed
    from chainops.engines.llama.request import Ask

    model = chain(HELLO, loop=True, max_tokens=400, n_parallel=2)
    session = model.session
    asked = [asyncio.create_task(model.ainvoke(f"q{number}")) for number in range(6)]
    while session.stats.requests < 2:
        await asyncio.sleep(0.001)
    closing = asyncio.create_task(asyncio.to_thread(session.close, drain=True))
    while session.usable:
        await asyncio.sleep(0.001)
    with pytest.raises(ModelClosed):
        await anext(session.stream(Ask(messages=[{"role": "user", "content": "late"}])))
    assert {answer.content for answer in await asyncio.gather(*asked)} == {"Hello world!" * 80}
    await closing


async def test_a_swapped_model_answers_later_calls_and_those_under_way_end_on_the_old_one(
    chain: Chain, chain_path: Callable[..., Path], eventually: Eventually
) -> None:
    from chainops.errors import SetupError

    model = chain(HELLO, loop=True, max_tokens=400)
    old = model.session
    under_way = [asyncio.create_task(model.ainvoke(f"q{number}")) for number in range(3)]
    while old.stats.requests < 3:
        await asyncio.sleep(0.001)
    with pytest.raises(SetupError):
        await model.aswap("no-such-file.gguf")
    assert model.session is old
    await model.aswap(chain_path([b"an", b"other"]))
    assert (await model.ainvoke("hi")).content == "another"
    assert {answer.content for answer in await asyncio.gather(*under_way)} == {"Hello world!" * 80}
    await asyncio.to_thread(old._thread.join, 10)
    assert old._loaded is None
    assert not old.usable


async def test_a_swap_leaves_the_old_model_to_others_who_use_it(chain: Chain, chain_path: Callable[..., Path]) -> None:
    model = chain(HELLO)
    other = model.model_copy()
    assert other.session is model.session
    await model.aswap(chain_path([b"an", b"other"]))
    assert (await other.ainvoke("hi")).content == "Hello world!"
    assert (await model.ainvoke("hi")).content == "another"
    other.close()


@pytest.fixture
def budget() -> Iterator[Callable[[int | None], None]]:
    from chainops.engines.llama import set_memory_budget

    yield set_memory_budget
    set_memory_budget(None)


async def test_models_share_a_memory_budget_and_the_one_used_longest_ago_goes(
    chain: Chain, budget: Callable[[int | None], None]
) -> None:
    first, second, third = (chain([piece, b"x"]) for piece in (b"one", b"two", b"three"))
    await first.ainvoke("hi")
    each = first.session.need
    budget(int(2.5 * each))
    await second.ainvoke("hi")
    await first.ainvoke("hi")
    assert (await third.ainvoke("hi")).content == "threex"
    assert [model.session.need > 0 for model in (first, second, third)] == [True, False, True]
    assert (await second.ainvoke("hi")).content == "twox"
    assert [model.session.need > 0 for model in (first, second, third)] == [False, True, True]
    assert [model.session.stats.loads for model in (first, second, third)] == [1, 2, 1]


async def test_a_model_that_answers_is_not_unloaded_for_another(
    chain: Chain, budget: Callable[[int | None], None], eventually: Eventually
) -> None:
    from chainops.errors import SetupError

    first = chain(HELLO, loop=True, context=8192, n_ctx=8192, max_tokens=None, n_kept=0)
    stream = first.astream("hi")
    await anext(stream)
    budget(int(1.5 * first.session.need))
    second = chain([b"an", b"other"], context=8192, n_ctx=8192, n_kept=0)
    with pytest.raises(SetupError, match="of the budget of") as caught:
        await second.ainvoke("hi")
    assert caught.value.code == "setup.model_memory"
    assert (await anext(stream)).content
    await stream.aclose()
    await asyncio.to_thread(eventually, lambda: first.session.stats.running == 0)
    assert (await second.ainvoke("hi")).content == "another"


def test_a_budget_that_holds_nothing_is_refused(budget: Callable[[int | None], None]) -> None:
    from chainops.errors import SetupError

    with pytest.raises(SetupError, match="holds nothing"):
        budget(0)
