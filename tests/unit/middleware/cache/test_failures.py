"""A cache that cannot be read or written is a slow one, never a broken run."""

import logging
import pickle
import shutil
import sqlite3

import pytest

from chainops.errors import StoreError
from chainops.middleware.cache import Cache
from chainops.store.cache.memory import LocalStore

from .conftest import Desk


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def desk(directory):
    cache = Cache(directory)
    yield Desk(cache, ["one", "two", "three"])
    cache.close()


def forget_objects(desk):
    desk.cache.flush()
    desk.cache.tiers.recent._entries.clear()


def change(directory, sql, values=()):
    with sqlite3.connect(directory / "cache.db") as db:
        assert db.execute(sql, values).rowcount > 0
    db.close()


class Planted:
    ran = []

    def __reduce__(self):
        return Planted.ran.append, ("executed",)


async def test_a_planted_pickle_is_a_miss_and_a_warning_and_is_never_executed(desk, directory, caplog):
    await desk.ask()
    forget_objects(desk)
    change(directory, "UPDATE Cache SET mode=4, value=?", (pickle.dumps(Planted()),))
    with caplog.at_level(logging.WARNING, "chainops"):
        assert (await desk.ask()).text == "two"
    assert Planted.ran == []
    assert "only JSON texts are kept" in caplog.text


@pytest.mark.parametrize("data", [b"", b"no json", b"[]", b'{"value": 1}', b"\xff" * 50], ids=repr)
async def test_a_damaged_entry_is_a_miss_and_is_replaced(desk, directory, data):
    await desk.ask()
    forget_objects(desk)
    change(directory, "UPDATE Cache SET value=?", (data,))
    assert (await desk.ask()).text == "two"
    forget_objects(desk)
    assert (await desk.ask()).text == "two"


async def test_an_entry_with_a_foreign_type_is_a_miss(desk, directory):
    await desk.ask()
    forget_objects(desk)
    change(directory, "UPDATE Cache SET value=replace(value, ?, ?)", ('"ai"', '"os.system"'))
    assert (await desk.ask()).text == "two"


async def test_a_directory_that_goes_away_does_not_stop_calls(desk, directory):
    await desk.ask()
    while directory.exists():  # the thread that writes may put a file there meanwhile
        shutil.rmtree(directory, ignore_errors=True)
    forget_objects(desk)
    answers = [(await desk.ask("other")).text for _ in range(2)]
    assert answers[0] == "two"


class Broken(LocalStore):
    """Fails at whatever it is asked to do, but tells its generation."""

    def _fail(self, *args, **kwargs):
        raise OSError("the disk is gone")

    get = write = note = count = lease = _fail
    shared = True


async def test_a_store_that_fails_at_everything_does_not_stop_calls(caplog):
    cache = Cache(store=Broken(), memory_entries=0)
    it = Desk(cache, ["one", "two"])
    with caplog.at_level(logging.WARNING, "chainops"):
        assert [(await it.ask()).text for _ in range(2)] == ["one", "two"]
        cache.flush()
    assert "cannot be read" in caplog.text
    assert "cannot be written" in caplog.text
    cache.close()


def test_a_directory_of_somebody_else_is_an_error_before_the_first_call(directory):
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    with pytest.raises(StoreError) as caught:
        Cache(directory)
    assert caught.value.code == "cache.directory"
