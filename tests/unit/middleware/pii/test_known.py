from __future__ import annotations

import time

from chainops.middleware.pii.known import Known
from chainops.middleware.pii.pattern import Scan


def found(known, text):
    return [(text[c.start : c.end], known.judge(Scan(text), c.start, c.end).kind) for c in known.candidates(text, 0)]


def test_values_are_found_as_whole_words_in_order():
    known = Known({"John Doe": "PERSON", "John": "PERSON", "+49 30 901820": "PHONE", "a@b.io": "EMAIL"})
    text = "Johnny, John Doe (a@b.io), +49 30 901820; xa@b.io John_"
    assert found(known, text) == [
        ("John", "PERSON"),
        ("John Doe", "PERSON"),
        ("a@b.io", "EMAIL"),
        ("+49 30 901820", "PHONE"),
        ("John", "PERSON"),
    ]


def test_a_view_knows_what_was_known_when_it_was_made():
    known = Known()
    assert known.view() is None
    known.add("Ann", "PERSON")
    view = known.view()
    known.add("Bob", "PERSON")
    assert found(view, "Ann Bob") == [("Ann", "PERSON")]
    assert len(found(known, "Ann Bob")) == 2


def test_the_first_kind_of_a_value_stays():
    known = Known({"901820": "PHONE"})
    known.add("901820", "PASSPORT")
    assert found(known, "901820") == [("901820", "PHONE")]


def test_thousands_of_values_cost_no_more_than_the_text():
    known = Known({f"+49 30 {900000 + i}": "PHONE" for i in range(5000)})
    text = "call " + ", ".join(f"+49 30 {900000 + i}" for i in range(5000))
    began = time.process_time()
    assert len(found(known, text)) == 5000
    assert time.process_time() - began < 5  # with a list of all for each "49" it would take minutes
