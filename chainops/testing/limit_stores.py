"""What every store of shared limits must keep true: for stores that plugins bring.

Subclass :class:`LimitStoreConformance` in a test module, or call :func:`check_limit_store` from a script.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from chainops.middleware.limits.shared import Admission, LimitStore

__all__ = ["LIMIT_STORE_CHECKS", "LimitStoreConformance", "check_limit_store"]

MakeStore = Callable[[], LimitStore]
MINUTE = 60.0


def _asks(owner: str, *, key: str = "k", places: int | None = None, **rates: tuple[float, float, float]) -> Admission:
    return Admission(key=key, owner=owner, places=places, rates=rates)


def a_rate_lets_its_burst_start_and_spaces_the_rest(make: MakeStore) -> None:
    """Calls within the tolerance start at once; each further one waits one interval longer. Keys are apart."""
    store = make()
    once_a_minute_two_at_once = (1.0, MINUTE, MINUTE)
    waits = [store.admit(_asks(f"o{i}", requests=once_a_minute_two_at_once)) for i in range(4)]
    assert None not in waits, f"a rate without places answered {waits!r}"
    got = [round(wait or 0.0) for wait in waits]
    assert got == [0, 0, 60, 120], f"waits of four calls at one a minute with a burst of two: {got}"
    other = store.admit(_asks("x", key="other", requests=once_a_minute_two_at_once))
    assert other is not None and other < 1, f"another key waits {other} seconds"


def the_longest_of_several_rates_counts(make: MakeStore) -> None:
    """A call waits for the rate that is furthest, and every rate is charged."""
    store = make()
    rates = {"requests": (1.0, 1.0, 100.0), "tokens": (100.0, 1.0, 10.0)}
    first, second = (store.admit(Admission("k", owner, None, rates)) for owner in ("a", "b"))
    assert (round(first or 0), round(second or 0)) == (0, 90), f"waited {first} and {second}, wanted 0 and 90"


def what_was_not_used_is_given_back(make: MakeStore) -> None:
    """``settle`` moves a rate by seconds, in both directions."""
    store = make()
    rate = (100.0, 1.0, 0.0)
    store.admit(_asks("a", tokens=rate))
    store.settle("k", [("tokens", 90.0)])
    wait = store.admit(_asks("b", tokens=rate))
    assert wait is not None and 8 < wait <= 10.5, f"100 s were reserved and 90 given back, the next waits {wait}"
    store.settle("k", [("tokens", -50.0)])
    later = store.admit(_asks("c", tokens=rate))
    assert later is not None and 155 < later <= 161, f"50 s more were used than reserved, the next waits {later}"


def places_are_taken_and_freed(make: MakeStore) -> None:
    """At most so many owners at once; a refused call reserves nothing; only the owner's place is freed."""
    store = make()
    rate = (1.0, MINUTE, MINUTE)
    assert store.admit(_asks("a", places=2, requests=rate)) is not None
    assert store.admit(_asks("b", places=2, requests=rate)) is not None
    assert store.admit(_asks("c", places=2, requests=rate)) is None, "a third owner got one of two places"
    store.release("k", "nobody")
    assert store.admit(_asks("c", places=2, requests=rate)) is None, "somebody else's release freed a place"
    store.release("k", "a")
    wait = store.admit(_asks("c", places=2, requests=rate))
    assert wait is not None, "a freed place cannot be taken"
    assert round(wait) == 60, f"the third call waits {wait} s: a refused one must not be charged"


def many_threads_never_take_more_places_than_there_are(make: MakeStore) -> None:
    """``admit`` is atomic: of twenty threads at once, exactly five get one of five places."""
    stores = [make() for _ in range(4)]
    got: list[str] = []
    start = threading.Barrier(20)

    def work(n: int) -> None:
        start.wait()
        if stores[n % 4].admit(_asks(f"o{n}", places=5)) is not None:
            got.append(f"o{n}")

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(got) == 5, f"{len(got)} owners got one of five places"


LIMIT_STORE_CHECKS: dict[str, Callable[[MakeStore], None]] = {
    check.__name__: check
    for check in (
        a_rate_lets_its_burst_start_and_spaces_the_rest,
        the_longest_of_several_rates_counts,
        what_was_not_used_is_given_back,
        places_are_taken_and_freed,
        many_threads_never_take_more_places_than_there_are,
    )
}


def check_limit_store(make: Callable[[str], LimitStore]) -> dict[str, str]:
    """Run every check; what failed, by the name of the check. Empty: all passed.

    Args:
        make: a store from the name of a place; stores of one place count together, others are empty at first.
    """
    failed: dict[str, str] = {}
    for name in LIMIT_STORE_CHECKS:
        try:
            _run(name, make)
        except Exception as error:  # noqa: BLE001 - reported
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def _run(name: str, make: Callable[[str], LimitStore]) -> None:
    opened: list[LimitStore] = []

    def one() -> LimitStore:
        opened.append(make(name))
        return opened[-1]

    try:
        LIMIT_STORE_CHECKS[name](one)
    finally:
        for store in opened:
            store.close()


class LimitStoreConformance:
    """Subclass in a test module and return your store from :meth:`make`; pytest runs every check."""

    def make(self, place: str) -> LimitStore:
        """A store; those of one ``place`` count together, those of different places are empty at first."""
        raise NotImplementedError("return your store from make()")

    def test_a_rate_lets_its_burst_start_and_spaces_the_rest(self) -> None:
        _run("a_rate_lets_its_burst_start_and_spaces_the_rest", self.make)

    def test_the_longest_of_several_rates_counts(self) -> None:
        _run("the_longest_of_several_rates_counts", self.make)

    def test_what_was_not_used_is_given_back(self) -> None:
        _run("what_was_not_used_is_given_back", self.make)

    def test_places_are_taken_and_freed(self) -> None:
        _run("places_are_taken_and_freed", self.make)

    def test_many_threads_never_take_more_places_than_there_are(self) -> None:
        _run("many_threads_never_take_more_places_than_there_are", self.make)
