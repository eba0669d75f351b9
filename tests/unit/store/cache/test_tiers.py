import os
import time

import pytest

from chainops.store.cache import Entry, open_tiers
from chainops.store.cache.memory import LocalStore, Recent
from chainops.store.cache.tiers import Tiers


def entry(key, value=None, **more):
    return Entry(key=key, kind="model", node="n", value=value or {"a": 1}, created=time.time(), **more)


@pytest.fixture(params=["memory", "disk"])
def tiers(request, tmp_path):
    made = open_tiers(None if request.param == "memory" else tmp_path / "cache", recent=3)
    yield made
    made.close()


def test_the_entries_used_last_stay_objects_and_all_stay_stored(tiers):
    made = [entry(f"{i}") for i in range(5)]
    for each in made:
        tiers.put(each, tiers.generation())
    assert len(tiers.recent) == 3
    assert tiers.get("4") is made[4]
    tiers.flush()
    found = tiers.get("0")
    assert found is not made[0]
    assert (found.value, found.kind, found.tags) == (made[0].value, "model", ())


def test_objects_take_a_limited_number_of_bytes():
    recent = Recent(100, max_bytes=1000)
    for i in range(10):
        recent.put(entry(f"{i}"), 0)
        recent.weigh(f"{i}", 300)
    assert (len(recent), recent.bytes) == (3, 900)
    assert recent.get("9", 0) is not None
    recent.drop("9")
    assert recent.bytes == 600
    recent.weigh("gone", 5000)
    assert recent.bytes == 600
    assert recent.get("8", 1) is None
    assert (len(recent), recent.bytes) == (0, 0)


def test_an_entry_that_is_too_large_is_not_kept(tiers, monkeypatch):
    monkeypatch.setattr("chainops.store.cache.tiers.MAX_ENTRY", 1000)
    tiers.put(entry("large", {"a": "x" * 2000}), tiers.generation())
    tiers.flush()
    assert tiers.get("large") is None


def test_an_invalidation_empties_what_is_held_as_objects(tiers):
    tiers.put(entry("a", tags=("x",)), tiers.generation())
    tiers.put(entry("b", tags=("y",)), tiers.generation())
    tiers.flush()
    assert tiers.invalidate(["x"]) == 1
    assert tiers.get("a") is None
    assert tiers.get("b").value == {"a": 1}
    assert tiers.clear() == 1
    assert tiers.get("b") is None


def test_a_write_that_waits_is_overtaken_by_an_invalidation():
    class Held(LocalStore):
        def write(self, batch):
            time.sleep(0.02)
            return super().write(batch)

    tiers = Tiers(Held())
    tiers.put(entry("a", tags=("x",)), tiers.generation())
    tiers.invalidate(["x"])
    tiers.flush()
    assert tiers.get("a") is None
    tiers.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_writes_with_a_thread_of_its_own(tmp_path):
    tiers = open_tiers(tmp_path / "cache")
    tiers.put(entry("parent"), tiers.generation())
    tiers.flush()
    child = os.fork()
    if child == 0:
        tiers.put(entry("child"), tiers.generation())
        os._exit(0 if tiers.flush(5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert tiers.store.get("child") is not None
    tiers.put(entry("later"), tiers.generation())
    tiers.flush()
    assert tiers.store.get("later") is not None
    tiers.close()


def test_after_close_a_later_write_still_arrives(tmp_path):
    tiers = open_tiers(None)
    tiers.close()
    tiers.put(entry("a"), tiers.generation())
    assert tiers.flush(5)
    assert tiers.store.get("a") is not None
    tiers.close()
