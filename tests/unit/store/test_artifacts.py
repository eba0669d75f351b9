from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainops.errors import StoreError
from chainops.store import migrate
from chainops.store.artifacts import Artifacts
from chainops.store.canonical import canonical, fingerprint, json_mistakes
from chainops.store.registry import Registry
from chainops.store.schema import connect, open_reader


@pytest.fixture
def store(path: Path) -> Artifacts:
    return Artifacts(path)


def add(store: Artifacts, text: str, name: str = "greet") -> int:
    return store.add("prompt", name, {"text": text}, author="ann", message=text)[0].version


def move(store: Artifacts, to: int | None, label: str = "prod") -> None:
    store.move("prompt", "greet", label, to, who="ann", why="because")


def code_of(caught: pytest.ExceptionInfo[StoreError]) -> str:
    assert caught.value.hint
    return caught.value.code


def test_versions_count_up_per_name_and_remember_where_they_come_from(store: Artifacts) -> None:
    first, new = store.add("prompt", "greet", {"text": "hi"}, author="ann", message="first")
    second, _ = store.add("prompt", "greet", {"text": "hello"}, author="bob")
    other, _ = store.add("prompt", "part", {"text": "hi"}, author="ann")
    assert new
    assert (first.version, first.parent, first.author, first.message) == (1, None, "ann", "first")
    assert (second.version, second.parent) == (2, 1)
    assert (other.version, other.sha256) == (1, first.sha256)
    assert first.sha256 == fingerprint(b'{"text":"hi"}')
    assert first.value() == {"text": "hi"}


def test_content_that_a_name_has_already_is_that_version(store: Artifacts) -> None:
    add(store, "hi")
    add(store, "hello")
    again, new = store.add("prompt", "greet", {"text": "hi"}, author="bob")
    assert (again.version, again.author, new) == (1, "ann", False)


def test_eight_processes_that_add_at_once_get_every_number_once_and_lose_nothing(path: Path) -> None:
    migrate.upgrade(path)  # only so that eight processes need not import Alembic
    program = (
        "import sys; from chainops.store.artifacts import Artifacts; store = Artifacts(sys.argv[1]);"
        "sys.stdin.readline();"
        "print([store.add('prompt', 'p', {'by': sys.argv[2], 'i': i}, author='a')[0].version for i in range(15)])"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), str(k)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for k in range(8)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    numbers = [number for worker in workers for number in json.loads(worker.communicate(timeout=120)[0])]
    assert sorted(numbers) == list(range(1, 121))
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT version, content FROM artifact ORDER BY version").fetchall()
    db.close()
    assert [row[0] for row in rows] == list(range(1, 121))
    assert {(c["by"], c["i"]) for c in (json.loads(row[1]) for row in rows)} == {
        (str(k), i) for k in range(8) for i in range(15)
    }


def test_every_move_of_a_label_is_kept_with_who_and_why(store: Artifacts) -> None:
    add(store, "1"), add(store, "2")
    move(store, 1), move(store, 2), move(store, None)
    moves = store.moves("prompt", "greet")
    assert [(m.from_version, m.to_version) for m in moves] == [(None, 1), (1, 2), (2, None)]
    assert {(m.who, m.why, m.label) for m in moves} == {("ann", "because", "prod")}
    assert moves[0].created_ns <= moves[1].created_ns


def test_rollback_goes_back_step_by_step_and_never_forward_again(store: Artifacts) -> None:
    for text in "123":
        move(store, add(store, text))

    def back() -> int | None:
        return store.rollback("prompt", "greet", "prod", who="bob").to_version

    assert [back(), back()] == [2, 1]
    with pytest.raises(StoreError, match="points to version 1, and to none before") as caught:
        back()
    assert code_of(caught) == "store.rollback"
    move(store, 3)
    assert back() == 1


def test_rollback_passes_over_retired_versions(store: Artifacts) -> None:
    for text in "123":
        move(store, add(store, text))
    store.retire("prompt", "greet", 2, who="ann", why="it lies")
    assert store.rollback("prompt", "greet", "prod", who="bob").to_version == 1


@pytest.mark.parametrize(
    ("name", "label", "to", "code"),
    [
        ("greet", "prod", 7, "store.unknown_version"),
        ("greet", "prod", 0, "store.unknown_version"),
        ("nobody", "prod", 1, "store.unknown_version"),
        ("greet", "prod", None, "store.unknown_label"),
        ("greet", "latest", 1, "store.label"),
        ("greet", "12", 1, "store.name"),
        ("greet", "a/b", 1, "store.name"),
        ("greet", "Prod", 1, "store.name"),
        ("greet", "prod\n", 1, "store.name"),
    ],
)
def test_a_label_cannot_be_moved_to_what_is_not_there(
    store: Artifacts, name: str, label: str, to: int | None, code: str
) -> None:
    add(store, "hi")
    with pytest.raises(StoreError) as caught:
        store.move("prompt", name, label, to, who="ann")
    assert code_of(caught) == code
    assert store.moves("prompt", name) == []


@pytest.mark.parametrize("name", ["", "../x", "a/../b", "a/.b", "a//b", "/a", "a/", "a b", "é", "a" * 201, "a\n"])
def test_a_name_that_could_be_a_path_or_a_trick_is_refused(store: Artifacts, name: str) -> None:
    with pytest.raises(StoreError) as caught:
        store.add("prompt", name, {}, author="ann")
    assert code_of(caught) == "store.name"


def test_content_that_is_no_json_is_refused_with_every_place(store: Artifacts) -> None:
    class Text(str):
        __slots__ = ()

    content = {"a": [1, float("nan")], "b": Text("x"), "c": {1: 2}, "d": 2**70, "e": "\ud800", "f": (1,)}
    with pytest.raises(StoreError) as caught:
        store.add("prompt", "greet", content, author="ann")
    assert code_of(caught) == "store.content"
    for place in ("a[1] is nan", "b is a", "c has the key 1", "d does not fit", "e holds half", "f is a tuple"):
        assert place in caught.value.message


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_json_that_is_nested_too_deep_is_a_mistake_and_no_crash() -> None:
    assert json_mistakes(nested(100)) == []
    assert "nested more than 100" in json_mistakes(nested(100_000))[0]


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXT
JSON = st.recursive(
    LEAVES | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(JSON)
def test_canonical_json_is_the_same_whatever_the_order_of_keys_and_reads_back_equal(value: object) -> None:
    def turned(v: object) -> object:
        if isinstance(v, dict):
            return {k: turned(v[k]) for k in reversed(v)}
        return [turned(i) for i in v] if isinstance(v, list) else v

    assert canonical(value) == canonical(turned(value))
    assert canonical(json.loads(canonical(value))) == canonical(value)


async def test_a_view_keeps_what_held_when_it_was_taken(store: Artifacts, path: Path) -> None:
    move(store, add(store, "1"))
    registry = Registry(path, "prompt", max_age_s=0)
    before = await registry.view()
    move(store, add(store, "2"))
    after = await registry.view()
    assert (before.resolve("greet", "prod").version, after.resolve("greet", "prod").version) == (1, 2)
    assert (before.resolve("greet").version, after.resolve("greet").version) == (1, 2)
    assert after.resolve("greet", 1) is before.resolve("greet", 1)
    assert after.resolve("greet", "1").message == "1"
    assert after.by_hash("greet", before.resolve("greet").sha256).version == 1


async def test_a_fresh_view_is_given_without_looking_at_the_file(store: Artifacts, path: Path) -> None:
    add(store, "1")
    registry = Registry(path, "prompt", max_age_s=3600)
    first = await registry.view()
    add(store, "2")
    assert await registry.view() is first
    assert (await registry.add("greet", {"text": "3"}, author="bob")).version == 3
    await registry.move("greet", "prod", 2, who="bob")
    assert (await registry.view()).resolve("greet", "prod").version == 2


async def test_the_file_is_never_read_on_the_thread_of_the_event_loop(
    store: Artifacts, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, "1")
    threads: list[int] = []

    def open_file(*args: object) -> sqlite3.Connection:
        threads.append(threading.get_ident())
        return open_reader(path)

    monkeypatch.setattr("chainops.store.registry.open_reader", open_file)
    monkeypatch.setattr(
        "chainops.store.artifacts.connect", lambda *a, **k: threads.append(threading.get_ident()) or connect(*a, **k)
    )
    registry = Registry(path, "prompt", max_age_s=0)
    await registry.view()
    await registry.add("greet", {"text": "2"}, author="ann")
    await registry.move("greet", "prod", 2, who="ann")
    assert len(threads) == 5
    assert threading.get_ident() not in threads


class Lock:
    """A lock that tells when a second thread wants it."""

    def __init__(self) -> None:
        self.lock, self.first, self.second = threading.Lock(), threading.Event(), threading.Event()

    def __enter__(self) -> None:
        (self.second if self.first.is_set() else self.first).set()
        self.lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.lock.release()


async def test_what_was_written_while_another_look_was_under_way_is_seen(
    store: Artifacts, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, "1")
    registry = Registry(path, "prompt", max_age_s=3600)
    read, go_on = threading.Event(), threading.Event()
    real = Registry._read

    def slow(self: Registry) -> None:
        real(self)
        read.set()
        assert go_on.wait(10)

    monkeypatch.setattr(Registry, "_read", slow)
    registry._lock = lock = Lock()  # type: ignore[assignment]
    early = asyncio.create_task(asyncio.to_thread(registry.look))
    await asyncio.to_thread(read.wait, 10)
    add(store, "2")
    late = asyncio.create_task(asyncio.to_thread(registry.look, force=True))
    await asyncio.to_thread(lock.second.wait, 10)
    go_on.set()
    assert (await early).resolve("greet").version == 1
    assert (await late).resolve("greet").version == 2


async def test_the_latest_version_is_the_newest_that_is_not_retired(store: Artifacts, path: Path) -> None:
    move(store, add(store, "1")), add(store, "2")
    store.retire("prompt", "greet", 2, who="ann", why="it lies")
    registry = Registry(path, "prompt", max_age_s=0)
    assert (await registry.view()).resolve("greet").version == 1
    with pytest.raises(StoreError, match="Version 2 of prompt 'greet' is retired") as caught:
        (await registry.view()).resolve("greet", 2)
    assert code_of(caught) == "store.retired"
    with pytest.raises(StoreError, match="retired"):
        store.move("prompt", "greet", "prod", 2, who="ann")
    store.retire("prompt", "greet", 1, who="ann", why="old")
    for ref in ("prod", "latest"):
        with pytest.raises(StoreError, match="retired"):
            (await registry.view()).resolve("greet", ref)
    store.retire("prompt", "greet", 2, who="ann", why="it was right", back=True)
    assert (await registry.view()).resolve("greet").version == 2


@pytest.mark.parametrize(
    ("name", "ref", "code"),
    [
        ("gret", "prod", "store.unknown_name"),
        ("greet", "canary", "store.unknown_label"),
        ("greet", 9, "store.unknown_version"),
        ("greet", "9", "store.unknown_version"),
        ("greet", "retired/1", "store.unknown_label"),
    ],
)
async def test_what_is_not_there_is_one_clear_error(
    store: Artifacts, path: Path, name: str, ref: str | int, code: str
) -> None:
    add(store, "1")
    store.retire("prompt", "greet", add(store, "2"), who="ann", why="x")
    view = await Registry(path, "prompt").view()
    with pytest.raises(StoreError) as caught:
        view.resolve(name, ref)
    assert code_of(caught) == code


async def test_when_the_file_cannot_be_read_any_more_what_is_known_stays_in_use(
    store: Artifacts, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    move(store, add(store, "1"))
    registry = Registry(path, "prompt", max_age_s=0)
    await registry.view()
    for file in path.parent.glob("trace.db*"):
        file.unlink()
    for _ in range(3):
        assert (await registry.view()).resolve("greet", "prod").version == 1
    assert [r.message.partition(":")[0] for r in caplog.records] == ["prompts stay as they were last seen"]
    move(store, add(store, "another"))
    assert (await registry.view()).resolve("greet", "prod").message == "another"


async def test_without_a_file_there_is_a_clear_error(path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        await Registry(path, "prompt").view()
    assert code_of(caught) == "store.missing"
    assert not path.exists()


async def test_many_that_ask_at_once_while_another_thread_writes_see_whole_states(store: Artifacts, path: Path) -> None:
    move(store, add(store, "0"))
    registry = Registry(path, "prompt", max_age_s=0)

    def write() -> None:
        for i in range(1, 20):
            move(store, add(store, str(i)))

    writing = asyncio.create_task(asyncio.to_thread(write))
    while not writing.done():
        views = await asyncio.gather(*(registry.view() for _ in range(8)))
        for view in views:
            assert view.resolve("greet", "prod").version in view.entries["greet"].versions
    await writing
    assert (await registry.view()).resolve("greet", "prod").version == 20
