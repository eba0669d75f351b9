"""What is found in pieces is what is found in the whole."""

from __future__ import annotations

import itertools
import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainops.gate import Gate, guard
from chainops.middleware.pii import KINDS, PatternDetector, Scanner, stream
from chainops.middleware.pii.known import Known
from chainops.middleware.pii.stream import PiiWatch

VALUES = [
    "ann.smith@example.co.uk", "a@b.io", "4111 1111 1111 1111", "4111111111111111", "5500-0000-0000-0004",
    "DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "2345 6789 0124", "234567890124", "ABCPE1234F",
    "531-21-7351", "531217351", "A1234567", "+49 30 901820", "(415) 555-2671", "415-555-2671 x12", "001-420-335-7509",
    "10.20.30.40", "fe80::1ff:fe23:4567:890a", "00:1A:2B:3C:4D:5E", "sk-abcdEFGH1234567890abcd",
    "AKIAIOSFODNN7EXAMPLE", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.abcDEF", "https://ann:s3cret@host.example/x",
    "hunter2!", "12 March 1980", "1980-03-12", "March 5, 1980", "12 Baker Street", "221B Baker Street, Suite 5",
    "P.O. Box 123", "Hauptstraße 12, 10115 Berlin", "John Doe", "Mary-Jane O'Neil", "Bangalore",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc+/=\nabcd\n-----END RSA PRIVATE KEY-----",
    "4111\u00a01111\u20111111\u200b 1111",
    "４１１１１１１１１１１１１１１１", "4111 1111\n1111 1111",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    "4111 1111 1111 1111 123", "२३४५ ६७८९ ०१२४", "2 3 4 5 6 7 8 9 0 1 2 4",
    "DE89 3704 0044 0532\n0130 00", "john＠exa\u200bmple.com",
    "ann%40example.com", "+49 30\n901820", "postgres://ann:s3cretpw@db.example/x",
]  # fmt: skip
SAID = [
    "my name is John Doe", "Her full name is Ann", "the customer's name's John A. Doe", "User: John Doe,",
    "Full name: Ann Lee", '{"name": "Ann Lee"}', "this is John Doe speaking", "I am called Ann Lee",
    "signed, Ann Lee", "Mr. Doe", "Dr Ann Lee", "call me at 030 901820", "my aadhaar is 2345 6789 0120",
    "ssn 531 21 7351", "531217351 is my ssn", "passport no A 1234567", "901820123 is the passport",
    "PAN card abcpe1234f", "born on 12 March 1980", "DOB: 3/12/80", "March 5, 1980 was my birthday",
    "password is hunter2!", "the api key: abc123def", "secret key = 'abc123def'", "ACCESS_TOKEN=abc123def",
    "Bearer abcdefgh12345678", "your location in Bangalore", "lives in New Delhi", "moved to Rio", "city: Berlin",
    "order 415-555-2671", "version 1.2.3.4", "901820 1234 office\n", "\n030 901820 work\n",
    "reach me on 901 82 01 23", "1 415 555 2671", "I'm Ann Lee", "I am John Doe.",
    "mac 001A2B3C4D5E", "passport C01X00T47", "aadhaar 2345\n6789 0120",
    "mobile:\\n+49 30 901820",
]  # fmt: skip
WORDS = [
    "my name is", "User:", "call me at", "phone", "born", "date of birth", "DOB:", "aadhaar", "ssn", "passport no",
    "pan card", "password is", "api_key=", "token:", "Bearer", "order", "invoice", "location in", "lives in", "Mr.",
    "Dr", "this is", "the", "and", "so", "I", "A", "12", "1984", "3.14", ",", ".", "\n", "(", ")", '"', "{", "–", "é",
    "x", "straße", "May", "\u200b", "\u00a0", "\\n", "I am", "my number", "mac",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(VALUES + SAID + WORDS), max_size=14).flatmap(
    lambda parts: st.lists(
        st.sampled_from(["", " ", " ", " ", ": ", "\n"]), min_size=len(parts), max_size=len(parts)
    ).map(lambda seps: "".join(itertools.chain.from_iterable(zip(parts, seps, strict=True))))
)
# nearly all of it digits and what stands between them: runs that could be several things, and end late or never
DIGITS = st.text(alphabet="0123456789", min_size=1, max_size=6)
BETWEEN = st.sampled_from(
    [
        *(" ", " ", "", "  ", "-", ".", "/", ", ", ",", ". ", "\n", "\r\n", " - ", "(", ") ", "+", " +", "\t", ": "),
        *(" of ", " x", " ext. ", "th ", "A ", "a", " Street ", " March ", " mar ", " office\n", " DE", "b12 ", " $"),
        *(" phone ", " born ", " and ", " I ", "\u00a0", "\\n", "/0", " Baker Street ", " de ", "ff", " x ", " | "),
    ]
)
NUMBERS = st.lists(
    DIGITS | st.sampled_from([v for v in VALUES if sum(c.isdigit() for c in v) > 3] + ["2", "19", "1984", "49", "030"]),
    max_size=16,
).flatmap(
    lambda parts: st.lists(BETWEEN, min_size=len(parts), max_size=len(parts)).map(
        lambda seps: "".join(itertools.chain.from_iterable(zip(parts, seps, strict=True)))
    )
)
SCANNER = Scanner()
KNOWN = Known({"John": "PERSON", "Doe": "PERSON", "John Doe": "PERSON", "901820": "PHONE", "Baker": "PERSON"})


def mark(kind: str, value: str) -> str:
    return f"<{kind}>"


WATCH = PiiWatch(SCANNER, mark)


def redacted(text: str) -> str:
    out, done = "", 0
    for f in SCANNER.find(text):
        out, done = out + text[done : f.start] + f"<{f.kind}>", f.end
    return out + text[done:]


@settings(max_examples=400, deadline=None)
@given(TEXT | NUMBERS, st.integers(0, 2**32))
def test_a_stream_in_any_pieces_leaves_as_the_scanned_whole(text: str, seed: int) -> None:
    chosen = random.Random(seed)
    whole = redacted(text)
    assert guard(WATCH, text) == whole
    gate, out, at = Gate(WATCH), "", 0
    while at < len(text):
        step = chosen.choice([1, 1, 2, 3, 5, 8, 40])
        out += gate.feed(text[at : at + step])
        at += step
        assert whole.startswith(out)
    assert out + gate.close() == whole


@settings(max_examples=250, deadline=None)
@given(TEXT | NUMBERS, st.integers(1, 7))
def test_values_that_are_known_already_are_found_in_pieces_too(text: str, size: int) -> None:
    watch = PiiWatch(SCANNER, mark, KNOWN)
    whole = guard(watch, text)
    gate = Gate(watch)
    out = "".join(gate.feed(text[i : i + size]) for i in range(0, len(text), size)) + gate.close()
    assert out == whole
    inside_other_words = text.count("John") - len(re.findall(r"(?<![^\W_])John(?![^\W_])", text))
    assert out.count("John") <= inside_other_words


@settings(max_examples=250, deadline=None)
@given(TEXT | NUMBERS, st.integers(1, 7), st.sets(st.sampled_from(KINDS), min_size=1, max_size=4))
def test_the_same_for_a_choice_of_kinds(text: str, size: int, kinds: set[str]) -> None:
    watch = PiiWatch(Scanner([PatternDetector(kinds)]), mark)
    gate = Gate(watch)
    out = "".join(gate.feed(text[i : i + size]) for i in range(0, len(text), size)) + gate.close()
    assert out == guard(watch, text)


@pytest.mark.parametrize("text", VALUES + SAID)
def test_no_beginning_of_a_value_leaves(text: str) -> None:
    before = "phone, passport, born, password: "
    whole = redacted(before + text + " .")
    gate, out = Gate(WATCH), ""
    for char in before + text + " .":
        out += gate.feed(char)
        assert whole.startswith(out)
    assert out + gate.close() == whole
    if text in VALUES and text not in ("John Doe", "Mary-Jane O'Neil", "Bangalore", "2345 6789 0124"):
        assert "<" in whole


@settings(max_examples=250, deadline=None)
@given(TEXT | NUMBERS, st.integers(0, 60), st.integers(0, 60))
def test_the_quick_looks_change_nothing(text: str, start: int, size: int) -> None:
    """Before the slow search, quick ones say that there is nothing: they must never say so wrongly."""
    text = text[: start + size]
    start = min(text.rfind(" ", 0, start), text.rfind("\n", 0, start)) + 1
    WATCH._waits = "", -1, 0, -1  # of another example
    cut, edits = WATCH.settle(text, start, False)
    with pytest.MonkeyPatch.context() as patch:
        always = re.compile("")
        patch.setattr(stream, "_NOT_PLAIN", always)
        patch.setattr(stream, "_TRIGGER", always)
        patch.setattr(WATCH, "_waits", ("", -1, 0, -1))
        patch.setattr(WATCH, "_opens", [(begins, always, slow) for begins, _, slow in WATCH._opens or ()])
        thorough, found = WATCH.settle(text, start, False)
    assert (thorough, list(found)) == (cut, list(edits))


def test_ordinary_words_wait_for_their_end_only() -> None:
    gate = Gate(WATCH)
    tokens = ["It", " was", " a", " good", " day", ",", " and", " we", " went", " home", "."]
    assert "".join(gate.feed(token) for token in tokens) == "It was a good day, and we went "
    assert gate.close() == "home."


def test_an_ordinary_word_leaves_with_the_very_piece_that_brings_the_blank_behind_it() -> None:
    gate = Gate(WATCH)
    words = ["it", "was", "a", "good", "day", "and", "we", "went", "home"]
    assert [gate.feed(word + " ") for word in words] == [word + " " for word in words]
    gate = Gate(WATCH)
    for word in words:
        gate.feed(" " + word)
        assert gate.held == len(word)


def test_numbers_between_them_keep_no_ordinary_word_waiting_beyond_its_end() -> None:
    gate, come = Gate(WATCH), ""
    for piece in (
        "in",
        " 19",
        "84",
        " we",
        " had",
        " 3",
        ".",
        "50",
        " of",
        " it",
        " and",
        " 12",
        ",",
        "000",
        " went",
        " home",
    ):
        come += piece
        gate.feed(piece)
        assert re.findall("[a-z]+", come[len(come) - gate.held :]) == re.findall("[a-z]+$", come)
    assert gate.feed(" at 7 ") == "home at "
    # with no kind that the words behind a number decide
    gate = Gate(PiiWatch(Scanner([PatternDetector(["CREDIT_CARD"])]), mark))
    for piece in ("2 3 4 5 6 7 8 ", "2 3 4 5 6 7 8 2 3 ", "people", " went", " home"):
        gate.feed(piece)
    assert gate.held == len("home")


@pytest.mark.parametrize(
    "text",
    [
        "Full name: Ann Lee\\nand more",  # the backslash may be the end of a line, or no
        "passport no (\nsee A12034567 - ",  # the digits alone may be another number that goes on
        "name: \\\\n \\",
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_texts_that_once_left_otherwise_in_pieces(text: str, size: int) -> None:
    gate = Gate(WATCH)
    out = "".join(gate.feed(text[i : i + size]) for i in range(0, len(text), size)) + gate.close()
    assert out == guard(WATCH, text) == redacted(text)


@pytest.mark.parametrize("part", ["A ", "1 1 ", "2345 ", "I'm Aa "])
def test_a_stream_of_hostile_text_takes_linear_time(part: str) -> None:
    known = Known({"A A": "PERSON", "1 1 1": "PHONE"})

    def taken(size: int) -> float:
        text = (part * (size // len(part) + 1))[:size]
        gate = Gate(PiiWatch(SCANNER, mark, known))
        began = time.process_time()
        for at in range(0, size, 8):
            gate.feed(text[at : at + 8])
        gate.close()
        return time.process_time() - began

    # four times the text; before, it took sixteen times as long
    assert taken(6000) < 9 * taken(1500) + 0.05
