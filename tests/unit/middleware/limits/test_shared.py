"""Several processes count together in one file."""

import asyncio
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chainops.errors import LimitExceeded, StoreError
from chainops.middleware.limits import LimitFile, LimitRule, Limits
from chainops.middleware.limits.shared_bucket import SharedBucket
from chainops.testing import node_call

SPAWN = multiprocessing.get_context("spawn")


def made(path, **options):
    store = LimitFile(path)
    thread = ThreadPoolExecutor(1)
    return store, SharedBucket(LimitRule(name="test", **options), 10.0, store, "test", thread)


def settled(bucket):
    """Wait for what was handed to the thread."""
    bucket._thread.submit(int).result(10)


async def enter_and_leave(bucket, stamps):
    _, owner = await bucket.enter(0.0)
    stamps.append(time.time())
    bucket.release(owner)


def worker(path, count, results):
    async def main():
        store, bucket = made(path, requests=400, period_s=1.0, burst=1)
        stamps = []
        await asyncio.gather(*(enter_and_leave(bucket, stamps) for _ in range(count)))
        settled(bucket)
        store.close()
        return stamps

    results.put(asyncio.run(main()))


def holder(path, ready):
    async def main():
        _, bucket = made(path, concurrent=1)
        await bucket.enter(0.0)
        ready.set()
        await asyncio.sleep(60)

    asyncio.run(main())


def test_two_processes_keep_one_rate_together(tmp_path):
    results = SPAWN.Queue()
    path = tmp_path / "limits.db"
    LimitFile(path).close()
    processes = [SPAWN.Process(target=worker, args=(path, 100, results)) for _ in range(2)]
    for process in processes:
        process.start()
    stamps = sorted(s for _ in processes for s in results.get(timeout=60))
    for process in processes:
        process.join(20)
    overlap = max(stamps[0], stamps[0])
    assert len(stamps) == 200
    assert stamps[-1] - overlap >= 199 / 400 * 0.95  # each alone would be done in half the time


def test_a_place_of_a_process_that_was_killed_is_free_again(tmp_path):
    path, ready = tmp_path / "limits.db", SPAWN.Event()
    process = SPAWN.Process(target=holder, args=(path, ready))
    process.start()
    assert ready.wait(60)
    store, bucket = made(path, concurrent=1, max_wait_s=0.05)
    with pytest.raises(LimitExceeded) as taken:
        asyncio.run(bucket.enter(0.0))
    assert taken.value.code == "limits.wait"
    os.kill(process.pid, signal.SIGKILL)
    process.join(20)
    _, owner = asyncio.run(bucket.enter(0.0))
    bucket.release(owner)
    settled(bucket)
    assert store.counts() == {}
    store.close()


async def test_order_and_settling_hold_as_in_one_process(tmp_path):
    store, bucket = made(tmp_path / "limits.db", tokens=1000, period_s=1.0, burst_tokens=1, max_wait_s=3)
    await bucket.enter(100_000)
    with pytest.raises(LimitExceeded) as refused:
        await bucket.enter(1)
    assert refused.value.code == "limits.wait" and refused.value.retry_after_s > 90
    bucket.settle(requests=0, tokens=99_990)
    order = []

    async def one(i):
        await bucket.enter(1)
        order.append(i)

    await asyncio.gather(*(one(i) for i in range(20)))
    assert order == list(range(20))
    store.close()


async def test_cancelling_while_waiting_gives_everything_back(tmp_path):
    store, bucket = made(tmp_path / "limits.db", requests=1, period_s=50, burst=1, concurrent=5, max_wait_s=1e6)
    _, owner = await bucket.enter(0.0)
    waiting = asyncio.create_task(bucket.enter(0.0))
    deadline = time.monotonic() + 10
    while store.counts() != {"test": 2}:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    settled(bucket)
    assert store.counts() == {"test": 1}
    bucket.settle(requests=1, tokens=0)
    bucket.release(owner)
    await asyncio.wait_for(bucket.enter(0.0), 5)
    store.close()


def test_a_file_that_is_none_is_a_clear_error(tmp_path):
    path = tmp_path / "limits.db"
    path.write_text("this is no database, but a text that is long enough to be read as a header of one" * 20)
    with pytest.raises(StoreError) as wrong:
        LimitFile(path)
    assert wrong.value.code == "limits.file" and str(path) in str(wrong.value)


async def test_a_call_that_outlives_the_limits_gives_its_result_and_its_place(tmp_path):
    path = tmp_path / "limits.db"
    limits = Limits([LimitRule(name="one", kind="node", concurrent=1, requests=100, period_s=1)], path=path)
    entered, go = asyncio.Event(), asyncio.Event()

    async def engine(call):
        entered.set()
        await go.wait()
        return "done"

    running = asyncio.create_task(limits.wrap_node_call(node_call({}), engine))
    await asyncio.wait_for(entered.wait(), 10)
    await asyncio.to_thread(limits.close)
    go.set()
    assert await running == "done"
    store = LimitFile(path)
    assert store.counts() == {}
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_counts_through_a_connection_and_a_thread_of_its_own(tmp_path):
    limits = Limits([LimitRule(name="one", kind="node", concurrent=2, max_wait_s=5)], path=tmp_path / "limits.db")

    async def engine(call):
        return "done"

    async def ask():
        return await asyncio.wait_for(limits.wrap_node_call(node_call({}), engine), 10)

    assert asyncio.run(ask()) == "done"  # the thread and the connection are there before the fork
    child = os.fork()
    if not child:
        try:
            os._exit(0 if asyncio.run(ask()) == "done" else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert asyncio.run(ask()) == "done"
    limits.close()
