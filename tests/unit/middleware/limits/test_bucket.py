"""One count and its queue: order, rates, places, and nothing lost."""

import asyncio
import bisect
import gc
import random
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainops.errors import LimitExceeded, SetupError
from chainops.middleware.limits import LimitRule
from chainops.middleware.limits.bucket import Bucket
from chainops.middleware.limits.meter import Meter
from chainops.middleware.limits.window import Window


def bucket(**options):
    return Bucket(LimitRule(name="test", **options), age_s=10.0)


async def until(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0)


async def enter_all(into, count, **options):
    order = []

    async def one(i):
        await into.enter(0.0, **options)
        order.append((i, time.monotonic()))

    await asyncio.gather(*(one(i) for i in range(count)))
    return order


async def test_nobody_overtakes():
    order = await enter_all(bucket(requests=2000, period_s=1, burst=1), 300)
    assert [i for i, _ in order] == list(range(300))


async def test_late_arrivals_do_not_overtake_those_who_wait():
    limited = bucket(requests=1000, period_s=1, burst=1)
    order = []

    async def one(name):
        await limited.enter(0.0)
        order.append(name)

    early = [asyncio.create_task(one(("early", i))) for i in range(100)]
    await until(lambda: limited.waiting > 50)
    late = [asyncio.create_task(one(("late", i))) for i in range(50)]
    await asyncio.gather(*early, *late)
    assert order == [("early", i) for i in range(100)] + [("late", i) for i in range(50)]


async def test_the_rate_is_kept():
    # times by the bucket's clock: when one wakes up is the event loop's affair, and a slow machine's
    limited, times = bucket(requests=1000, period_s=1, burst=1), []
    take, blocked_s, asked = limited._take, limited._blocked_s, [0.0]

    def asked_at(now):
        asked.append(now)
        return blocked_s(now)

    def taken(tokens, base):
        times.append(max(asked[-1], base))
        take(tokens, base)

    limited._take, limited._blocked_s = taken, asked_at
    await enter_all(limited, 300)
    assert len(times) == 300
    assert times[-1] - times[0] >= 0.295 * 0.98  # 299 intervals of a millisecond, less what is caught up
    most = max(bisect.bisect_right(times, t + 0.1) - i for i, t in enumerate(times))
    assert most <= 100 + 12  # in a tenth of a second: 100, and what is made up for timers that fire late


async def test_after_a_pause_a_burst_starts_at_once_and_no_more():
    limited = bucket(requests=1, period_s=1000, burst=5, max_wait_s=1e9)
    waiting = [asyncio.create_task(limited.enter(0.0)) for _ in range(8)]
    await until(lambda: sum(t.done() for t in waiting) == 5)
    await asyncio.sleep(0)
    assert sum(t.done() for t in waiting) == 5
    for task in waiting:
        task.cancel()


async def test_a_large_amount_starts_at_once_and_those_behind_it_wait():
    limited = bucket(tokens=1000, period_s=1.0, burst_tokens=1, max_wait_s=100)
    assert await limited.enter(50_000) == 0.0
    assert 45 < limited.wait_s(time.monotonic()) <= 50
    limited.settle(requests=0, tokens=49_990)
    assert await limited.enter(1) < 5  # what was not used is given back, and who waits is woken


async def test_who_waits_is_woken_when_tokens_are_given_back():
    limited = bucket(tokens=1, period_s=1.0, burst_tokens=1, max_wait_s=1e9)
    await limited.enter(100_000)
    waiter = asyncio.create_task(limited.enter(1))
    await until(lambda: limited.waiting == 1)
    limited.settle(requests=0, tokens=100_000)
    await asyncio.wait_for(waiter, 5)
    assert limited.waiting == 0


async def test_not_more_than_so_many_at_once():
    limited, running, most = bucket(concurrent=3), 0, 0

    async def one():
        nonlocal running, most
        await limited.enter(0.0)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        limited.release(0.0)

    await asyncio.gather(*(one() for _ in range(50)))
    assert most == 3 and limited.free == 3 and limited.waiting == 0


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=30), st.integers(1, 3), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_cancelling_loses_no_place_and_no_waiter(calls, places, seed):
    """However calls are cancelled, at the end all places are free, and everybody else has run."""

    async def scenario():
        limited, ran, chance = bucket(concurrent=places), [], random.Random(seed)

        async def one(i, steps):
            await limited.enter(0.0)
            try:
                for _ in range(steps):
                    await asyncio.sleep(0)
                ran.append(i)
            finally:
                limited.release(0.0)

        tasks = [asyncio.create_task(one(i, steps)) for i, (steps, _) in enumerate(calls)]
        doomed = [task for task, (_, cancel) in zip(tasks, calls, strict=True) if cancel]
        for task in doomed:
            for _ in range(chance.randrange(10)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limited.free == places and limited.waiting == 0
        assert {i for i, (_, cancel) in enumerate(calls) if not cancel} <= set(ran)

    asyncio.run(asyncio.wait_for(scenario(), 20))


async def test_cancelling_the_one_in_front_lets_the_next_one_go():
    limited = bucket(requests=1, period_s=1000, burst=1, max_wait_s=1e9)
    await limited.enter(0.0)
    first, second = (asyncio.create_task(limited.enter(0.0)) for _ in range(2))
    await until(lambda: limited.waiting == 2)
    limited.settle(requests=2, tokens=0)  # room for two
    first.cancel()
    await asyncio.wait_for(second, 5)
    assert limited.waiting == 0


async def test_higher_priority_goes_first_and_order_holds_within_one():
    limited = bucket(concurrent=1)
    await limited.enter(0.0)
    order = []

    async def one(name, priority):
        await limited.enter(0.0, priority)
        order.append(name)
        limited.release(0.0)

    tasks = [asyncio.create_task(one(f"{p}{i}", p)) for i in range(3) for p in (0, 1, -1)]
    await until(lambda: limited.waiting == 9)
    limited.release(0.0)
    await asyncio.gather(*tasks)
    assert order == ["10", "11", "12", "00", "01", "02", "-10", "-11", "-12"]


async def test_waiting_weighs_more_than_priority_in_the_end():
    limited = Bucket(LimitRule(name="test", concurrent=1), age_s=0.001)  # a millisecond outweighs one step
    await limited.enter(0.0)
    order = []

    async def one(name, priority):
        await limited.enter(0.0, priority)
        order.append(name)
        limited.release(0.0)

    old = asyncio.create_task(one("old", 0))
    await until(lambda: limited.waiting == 1)
    since = time.monotonic()
    await until(lambda: time.monotonic() > since + 0.01)
    new = asyncio.create_task(one("new", 5))
    await until(lambda: limited.waiting == 2)
    limited.release(0.0)
    await asyncio.gather(old, new)
    assert order == ["old", "new"]


async def test_a_full_queue_refuses_with_the_time_to_come_back():
    limited = bucket(requests=60, period_s=60, burst=1, max_queue=2)
    await limited.enter(0.0)
    waiting = [asyncio.create_task(limited.enter(0.0)) for _ in range(2)]
    await until(lambda: limited.waiting == 2)
    with pytest.raises(LimitExceeded) as refused:
        await limited.enter(0.0)
    assert refused.value.code == "limits.queue"
    assert 2 < refused.value.retry_after_s <= 3
    for task in waiting:
        task.cancel()


async def test_who_would_wait_too_long_is_refused_at_once():
    limited = bucket(requests=1, period_s=100, burst=1, max_wait_s=10)
    await limited.enter(0.0)
    with pytest.raises(LimitExceeded, match="longer than 10 s") as refused:
        await limited.enter(0.0)
    assert refused.value.code == "limits.wait" and 99 < refused.value.retry_after_s <= 100
    with pytest.raises(LimitExceeded) as late:
        await limited.enter(0.0, patience=1.0)
    assert late.value.code == "limits.deadline"


async def test_a_wait_that_could_not_be_foreseen_ends_at_its_limit():
    limited = bucket(concurrent=1, max_wait_s=0.01)
    await limited.enter(0.0)
    with pytest.raises(LimitExceeded) as refused:
        await limited.enter(0.0)
    assert refused.value.code == "limits.wait" and limited.waiting == 0
    limited.release(0.0)
    await limited.enter(0.0)


def test_several_event_loops_share_one_count():
    limited, ran, lock = bucket(requests=2000, period_s=1, burst=1, concurrent=2), [], threading.Lock()

    async def work():
        async def one():
            await limited.enter(0.0)
            await asyncio.sleep(0)
            limited.release(0.0)
            with lock:
                ran.append(1)

        await asyncio.gather(*(one() for _ in range(60)))

    threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert len(ran) == 180 and limited.free == 2 and limited.waiting == 0


def test_a_loop_that_was_closed_with_waiters_stops_nobody():
    limited = bucket(concurrent=1)
    loop = asyncio.new_event_loop()

    async def hold_then_wait():
        await limited.enter(0.0)
        task = loop.create_task(limited.enter(0.0))
        await asyncio.sleep(0)
        return task

    task = loop.run_until_complete(hold_then_wait())
    loop.close()
    limited.release(0.0)
    asyncio.run(asyncio.wait_for(limited.enter(0.0), 5))
    assert limited.free == 0
    task._log_destroy_pending = False
    del task
    gc.collect()


async def test_a_window_never_has_more_than_its_number():
    limited = Window(LimitRule(name="test", requests=20, period_s=0.05, mode="throttle"), 10.0)
    order = await enter_all(limited, 60)
    times = sorted(at for _, at in order)
    assert max(bisect.bisect_right(times, t + 0.045) - i for i, t in enumerate(times)) <= 20


async def test_a_window_refuses_past_its_queue_and_its_wait():
    limited = Window(LimitRule(name="test", requests=1, period_s=100, mode="throttle", max_wait_s=0.02, max_queue=1), 1)
    await limited.enter(0.0)
    waiting = asyncio.create_task(limited.enter(0.0))
    await until(lambda: limited._waiting == 1)
    with pytest.raises(LimitExceeded) as full:
        await limited.enter(0.0)
    assert full.value.code == "limits.queue" and 99 < full.value.retry_after_s <= 100
    with pytest.raises(LimitExceeded) as slow:
        await waiting
    assert slow.value.code == "limits.wait" and limited._waiting == 0


@given(st.floats(0.1, 1e6), st.floats(0.01, 1e4), st.lists(st.floats(0, 1e4), max_size=20))
def test_what_is_given_back_was_never_taken(amount, period, amounts):
    meter = Meter(amount, period, 1.0)
    meter.take(1.0, 100.0)
    before = meter.at
    for each in amounts:
        meter.take(each, 0.0)
    for each in amounts:
        meter.give(each)
    assert meter.at == pytest.approx(before, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "limits nothing"),
        ({"requests": 0}, "requests = 0"),
        ({"tokens": 5, "kind": "tool"}, "counts tokens"),
        ({"requests": 5, "per": ("users",)}, "users"),
        ({"requests": 5, "match": {"modell": "x"}}, "modell"),
        ({"tokens": 5, "mode": "throttle"}, "throttle"),
        ({"requests": 1.5, "mode": "throttle"}, "1.5"),
        ({"requests": 5, "burst": 0.5}, "burst"),
        ({"requests": 5, "max_queue": -1}, "max_queue"),
    ],
)
def test_a_rule_that_makes_no_sense_says_so(options, word):
    with pytest.raises(SetupError, match=word) as wrong:
        LimitRule(name="test", **options)
    assert wrong.value.code == "setup.limits" and wrong.value.hint


async def test_what_was_waited_for_a_place_counts_towards_the_wait_for_the_window():
    window = Window(LimitRule(name="w", requests=1, period_s=30, concurrent=1, max_wait_s=0.4, mode="throttle"), 10.0)
    await window.enter(0.0)
    began = time.monotonic()
    asyncio.get_running_loop().call_later(0.2, window.release, 0.0)
    with pytest.raises(LimitExceeded):
        await window.enter(0.0)
    assert time.monotonic() - began < 0.55  # not 0.2 for the place and 0.4 for the window
