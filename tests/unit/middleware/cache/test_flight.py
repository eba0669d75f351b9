"""Equal calls at the same time run once, whoever is cancelled, on however many event loops."""

import asyncio
import threading

import pytest
from langchain_core.messages import AIMessage

from chainops import Middleware
from chainops.errors import Blocked, CallError

from .test_model_calls import Retry, Says, behind


async def test_a_thousand_equal_calls_at_once_run_once(desk):
    it = desk(["one"], model={"delay": 0.02})
    answers = await asyncio.gather(*[it.ask() for _ in range(1000)])
    assert {answer.text for answer in answers} == {"one"}
    assert it.asked == 1
    assert len({id(answer.message) for answer in answers}) == 1000


async def test_different_calls_do_not_wait_for_each_other(desk):
    it = desk([f"{i}" for i in range(20)], model={"delay": 0.02})
    answers = await asyncio.gather(*[it.ask(f"question {i}") for i in range(20)])
    assert {answer.text for answer in answers} == {str(i) for i in range(20)}


async def test_a_cancelled_leader_does_not_cancel_the_followers(desk, eventually):
    gate = asyncio.Event()
    it = desk(["one", "two", "three"], model={"gate": gate})
    leader = asyncio.create_task(it.ask())
    await eventually(lambda: it.asked == 1)
    followers = [asyncio.create_task(it.ask()) for _ in range(5)]
    await asyncio.sleep(0)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    await eventually(lambda: it.asked == 2)
    gate.set()
    assert {(await follower).text for follower in followers} == {"two"}
    assert it.asked == 2


async def test_a_cancelled_follower_disturbs_nobody(desk, eventually):
    gate = asyncio.Event()
    it = desk(["one"], model={"gate": gate})
    calls = [asyncio.create_task(it.ask()) for _ in range(4)]
    await eventually(lambda: it.asked == 1)
    calls[2].cancel()
    gate.set()
    assert [(await calls[i]).text for i in (0, 1, 3)] == ["one"] * 3
    assert calls[2].cancelled()


async def test_when_leader_and_next_leader_are_cancelled_the_third_gets_an_answer(desk, eventually):
    gate = asyncio.Event()
    it = desk(["one", "two", "three"], model={"gate": gate})
    calls = [asyncio.create_task(it.ask()) for _ in range(4)]
    await eventually(lambda: it.asked == 1)
    calls[0].cancel()
    calls[1].cancel()
    await eventually(lambda: it.asked == 2)
    calls[2].cancel()
    await eventually(lambda: it.asked == 3)
    gate.set()
    assert (await calls[3]).text == "three"
    assert it.cache.flights._waiting == {}


async def test_a_leader_cancelled_alone_leaves_nothing_behind(desk, eventually):
    gate = asyncio.Event()
    it = desk(["one", "two"], model={"gate": gate})
    leader = asyncio.create_task(it.ask())
    await eventually(lambda: it.asked == 1)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    gate.set()
    assert it.cache.flights._waiting == {}
    async with asyncio.timeout(5):
        assert (await it.ask()).text == "two"


class Slow(Middleware):
    """Inside the cache: waits, then does what is told with the answer."""

    name = "retry"

    def __init__(self, work):
        self.work = work
        self.entered = 0

    async def wrap_model_call(self, call, call_next):
        self.entered += 1
        await asyncio.sleep(0.01)
        return await self.work(call, call_next)


async def test_the_error_of_the_leader_is_shared_once_and_the_next_call_asks_again(desk):
    it = desk(["one"])

    async def fail(call, call_next):
        if layer.entered == 1:
            raise Retry("lost")
        return await call_next(call)

    layer = Slow(fail)
    it.handler = behind(it.cache, layer, it.model)
    found = await asyncio.gather(*[it.ask() for _ in range(50)], return_exceptions=True)
    assert layer.entered == 1
    assert {str(error) for error in found} == {str(Retry("lost"))}
    assert (await it.ask()).text == "one"


@pytest.mark.parametrize("private", ["blocked", "marked"])
async def test_what_is_for_one_caller_only_is_shared_with_none_that_waits(desk, private):
    it = desk([f"{i}" for i in range(10)])

    async def refuse(call, call_next):
        if private == "marked":
            call.mark_private()
            return await call_next(call)
        if layer.entered == 1:
            raise Blocked("not you")
        return await call_next(call)

    layer = Slow(refuse)
    it.handler = behind(it.cache, layer, it.model)
    found = await asyncio.gather(*[it.ask() for _ in range(5)], return_exceptions=True)
    assert layer.entered == 5
    assert sum(isinstance(error, Blocked) for error in found) == (private == "blocked")
    texts = [answer.text for answer in found if not isinstance(answer, Exception)]
    assert len(set(texts)) == len(texts)


async def test_truncated_answers_are_shared_with_who_waits_but_not_kept(desk):
    it = desk([AIMessage("cut", response_metadata={"finish_reason": "length"}), "whole"], model={"delay": 0.02})
    assert {answer.text for answer in await asyncio.gather(*[it.ask() for _ in range(5)])} == {"cut"}
    assert (await it.ask()).text == "whole"


async def test_calls_on_several_event_loops_share_one_flight(desk):
    it = desk(["one", "two", "three", "four"], model={"delay": 0.05})
    texts, ready = [], threading.Barrier(4)

    def work():
        ready.wait()
        texts.extend(answer.text for answer in asyncio.run(ask()))

    async def ask():
        return await asyncio.gather(*[it.ask() for _ in range(25)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.gather(*[asyncio.to_thread(thread.join) for thread in threads])
    assert texts == ["one"] * 100
    assert it.asked == 1


async def test_a_leader_cancelled_on_one_loop_hands_over_to_another(desk, eventually):
    entered, release = threading.Event(), threading.Event()
    it = desk(["one"])

    async def hold(call, call_next):
        entered.set()
        while layer.entered == 1 and not release.is_set():
            await asyncio.sleep(0.005)
        return await call_next(call)

    layer = Slow(hold)
    it.handler = behind(it.cache, layer, it.model)
    outcome = []

    def lead():
        async def main():
            task = asyncio.create_task(it.ask())
            await asyncio.to_thread(cancel.wait)
            task.cancel()
            outcome.append(await asyncio.gather(task, return_exceptions=True))

        asyncio.run(main())

    cancel = threading.Event()
    thread = threading.Thread(target=lead)
    thread.start()
    await asyncio.to_thread(entered.wait, 10)
    follower = asyncio.create_task(it.ask())
    await eventually(lambda: any(it.cache.flights._waiting.values()))
    cancel.set()
    async with asyncio.timeout(10):
        assert (await follower).text == "one"
    thread.join()
    assert isinstance(outcome[0][0], asyncio.CancelledError)


async def test_without_single_flight_equal_calls_all_run(desk):
    it = desk([f"{i}" for i in range(5)], single_flight=False, model={"delay": 0.01})
    assert len({answer.text for answer in await asyncio.gather(*[it.ask() for _ in range(5)])}) == 5


async def test_another_process_that_holds_the_lease_is_waited_for(desk, make_cache, tmp_path, eventually):
    one = desk(["one"], directory=tmp_path / "shared", model={"delay": 0.05})
    other = desk(["one"], directory=tmp_path / "shared", model={"delay": 0.05})  # as another process: nothing shared
    answers = await asyncio.gather(*[it.ask() for it in (one, other) for _ in range(10)])
    assert {answer.text for answer in answers} == {"one"}
    assert one.asked + other.asked == 1


async def test_a_lease_of_a_process_that_died_ends_by_itself(desk, tmp_path):
    it = desk(["one"], directory=tmp_path / "shared")
    asked = []
    it.handler = behind(it.cache, Says(lambda call: asked.append(call)), it.model)
    it.cache.tiers.behind.lease_s = 0.2
    key = (await it.cache.asking.model(await captured(it))).key
    it.cache.flush()  # the lease of that call is given back
    assert it.cache.tiers.store.lease(key, "somebody who died", 0.1)
    async with asyncio.timeout(10):
        assert (await it.ask()).text == "one"


async def captured(it):
    """The call that ``it.ask()`` makes, as the cache gets it."""
    found = []

    async def keep(call, call_next):
        found.append(call)
        raise CallError("only looking")

    handler, it.handler = it.handler, behind(it.cache, Slow(keep), it.model)
    it.cache.errors.seconds = 0
    with pytest.raises(CallError):
        await it.ask()
    it.handler = handler
    return found[0]
