from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from chainops.errors import SetupError, StoreError
from chainops.store.vault import Keys, Sealed, Vault, new_key, subject_of

KEY = "ab" * 32


@pytest.fixture
def vault(tmp_path):
    clock = [1000.0]
    found = Vault(tmp_path / "vault.db", Keys(KEY), ttl_s=100, clock=lambda: clock[0])
    found.now = clock
    yield found
    found.close()


def test_a_value_is_given_back_under_its_number(vault):
    assert [vault.add("t1", "u1", "EMAIL", "a@b.io"), vault.add("t1", "u1", "EMAIL", "c@d.io")] == [1, 2]
    assert vault.add("t1", "u1", "EMAIL", "a@b.io") == 1
    assert vault.add("t1", "u1", "PHONE", "901820") == 1
    assert sorted(vault.load("t1")) == [
        Sealed("EMAIL", 1, "a@b.io"),
        Sealed("EMAIL", 2, "c@d.io"),
        Sealed("PHONE", 1, "901820"),
    ]
    assert vault.load("t2") == []


def test_no_file_holds_a_value_a_thread_or_a_subject(vault):
    vault.add("thread-of-ann", "subject-ann", "EMAIL", "ann@example.com")
    for file in vault.path.parent.iterdir():
        raw = file.read_bytes()
        assert not [word for word in (b"ann@example", b"thread-of", b"subject-ann", KEY.encode()) if word in raw]
    assert {file.name for file in vault.path.parent.iterdir()} >= {"vault.db", "vault.db-wal"}


def test_the_file_is_for_its_owner_alone(vault):
    vault.load("t1")
    assert stat.S_IMODE(vault.path.stat().st_mode) == 0o600


def test_another_key_is_a_clear_error(vault):
    vault.load("t1")
    with pytest.raises(StoreError) as error:
        Vault(vault.path, Keys("cd" * 32)).load("t1")
    assert error.value.code == "store.vault_key"


def test_a_value_opens_in_its_own_place_only(vault):
    vault.add("t1", "u1", "EMAIL", "a@b.io")
    vault.add("t2", "u2", "EMAIL", "c@d.io")
    with sqlite3.connect(vault.path) as db:
        one, two = (row[0] for row in db.execute("SELECT box FROM sealed"))
        db.execute("UPDATE sealed SET box = CASE WHEN box = ? THEN ? ELSE ? END", (one, two, one))
    with pytest.raises(StoreError, match="changed or moved"):
        vault.load("t1")


def test_erasing_a_subject_leaves_nothing_of_it_and_never_gives_a_number_again(vault):
    vault.add("t1", "u1", "EMAIL", "a@b.io")
    vault.add("t2", "u1", "EMAIL", "a@b.io")
    vault.add("t1", "u2", "EMAIL", "c@d.io")
    with sqlite3.connect(vault.path) as db:
        boxes = [
            row[0] for row in db.execute("SELECT box FROM sealed WHERE thread = ?", (vault.keys.mac("thread", "t2"),))
        ]
    before = vault.removals()
    assert vault.erase("u1") == 2
    assert vault.removals() > before
    assert vault.load("t1") == [Sealed("EMAIL", 2, "c@d.io")]
    assert vault.add("t1", "u1", "EMAIL", "a@b.io") == 3
    for file in vault.path.parent.iterdir():  # what is freed is overwritten, and the log is cut
        assert not [box for box in boxes if box in file.read_bytes()]


def test_values_expire_unless_their_thread_is_read(vault):
    vault.add("t1", "u1", "EMAIL", "a@b.io")
    vault.add("t2", "u1", "EMAIL", "a@b.io")
    vault.now[0] += 60
    vault.load("t1")
    vault.now[0] += 60
    assert vault.load("t1") == [Sealed("EMAIL", 1, "a@b.io")]
    assert vault.load("t2") == []
    assert vault.purge() == 1
    assert vault.purge() == 0


def test_the_same_user_of_another_tenant_is_another_subject(vault):
    vault.add("t1", subject_of("u1", "one"), "EMAIL", "a@b.io")
    vault.add("t2", subject_of("u1", "two"), "EMAIL", "a@b.io")
    assert vault.erase("u1") == 0
    assert vault.erase("u1", "one") == 1
    assert vault.load("t2") == [Sealed("EMAIL", 1, "a@b.io")]


def test_what_has_expired_leaves_the_file_without_anybody_asking(vault):
    vault.add("t1", "u1", "EMAIL", "a@b.io")
    vault.now[0] += 3700
    vault.add("t2", "u2", "EMAIL", "c@d.io")
    with sqlite3.connect(vault.path) as db:
        assert db.execute("SELECT count(*) FROM sealed").fetchone() == (1,)


def test_an_expired_value_comes_back_under_a_new_number(vault):
    vault.add("t1", "u1", "EMAIL", "a@b.io")
    vault.now[0] += 200
    assert vault.add("t1", "u1", "EMAIL", "a@b.io") == 2


def test_processes_give_each_number_once(tmp_path):
    script = (
        "import sys; from chainops.store.vault import *; v = Vault(sys.argv[1], Keys(sys.argv[2]));"
        "print([v.add('t', 'u', 'EMAIL', f'{sys.argv[3]}{i}@b.io') for i in range(40)])"
    )
    args = [sys.executable, "-c", script, str(tmp_path / "vault.db"), KEY]
    workers = [subprocess.Popen([*args, name], stdout=subprocess.PIPE, text=True) for name in "ab"]
    numbers = [number for worker in workers for number in eval(worker.communicate(timeout=60)[0])]
    assert sorted(numbers) == list(range(1, 81))


def test_keys_are_32_bytes_of_base64_or_hex_and_never_shown():
    assert Keys(new_key()).mac("log", "x") != Keys(new_key()).mac("log", "x")
    assert Keys(KEY).mac("log", "x") == Keys(KEY.upper()).mac("log", "x")
    for bad in ("", "short-secret", "zz" * 32, KEY[:-1]):
        with pytest.raises(SetupError) as error:
            Keys(bad)
        assert error.value.code == "setup.pii_key"
        assert not bad or bad not in str(error.value)


def test_identifiers_differ_by_purpose_and_key():
    keys = Keys(KEY)
    assert len({keys.mac("a", "x"), keys.mac("b", "x"), keys.mac("a", "y"), Keys("cd" * 32).mac("a", "x")}) == 4


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path):
    with pytest.raises(StoreError) as error:
        Vault(tmp_path / "no" / "vault.db", Keys(KEY)).load("t")
    assert error.value.code == "store.vault"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_opens_the_file_for_itself(vault):
    vault.add("t1", "u1", "EMAIL", "a@b.io")
    pid = os.fork()
    if pid == 0:
        os._exit(0 if vault.add("t1", "u1", "EMAIL", "c@d.io") == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(vault.load("t1")) == 2
