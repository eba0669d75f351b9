"""Any text, any split into pieces: what leaves is the guarded whole text, and no beginning of a match."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chainops.gate import Gate, Patterns, Rule, guard, literals

CARD = r"(?<!\d)\d{4}(?:[ -]?\d{4}){3}(?!\d)"
MAIL = r"[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}(?!\w)"
KEY = r"(?<![A-Za-z0-9])sk-[a-z0-9]{4,8}"
RULES = {
    "card": Rule("card", CARD, "<CARD>"),
    "mail": Rule("mail", MAIL, "<MAIL>"),
    "key": Rule("key", KEY, "<KEY>"),
    "denied": Rule("denied", literals(["foo", "foobar", "a b c", "Straße"]), "***"),
    "either": Rule("either", r"(?i)abcdef|abc", lambda value: f"[{len(value)}]"),
    "same": Rule("same", r"(?<q>['\"])[ab ]{1,6}(?P=q)", "''"),
    "counted": Rule("counted", r"([.-])\d\d\1\d\d\1", "#"),
    "edges": Rule("edges", r"\bab\b|\Bba\B", "_"),
    "line": Rule("line", r"(?m)^a[ab ]{0,9}$", "<line>"),
    "ahead": Rule("ahead", r"ab(?=\d\d|\.)|b(?!a)1", "+"),
    "end": Rule("end", r"cab\Z|bab$", "!"),
    "behind": Rule("behind", r"(?<=key: )\S{1,12}", "<value>"),
}
ALL = Patterns(RULES.values())
# few characters, so that matches, halves of matches and overlaps of them are frequent
SEEDS = "4111 1111 1111 1111|4111111111111111|sk-abcd12|ann@example.com|foo|foobar|abc|abcdef| |key: |x|.|1|-12-34-|-12"
PARTS = f"{SEEDS}|'ab'|ab|ba|a b c|straße|STRASSE|ſ|é|\n".split("|")
TEXT = st.text(alphabet="abc1234 -.@\n'sk", max_size=60) | st.lists(st.sampled_from(PARTS), max_size=12).map("".join)


def pieces(text: str, cuts: list[int]) -> list[str]:
    at = [0, *sorted(c % (len(text) + 1) for c in cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(at)]


@settings(max_examples=400, deadline=None)
@given(TEXT, st.lists(st.integers(0, 500), max_size=20), st.sets(st.sampled_from(sorted(RULES)), min_size=1))
@example("4111 1111 1111 1111@a.bc", [3, 9, 20], {"card", "mail"})
@example("abcd", [3], {"either"})
def test_what_leaves_is_the_guarded_whole_text_at_any_time(text: str, cuts: list[int], names: set[str]) -> None:
    watch = Patterns(RULES[name] for name in sorted(names))
    whole = guard(watch, text)
    gate, out = Gate(watch), ""
    for piece in pieces(text, cuts):
        out += gate.feed(piece)
        assert whole.startswith(out)
    assert out + gate.close() == whole
    assert gate.held == 0


@settings(max_examples=200, deadline=None)
@given(TEXT, st.integers(1, 9))
def test_the_guarded_text_does_not_depend_on_the_length_of_the_pieces(text: str, size: int) -> None:
    gate = Gate(ALL)
    out = "".join(gate.feed(text[i : i + size]) for i in range(0, len(text), size)) + gate.close()
    assert out == guard(ALL, text)


SECRETS = st.from_regex(r"\A(?:[2-9][0-9]{3}(?:[ -]?[0-9]{4}){3}|sk-[a-z0-9]{4,8}|[a-z.]{1,9}@[a-z]{1,9}\.com)\Z")


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["", "the card ", "so it is: ", "x (", "line\n"]), SECRETS, st.sampled_from(["", ".", " and", "\n"])
)
def test_no_beginning_of_a_secret_leaves(before: str, secret: str, after: str) -> None:
    watch = Patterns(RULES[name] for name in ("card", "mail", "key"))
    gate, out = Gate(watch), ""
    for char in before + secret:
        out += gate.feed(char)
        assert before.startswith(out)
    out += gate.feed(after) + gate.close()
    assert secret not in out
    assert out.startswith(before + "<")


def test_ordinary_words_pass_at_once() -> None:
    gate = Gate(Patterns([RULES["card"], RULES["key"], RULES["denied"]]))
    for token in ("The", " quick", " brown", " dog", " jumps", ",", " and", " the", " year", " was", " nice", "."):
        assert gate.feed(token) == token


def test_where_a_word_could_begin_an_address_it_waits_for_the_next_character_only() -> None:
    gate = Gate(Patterns([RULES["mail"]]))
    assert [gate.feed(token) for token in ("Write", " to", " ann", " now")] == ["", "Write ", "to ", "ann "]


@pytest.mark.parametrize("end", [" ", "\n", ", ", " (", '" ', "; "])
def test_with_a_rule_on_addresses_a_word_leaves_with_the_very_piece_that_ends_it(end: str) -> None:
    gate = Gate(Patterns(RULES[name] for name in ("mail", "card", "key")))
    # behind its word the end stands in the same piece, or comes with the next: neither waits for more
    assert [gate.feed(f"{word}{end}") for word in ("write", "to", "ann")] == [
        f"{w}{end}" for w in ("write", "to", "ann")
    ]
    assert [gate.feed(piece) for piece in ("now", end, "or", end + "later")] == ["", "now" + end, "", "or" + end]


def test_with_a_rule_on_addresses_never_more_than_the_last_word_waits() -> None:
    gate = Gate(Patterns(RULES[name] for name in ("mail", "card", "key")))
    for token in ("It", " was", " a", " good", " day", ",", " and", " we", " went", " home", "."):
        gate.feed(token)
        assert gate.held <= len(token.strip()) + (token == ".") * len("home")


def test_rules_on_numbers_keep_no_ordinary_word_waiting() -> None:
    numbers = {"phone": r"(?<![\w.])\+?\d(?:[ ./-]?\d){6,14}(?!\d)", "date": r"(?<!\d)\d{1,2}\.\d{1,2}\.\d{4}(?!\d)"}
    gate = Gate(Patterns([RULES["card"], *(Rule(name, pattern) for name, pattern in numbers.items())]))
    for token in ("The", " quick", " brown", " dog", " jumps", ",", " and", " the", " year", " was", " nice", "."):
        assert gate.feed(token) == token


def test_numbers_leave_as_soon_as_they_can_be_no_match() -> None:
    gate = Gate(Patterns([RULES["card"]]))
    assert [gate.feed(token) for token in ("in ", "19", "84", " it", " was")] == ["in ", "", "", "1984 it", " was"]


def test_long_texts_keep_their_context() -> None:
    gate = Gate(Patterns([RULES["behind"], RULES["key"]]))
    text = "word " * 2000 + "key: hunter2 and sk-abcd " + "word " * 2000 + "xsk-abcd key: other"
    out = "".join(gate.feed(text[i : i + 7]) for i in range(0, len(text), 7)) + gate.close()
    assert out == guard(Patterns([RULES["behind"], RULES["key"]]), text)
    assert "hunter2" not in out
    assert "other" not in out
    assert "xsk-abcd" in out


def test_a_candidate_that_never_ends_is_held_and_costs_linear_time() -> None:
    looks = 0

    class Counting(Patterns):
        def settle(self, text: str, start: int, final: bool):  # type: ignore[no-untyped-def]
            nonlocal looks
            looks += len(text) - start
            return super().settle(text, start, final)

    gate = Gate(Counting([Rule("block", r"BEGIN(?s:.){0,100000}END", "<block>")]))
    text = "BEGIN" + "x" * 20_000
    assert "".join(gate.feed(c) for c in text) == ""
    assert looks < 20 * len(text)
    assert gate.held == len(text)
    assert gate.feed("END. ") + gate.close() == "<block>. "


def test_a_gate_whose_watch_raised_stays_shut() -> None:
    def refuse(value: str) -> str:
        raise PermissionError("no")

    gate = Gate(Patterns([Rule("denied", "secret", refuse)]))
    assert gate.feed("a se") == "a "
    for _ in range(2):
        with pytest.raises(PermissionError):
            gate.feed("cret text")
    with pytest.raises(PermissionError):
        gate.close()


def test_a_gate_counts_its_edits() -> None:
    gate = Gate(Patterns([RULES["key"]]))
    gate.feed("sk-abcd1234 sk-abcd5678")
    gate.close()
    assert gate.edits == 2
