"""What every store of cached answers must keep true: for stores that plugins bring.

Subclass :class:`StoreConformance` in a test module, or call :func:`check_store` from a script.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from chainops.store.cache import CacheStore, Pending
from chainops.store.cache.protocol import EVERYTHING

__all__ = ["STORE_CHECKS", "StoreConformance", "check_store"]

MakeStore = Callable[[], CacheStore]
PATIENCE = 10.0  # seconds until a check calls something stuck


def _row(
    store: CacheStore, key: str, tags: Iterable[str] = (), *, data: bytes = b"{}", **fields: float | None
) -> Pending:
    seen = fields.get("seen")
    gone = fields.get("gone")
    return Pending(key, data, gone, tuple(tags), store.generation() if seen is None else int(seen))


def what_was_written_is_there_until_it_is_gone(make: MakeStore) -> None:
    """Bytes come back as they were, until their time is over; keys are found by their beginning."""
    store, now = make(), time.time()
    rows = [_row(store, "aa", data=b"1"), _row(store, "ab", data=bytes(range(256)), gone=now + 100)]
    written = store.write([*rows, _row(store, "ac", gone=now - 1)])
    got = [store.get(key) for key in ("aa", "ab", "ac", "none")]
    assert got == [b"1", bytes(range(256)), None, None], f"got {got!r}"
    assert written >= 2, f"write said that it wrote {written} of 3"
    assert sorted(store.keys()) == ["aa", "ab"], f"keys: {sorted(store.keys())}, gone entries are none"
    assert list(store.keys("ab")) == ["ab"], "keys(prefix) does not go by the beginning"
    store.write([_row(store, "aa", data=b"2")])
    assert store.get("aa") == b"2", "a key that is written again keeps its old bytes"


def a_tag_takes_all_its_entries_and_no_other(make: MakeStore) -> None:
    """``invalidate`` forgets what has one of the tags, says how many, and raises the generation."""
    store = make()
    store.write([_row(store, "a", ("x", "y")), _row(store, "b", ("y",)), _row(store, "c", ("z",))])
    before = store.generation()
    said = store.invalidate(["x", "y"])
    assert said == 2, f"two entries had the tags, invalidate said {said}"
    assert store.generation() > before, "the generation did not grow: other processes keep old answers"
    left = [store.get(key) for key in "abc"]
    assert left == [None, None, b"{}"], f"after invalidating x and y: {left!r}"
    assert store.invalidate([EVERYTHING]) == 1, "the tag * is every entry's"
    assert store.size()[0] == 0, f"an empty store says that it has {store.size()}"


def an_invalidation_is_never_lost(make: MakeStore) -> None:
    """An answer whose call began before an invalidation is not stored after it; a later one is."""
    store = make()
    seen = store.generation()
    store.invalidate(["x"])
    said = store.write([_row(store, "a", ("x",), seen=seen), _row(store, "b", ("other",), seen=seen)])
    assert store.get("a") is None, "an answer that was made before its tag was invalidated came back"
    assert (said, store.get("b")) == (1, b"{}"), f"write said {said}; only the tag x was invalidated"
    store.write([_row(store, "a", ("x",))])
    assert store.get("a") == b"{}", "an answer made after the invalidation was not stored"
    store.invalidate([EVERYTHING])
    store.write([_row(store, "c", ("other",), seen=seen)])
    assert store.get("c") is None, "the tag * was invalidated, and an older answer came back"


def tags_are_those_of_the_last_write(make: MakeStore) -> None:
    """An entry that is written again has its new tags only."""
    store = make()
    store.write([_row(store, "a", ("old",))])
    store.write([_row(store, "a", ("new",))])
    store.invalidate(["old"])
    assert store.get("a") == b"{}", "a tag that the entry has no more took it"
    store.invalidate(["new"])
    assert store.get("a") is None, "the tag of the last write did not take it"


def a_lease_has_one_owner_until_it_ends(make: MakeStore) -> None:
    """One owner at a time makes an entry; release and renew are the owner's."""
    store = make()
    assert store.lease("a", "me", 100) and store.lease("a", "me", 100), "the owner cannot take its own lease again"
    assert not store.lease("a", "you", 100), "two owners hold one lease"
    store.release("a", "you")
    assert not store.lease("a", "you", 100), "somebody else released the lease"
    store.release("a", "me")
    assert store.lease("a", "you", 0.01), "a released lease cannot be taken"
    _until(lambda: store.lease("a", "me", 0.05), "a lease that has ended cannot be taken")
    store.renew("me", 100)
    time.sleep(0.06)  # the time of a lease is the store's: it cannot be set forward
    assert not store.lease("a", "you", 100), "a renewed lease ended"


def counters_add_up_and_notes_come_newest_first(make: MakeStore) -> None:
    """``count`` adds; ``noted`` gives the newest first, by the beginning of the key."""
    store = make()
    store.count({(1, "model", "hit"): 2})
    store.count({(1, "model", "hit"): 1, (2, "model", "miss"): 1})
    assert store.counted() == {(1, "model", "hit"): 3, (2, "model", "miss"): 1}, f"counted: {store.counted()}"
    for i in range(3):
        store.note(f"ab{i}", str(i).encode())
    assert store.noted("ab") == [("ab2", b"2"), ("ab1", b"1"), ("ab0", b"0")], f"noted: {store.noted('ab')}"
    assert store.noted("ab1") == [("ab1", b"1")], "noted(prefix) does not go by the beginning"


def threads_can_share_it(make: MakeStore) -> None:
    """Writes and invalidations of many threads at once lose nothing and break nothing."""
    store, problems = make(), list[BaseException]()

    def work(n: int) -> None:
        try:
            for i in range(10):
                store.write([_row(store, f"{n}-{i}", (f"t{i}", "all"))])
                store.invalidate([f"t{i - 1}"])
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            problems.append(error)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "threads wait for each other for ever"
    assert not problems, f"a thread failed: {problems[0]!r}"
    store.invalidate(["t9"])
    assert store.size()[0] == 0, f"{store.size()[0]} entries are left although each tag was invalidated"


def two_views_of_a_shared_store_agree(make: MakeStore) -> None:
    """Where ``shared`` is true: what one process writes the other reads, what one invalidates is gone for both."""
    one, other = make(), make()
    if not one.shared:
        return
    one.write([_row(one, "a", ("x",))])
    assert other.get("a") == b"{}", "shared is true, and the other does not see what was written"
    before = one.generation()
    other.invalidate(["x"])
    assert one.generation() > before, "the other's invalidation did not raise this generation"
    assert one.get("a") is None, "the other's invalidation left the entry here"


def _until(true: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, problem
        time.sleep(0.005)


STORE_CHECKS: dict[str, Callable[[MakeStore], None]] = {
    check.__name__: check
    for check in (
        what_was_written_is_there_until_it_is_gone,
        a_tag_takes_all_its_entries_and_no_other,
        an_invalidation_is_never_lost,
        tags_are_those_of_the_last_write,
        a_lease_has_one_owner_until_it_ends,
        counters_add_up_and_notes_come_newest_first,
        threads_can_share_it,
        two_views_of_a_shared_store_agree,
    )
}


def check_store(make: Callable[[str], CacheStore]) -> dict[str, str]:
    """Run every check; what failed, by the name of the check. Empty: all passed.

    Args:
        make: a store from the name of a place; stores of one place share, those of different places are empty at first.
    """
    failed: dict[str, str] = {}
    for name, check in STORE_CHECKS.items():
        opened: list[CacheStore] = []

        def one(name: str = name, opened: list[CacheStore] = opened) -> CacheStore:
            opened.append(make(name))
            return opened[-1]

        try:
            check(one)
        except Exception as error:  # noqa: BLE001 - reported
            failed[name] = f"{type(error).__name__}: {error}"
        finally:
            for store in opened:
                store.close()
    return failed


class StoreConformance:
    """Subclass in a test module and return your store from :meth:`make`; pytest runs every check."""

    def make(self, place: str) -> CacheStore:
        """A store; those of one ``place`` share what they hold, those of different places are empty at first."""
        raise NotImplementedError("return your store from make()")

    def _check(self, name: str) -> None:
        opened: list[CacheStore] = []

        def one() -> CacheStore:
            opened.append(self.make(name))
            return opened[-1]

        try:
            STORE_CHECKS[name](one)
        finally:
            for store in opened:
                store.close()

    def test_what_was_written_is_there_until_it_is_gone(self) -> None:
        self._check("what_was_written_is_there_until_it_is_gone")

    def test_a_tag_takes_all_its_entries_and_no_other(self) -> None:
        self._check("a_tag_takes_all_its_entries_and_no_other")

    def test_an_invalidation_is_never_lost(self) -> None:
        self._check("an_invalidation_is_never_lost")

    def test_tags_are_those_of_the_last_write(self) -> None:
        self._check("tags_are_those_of_the_last_write")

    def test_a_lease_has_one_owner_until_it_ends(self) -> None:
        self._check("a_lease_has_one_owner_until_it_ends")

    def test_counters_add_up_and_notes_come_newest_first(self) -> None:
        self._check("counters_add_up_and_notes_come_newest_first")

    def test_threads_can_share_it(self) -> None:
        self._check("threads_can_share_it")

    def test_two_views_of_a_shared_store_agree(self) -> None:
        self._check("two_views_of_a_shared_store_agree")
