"""The accounts: whatever happens in whatever order, they add up."""

import os
import sqlite3
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainops.errors import StoreError
from chainops.store.budgets import Allowed, BudgetFile, Claim, Refused

PLACES = [("user/day", "a", "1", "USD"), ("user/day", "b", "1", "USD"), ("all/day", "", "1", "USD")]
HARD = 1000


@pytest.fixture
def file(tmp_path):
    made = BudgetFile(tmp_path / "folder" / "budgets.db")
    yield made
    made.close()


def claims(places, hard=HARD, soft=None):
    return [Claim(PLACES[i], hard, soft) for i in places]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(1, 400), st.sets(st.integers(0, 2), min_size=1)),
        st.tuples(st.just("settle"), st.integers(0, 500), st.integers(0, 30)),
        st.tuples(st.just("release"), st.just(0), st.integers(0, 30)),
    ),
    max_size=40,
)


@settings(max_examples=30, deadline=None)
@given(OPERATIONS)
def test_spent_and_reserved_are_always_the_sum_of_what_happened(tmp_path_factory, operations):
    file = BudgetFile(tmp_path_factory.mktemp("b") / "budgets.db")
    spent, held, order = dict.fromkeys(PLACES, 0), {}, []
    for number, (what, amount, where) in enumerate(operations):
        if what == "reserve":
            asked = claims(sorted(where))
            answer = file.reserve(str(number), amount, asked).result()
            full = [
                c
                for c in asked
                if spent[c.account] + sum(n for n, at in held.values() if c.account in at) + amount > HARD
                or spent[c.account] >= HARD
            ]
            assert isinstance(answer, Refused if full else Allowed)
            if not full:
                held[str(number)] = amount, [c.account for c in asked]
                order.append(str(number))
        elif order:
            id_ = order[where % len(order)]
            reserved = held.pop(id_, None)
            if what == "release":
                file.release(id_)
            elif reserved is not None:
                file.settle(id_, amount, reserved[1])
                for place in reserved[1]:
                    spent[place] += amount
    file.flush()
    found = {account.place: (account.spent, account.reserved) for account in file.accounts()}
    for place in PLACES:
        reserved = sum(n for n, at in held.values() if place in at)
        assert found.get(place, (0, 0)) == (spent[place], reserved)
    file.close()


def test_a_reservation_is_settled_or_given_back_once(file):
    file.reserve("1", 100, claims([0])).result()
    file.settle("1", 70, [PLACES[0]])
    file.release("1")
    file.release("never there")
    file.flush()
    (account,) = file.accounts()
    assert (account.spent, account.reserved, account.calls) == (70, 0, 1)


def test_all_accounts_or_none_are_reserved(file):
    file.reserve("1", 900, claims([2])).result()
    assert file.reserve("2", 200, claims([0, 2])).result() == Refused(1, 0, 900)
    found = {account.place: account for account in file.accounts()}
    assert PLACES[0] not in found
    assert (found[PLACES[2]].reserved, found[PLACES[2]].refused) == (900, 1)


def test_past_the_soft_limit_is_said_for_each_claim(file):
    asked = [Claim(PLACES[0], None, 50), Claim(PLACES[2], None, 500)]
    assert file.reserve("1", 100, asked).result() == Allowed(None, (0,))


def test_a_lock_that_another_program_holds_for_a_moment_is_waited_for(file, tmp_path):
    file.flush()
    other = sqlite3.connect(tmp_path / "folder" / "budgets.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answer = file.reserve("1", 1, claims([0]))
    assert not answer.done()
    other.execute("ROLLBACK")
    other.close()
    assert isinstance(answer.result(10), Allowed)


def test_many_threads_share_one_object(file):
    def work(name):
        for i in range(50):
            file.reserve(f"{name}.{i}", 1, claims([2], hard=None)).result()
            file.settle(f"{name}.{i}", 3, [PLACES[2]])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.flush()
    (account,) = file.accounts()
    assert (account.spent, account.reserved, account.calls) == (900, 0, 300)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_was_forked_goes_on(file):
    file.reserve("1", 10, claims([2])).result()
    child = os.fork()
    if child == 0:
        try:
            file.settle("1", 7, [PLACES[2]])
            file.flush()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    (account,) = file.accounts()
    assert (account.spent, account.reserved) == (7, 0)


def test_a_closed_file_opens_again_when_it_is_asked(file):
    file.reserve("1", 10, claims([2])).result()
    file.close()
    file.settle("1", 7, [PLACES[2]])
    file.flush()
    assert file.accounts()[0].spent == 7


def test_a_file_that_cannot_be_made_is_a_clear_error_for_everybody_who_asks(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("x")
    file = BudgetFile(blocked / "budgets.db")
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            file.reserve("1", 1, claims([0])).result()
        assert caught.value.code == "budgets.file"
    file.close()
