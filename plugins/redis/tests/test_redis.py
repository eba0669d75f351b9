"""The stores on a real redis-server, started for these tests on loopback and killed in the middle of some."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph

from chainops import App, SetupError
from chainops.errors import StoreError
from chainops.middleware.limits.shared import Admission
from chainops.store.cache import Pending
from chainops.testing import LimitStoreConformance, ScriptedModel, StoreConformance, check_plugin
from chainops_redis import plugin

redis = pytest.importorskip("redis", reason="needs redis (the Python client)")
from chainops_redis import generation  # noqa: E402
from chainops_redis.cache import RedisCache  # noqa: E402
from chainops_redis.limits import RedisLimits  # noqa: E402

SRC = Path(__file__).resolve().parents[1] / "src"


class Redis:
    """A redis-server of our own, without files."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url, self.folder = f"redis://127.0.0.1:{self.port}/0", folder
        self.start()

    def start(self, *words: str) -> None:
        line = [
            "redis-server",
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--save",
            "",
            "--dir",
            str(self.folder),
        ]
        self.process = subprocess.Popen([*line, *words], stdout=subprocess.DEVNULL)
        until(self.answers, "redis-server does not answer")

    def answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


def until(true: Callable[[], Any], problem: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, problem
        time.sleep(0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server: apt-get install redis-server")
    made = Redis(tmp_path_factory.mktemp("redis"))
    yield made
    made.kill()


@pytest.fixture
def mortal(server: Redis, tmp_path: Path) -> Iterator[Redis]:
    """One more, for tests that kill it."""
    made = Redis(tmp_path)
    yield made
    made.kill()


@pytest.fixture
def cache(server: Redis) -> Iterator[RedisCache]:
    made = RedisCache(server.url, prefix=uuid.uuid4().hex)
    yield made
    made.close()


class TestCache(StoreConformance):
    @pytest.fixture(autouse=True)
    def _server(self, server: Redis) -> None:
        self.url = server.url

    def make(self, place: str) -> RedisCache:
        return RedisCache(self.url, prefix=place)


class TestLimits(LimitStoreConformance):
    @pytest.fixture(autouse=True)
    def _server(self, server: Redis) -> None:
        self.url = server.url

    def make(self, place: str) -> RedisLimits:
        return RedisLimits(self.url, prefix=place)


OTHER = """
import sys, time
from chainops_redis.cache import RedisCache
from chainops_redis.limits import RedisLimits
from chainops.middleware.limits.shared import Admission
"""


def other_process(code: str, *words: str) -> subprocess.Popen[str]:
    """A second process; it says a line when it is ready."""
    line = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SRC)!r})\n{OTHER}{code}", *words]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


LISTENS = """
store = RedisCache(sys.argv[1], prefix=sys.argv[2])
first = store.generation()
while store._generation._trusted_until == 0: time.sleep(0.01)
print("ready", flush=True)
sys.stdin.readline()
print(store.generation() - first, store._generation._trusted_until > time.monotonic(), flush=True)
"""


def test_when_an_invalidation_returns_another_process_knows_of_it(server: Redis, cache: RedisCache) -> None:
    process = other_process(LISTENS, server.url, cache._prefix[1:].partition("}")[0])
    began = time.monotonic()
    cache.invalidate(["x"])
    assert time.monotonic() - began < generation.TRUST_S, "it waited for the time in place of the answer"
    said, _ = process.communicate("now\n", timeout=20)
    grown, without_asking = said.split()
    assert int(grown) > 0 and without_asking == "True"


def test_an_invalidation_waits_for_one_that_does_not_answer_until_it_trusts_itself_no_more(
    server: Redis, cache: RedisCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "TRUST_S", 0.3)
    monkeypatch.setattr(generation, "PING_S", 0.1)
    process = other_process(LISTENS, server.url, cache._prefix[1:].partition("}")[0])
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)  # until it stands still
    began = time.monotonic()
    cache.invalidate(["x"])
    took = time.monotonic() - began
    end(process)
    assert 0.4 <= took < 2


def test_the_generation_is_read_without_asking_the_server(cache: RedisCache) -> None:
    until(lambda: cache.generation() == 0 and cache._generation._trusted_until, "it never trusts what it knows")
    cache._server.client.set(f"{cache._prefix}generation", 5)  # nobody is told, so nobody knows
    assert cache.generation() == 0


def test_after_everything_was_flushed_an_older_answer_does_not_come_back(cache: RedisCache) -> None:
    cache.invalidate(["x"])
    seen = cache.generation()
    cache._server.client.flushdb()
    cache.invalidate(["x"])
    assert cache.write([Pending("a", b"{}", None, ("x",), seen)]) == 0


def asking(application: App, model: Any) -> Any:
    async def answer(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return application.instrument(builder.compile(name="asking"))


def application(url: str, folder: Path, **tables: Any) -> App:
    return App(
        pipeline={"middleware": list(tables)},
        plugins={"redis": {"url": url, "prefix": folder.name, "timeout_s": 0.2}},
        trace={"path": str(folder / "t.db")},
        **tables,
    )


async def test_what_one_application_asked_another_has_from_the_cache(
    server: Redis, tmp_path: Path, installed_plugin: Any
) -> None:
    async def answered_by(model: Any) -> str:
        with application(server.url, tmp_path, cache={"store": "redis", "only_deterministic": False}) as one:
            state = await asking(one, model).ainvoke({"messages": ["How far is the moon?"]})
        return str(state["messages"][-1].text)

    first, second = ScriptedModel(["Far."]), ScriptedModel(["Far."])
    assert [await answered_by(first), await answered_by(second)] == ["Far.", "Far."]
    assert (len(first.calls), len(second.calls)) == (1, 0)


async def test_a_server_that_dies_makes_the_cache_slow_and_the_limits_strict(
    mortal: Redis, tmp_path: Path, installed_plugin: Any
) -> None:
    rules = [{"name": "all", "concurrent": 5}]
    model = ScriptedModel(["Fine."] * 20)
    cached = application(mortal.url, tmp_path, cache={"store": "redis", "only_deterministic": False})
    limited = application(mortal.url, tmp_path, limits={"store": "redis", "rules": rules})
    with cached, limited:
        one, other = asking(cached, model), asking(limited, model)
        await one.ainvoke({"messages": ["first"]})
        await other.ainvoke({"messages": ["first"]})
        mortal.kill()
        for question in ("first", "second"):
            assert (await one.ainvoke({"messages": [question]}))["messages"][-1].text == "Fine."
        asked = len(model.calls)
        with pytest.raises(StoreError, match=f"Redis at 127.0.0.1:{mortal.port} cannot be used") as refused:
            await other.ainvoke({"messages": ["second"]})
        assert refused.value.code == "redis.server" and len(model.calls) == asked
        mortal.start()
        state = await asyncio.wait_for(other.ainvoke({"messages": ["third"]}), 20)
        assert state["messages"][-1].text == "Fine."


def test_while_the_server_is_away_nothing_kept_in_the_process_is_trusted(mortal: Redis) -> None:
    store = RedisCache(mortal.url, prefix="away", timeout_s=0.2)
    until(lambda: store.generation() == 0 and store._generation._trusted_until, "it never trusts what it knows")
    mortal.kill()
    until(lambda: store.generation() < 0, "it trusts a number that nobody tells it any more")
    assert store.generation() != store.generation()
    mortal.start()
    until(lambda: store.generation() >= 0, "it never asks again")
    store.close()


TAKES = """
store = RedisLimits(sys.argv[1], prefix=sys.argv[2], place_s=0.6)
assert store.admit(Admission("k", "theirs", 1, {})) is not None
print("ready", flush=True)
sys.stdin.readline()
"""


def test_a_place_is_held_while_its_process_lives_and_free_soon_after_it_was_killed(server: Redis) -> None:
    prefix = uuid.uuid4().hex
    process, store = other_process(TAKES, server.url, prefix), RedisLimits(server.url, prefix=prefix)
    began = time.monotonic()
    while time.monotonic() - began < 1.0:
        assert store.admit(Admission("k", "mine", 1, {})) is None
        time.sleep(0.05)
    end(process)
    until(lambda: store.admit(Admission("k", "mine", 1, {})) is not None, "the place of a dead process is never free")
    store.close()


def test_a_server_that_would_forget_its_books_is_refused(mortal: Redis) -> None:
    client = redis.Redis.from_url(mortal.url)
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.close()
    with pytest.raises(StoreError, match="drops any key when its memory is full"):
        RedisCache(mortal.url)


@pytest.mark.parametrize("kind", ["cache", "limits"])
def test_a_wrong_setting_is_a_clear_error(kind: str) -> None:
    make = plugin.stores[kind]
    with pytest.raises(SetupError, match="CHAINOPS_TEST_NO_URL, which is not set"):
        make(plugin.check_options({"url_env": "CHAINOPS_TEST_NO_URL"}))
    with pytest.raises(SetupError, match="cannot be used") as failed:
        make(plugin.check_options({"url": "redis://:secret@127.0.0.1:9/0"}))
    assert "secret" not in str(failed.value)


async def test_everything_that_the_plugin_brings_passes_its_checks() -> None:
    assert [finding for finding in await check_plugin(plugin) if not finding.passed] == []
