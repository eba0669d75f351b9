"""What every store of cached answers keeps true, on disk and in memory."""

import os
import pickle
import sqlite3
import threading
import time

import pytest

from chainops.errors import StoreError
from chainops.store.cache.files import FileStore
from chainops.store.cache.memory import LocalStore
from chainops.store.cache.protocol import EVERYTHING, Pending


@pytest.fixture(params=["files", "memory"])
def store(request, tmp_path):
    made = FileStore(tmp_path / "cache") if request.param == "files" else LocalStore()
    yield made
    made.close()


def row(store, key, *tags, data=b"{}", gone=None, seen=None):
    return Pending(key, data, gone, tags, store.generation() if seen is None else seen)


def test_what_was_written_is_there_until_it_is_gone(store):
    assert store.write([row(store, "a", data=b"1"), row(store, "b", data=b"2", gone=time.time() + 100)]) == 2
    store.write([row(store, "c", gone=time.time() - 1)])
    assert (store.get("a"), store.get("b"), store.get("c"), store.get("d")) == (b"1", b"2", None, None)
    assert sorted(store.keys()) == ["a", "b"]
    assert list(store.keys("b")) == ["b"]


def test_a_tag_takes_all_its_entries_and_no_other(store):
    store.write([row(store, "a", "x", "y"), row(store, "b", "y"), row(store, "c", "z")])
    before = store.generation()
    assert store.invalidate(["x", "y"]) == 2
    assert store.generation() > before
    assert [store.get(key) for key in "abc"] == [None, None, b"{}"]
    assert store.invalidate(["y"]) == 0
    assert store.invalidate([EVERYTHING]) == 1
    assert store.size() == (0, 0)


def test_an_answer_whose_call_began_before_an_invalidation_is_not_stored_after_it(store):
    seen = store.generation()
    store.invalidate(["x"])
    assert store.write([row(store, "a", "x", seen=seen), row(store, "b", "other", seen=seen)]) == 1
    assert store.get("a") is None
    assert store.write([row(store, "a", "x")]) == 1
    store.invalidate([EVERYTHING])
    assert store.write([row(store, "c", "other", seen=seen)]) == 0


def test_tags_of_an_entry_are_those_it_was_stored_with_last(store):
    store.write([row(store, "a", "old")])
    store.write([row(store, "a", "new")])
    assert store.invalidate(["old"]) == 0
    assert store.invalidate(["new"]) == 1


def test_a_lease_has_one_owner_until_it_ends(store):
    assert store.lease("a", "me", 100)
    assert store.lease("a", "me", 100)
    assert not store.lease("a", "you", 100)
    store.release("a", "you")
    assert not store.lease("a", "you", 100)
    store.release("a", "me")
    assert store.lease("a", "you", -1)
    assert store.lease("a", "me", 100)


def test_a_renewed_lease_lasts(store):
    store.lease("a", "me", 0.01)
    store.renew("me", 100)
    assert not store.lease("a", "you", 100)


def test_counters_add_up_and_notes_come_newest_first(store):
    store.count({(1, "model", "hit"): 2})
    store.count({(1, "model", "hit"): 1, (2, "model", "miss"): 1})
    assert store.counted() == {(1, "model", "hit"): 3, (2, "model", "miss"): 1}
    for i in range(3):
        store.note(f"ab{i}", str(i).encode())
    assert store.noted("ab") == [("ab2", b"2"), ("ab1", b"1"), ("ab0", b"0")]
    assert store.noted("ab1") == [("ab1", b"1")]


class Planted:
    ran = []

    def __reduce__(self):
        return Planted.ran.append, ("executed",)


def plant(directory, mode, value, filename=None, key="a"):
    raw = 1
    if not isinstance(key, str):
        key, raw = sqlite3.Binary(pickle.dumps(key)), 0
    connection = sqlite3.connect(directory / "cache.db", isolation_level=None)
    connection.execute(
        "INSERT INTO Cache (key, raw, store_time, mode, filename, value, size) VALUES (?,?,0,?,?,?,0)",
        (key, raw, mode, filename, value),
    )
    connection.close()


@pytest.mark.parametrize("mode", [2, 3, 4])
@pytest.mark.parametrize("as_file", [False, True])
def test_a_planted_pickle_is_an_error_and_never_executed(tmp_path, mode, as_file):
    store = FileStore(tmp_path / "cache")
    data = pickle.dumps(Planted())
    Planted.ran.clear()
    if as_file:
        (tmp_path / "cache" / "planted.val").write_bytes(data)
        plant(tmp_path / "cache", mode, None, "planted.val")
    else:
        plant(tmp_path / "cache", mode, data)
    with pytest.raises(StoreError) as caught:
        store.get("a")
    assert caught.value.code == "cache.unsafe"
    assert Planted.ran == []
    store.close()


def test_a_planted_key_is_never_executed_either(tmp_path):
    store = FileStore(tmp_path / "cache")
    Planted.ran.clear()
    plant(tmp_path / "cache", 1, b"{}", key=Planted())
    assert list(store.keys()) == []
    with pytest.raises(StoreError):
        list(store._cache)
    assert Planted.ran == []
    store.close()


@pytest.mark.parametrize("value", [{"a": 1}, "text", 1, None])
def test_nothing_but_bytes_goes_in(tmp_path, value):
    store = FileStore(tmp_path / "cache")
    with pytest.raises(StoreError):
        store.write([Pending("a", value, None, (), 0)])
    assert store.size() == (0, 0)
    store.close()


def test_the_directory_is_its_owners_alone(tmp_path):
    path = tmp_path / "cache"
    FileStore(path).close()
    assert path.stat().st_mode & 0o777 == 0o700
    path.chmod(0o755)
    FileStore(path).close()
    assert path.stat().st_mode & 0o777 == 0o700
    path.chmod(0o777)
    with pytest.raises(StoreError) as caught:
        FileStore(path)
    assert caught.value.code == "cache.directory"


def test_a_file_in_place_of_the_directory_or_of_the_database_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError) as caught:
        FileStore(tmp_path / "file")
    assert caught.value.code == "cache.directory"
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache" / "cache.db").write_text("no database " * 100)
    with pytest.raises(StoreError) as caught:
        FileStore(tmp_path / "cache")
    assert caught.value.code == "cache.file"


def test_what_does_not_fit_pushes_out_what_was_stored_first(tmp_path):
    store = FileStore(tmp_path / "cache", size_limit=400_000)
    for i in range(100):
        store.write([row(store, f"{i:03}", "all", data=os.urandom(10_000))])
    left = sorted(store.keys())
    assert 5 < len(left) < 60
    assert left[-1] == "099"
    assert store.invalidate(["all"]) == len(left)
    store.close()


def test_two_stores_on_one_directory_see_each_others_writes_and_invalidations(tmp_path):
    one, other = FileStore(tmp_path / "cache"), FileStore(tmp_path / "cache")
    one.write([row(one, "a", "x")])
    assert other.get("a") == b"{}"
    before = one.generation()
    other.invalidate(["x"])
    assert one.generation() > before
    assert one.get("a") is None
    one.close()
    other.close()


def test_a_process_killed_between_its_commit_and_the_number_is_made_up_for(tmp_path, monkeypatch):
    one, other = FileStore(tmp_path / "cache"), FileStore(tmp_path / "cache")
    before = one.generation()
    monkeypatch.setattr(other._shared, "raise_to", lambda number: None)
    other.invalidate(["x"])
    one._checked -= 10
    assert one.generation() > before
    one.close()
    other.close()


def test_threads_write_and_invalidate_at_once(store):
    def work(n):
        for i in range(15):
            store.write([row(store, f"{n}-{i}", f"t{i}")])
            store.invalidate([f"t{i - 1}"])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.invalidate(["t14"])
    assert store.size()[0] == 0


def test_a_locked_or_damaged_file_is_a_clear_error_for_who_asks(tmp_path, monkeypatch):
    monkeypatch.setattr("chainops.store.cache.files.LOCK_S", 0.05)
    store = FileStore(tmp_path / "cache")
    lock = sqlite3.connect(tmp_path / "cache" / "cache.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError) as caught:
        store.invalidate(["x"])
    assert caught.value.code == "cache.file"
    lock.execute("ROLLBACK")
    assert store.invalidate(["x"]) == 0
    lock.execute("DROP TABLE chainops_tally")
    with pytest.raises(StoreError) as caught:
        store.counted()
    assert caught.value.code == "cache.file"
    lock.close()
    store.close()
