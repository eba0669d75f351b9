from __future__ import annotations

import re

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from chainops.errors import SetupError
from chainops.gate import Patterns, Rule, guard, literals
from chainops.gate.patterns import _sign


@pytest.mark.parametrize("pattern", ["a*", "(", r"\Ga", "(?r)abc", "(?:cat){e<=1}", "(*FAIL)", r"\X", "(?x) a b"])
def test_a_pattern_that_cannot_be_watched_is_refused_by_name(pattern: str) -> None:
    with pytest.raises(SetupError, match="of the rule 'mine'") as error:
        Patterns([Rule("mine", pattern)])
    assert error.value.code == "setup.pattern"


def test_flags_of_one_pattern_do_not_reach_the_others() -> None:
    watch = Patterns([Rule("one", "(?i)abc", "1"), Rule("two", "xyz", "2")])
    assert guard(watch, "ABC XYZ xyz") == "1 XYZ 2"


def test_of_overlapping_matches_no_part_stays() -> None:
    watch = Patterns([Rule("one", "abcd", "<1>"), Rule("two", "cdef", "<2>"), Rule("three", "bc", "<3>")])
    assert guard(watch, "xabcdefx") == "x<1><2>x"


def test_a_list_of_words_finds_whole_words_in_either_case() -> None:
    watch = Patterns([Rule("words", literals(["foo", "foobar", "new york", "C++"]), "*")])
    assert guard(watch, "Foo FOOBAR foob New York newyork (c++) food") == "* * foob * newyork (*) food"


def test_a_list_of_thousands_of_words_is_one_pattern() -> None:
    words = [f"w{i}x" for i in range(5000)]
    found = re.findall(literals(words), "w17x w4999x w5000x w17xx")
    assert found == ["w17x", "w4999x"]


def test_words_are_exact_where_case_counts_and_parts_of_words_where_that_is_wanted() -> None:
    watch = Patterns([Rule("words", literals(["Ab"], whole=False, ignore_case=False), "*")])
    assert guard(watch, "xAbx ab") == "x*x ab"


def test_a_list_without_words_is_a_mistake() -> None:
    with pytest.raises(SetupError, match="empty"):
        literals([""])


def test_without_rules_everything_passes() -> None:
    assert guard(Patterns([]), "anything") == "anything"


@pytest.mark.parametrize(
    ("pattern", "sign"),
    [
        (r"[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}", "@"),
        (r"(?<![^\W_])key=\w{3,9}", "="),
        (r"a{1,3}b", ""),  # the comma says how often
        (r"a=?b@*c", ""),
        (r"a@{0,2}b", ""),
        (r"(?:a@b)?c", ""),
        (r"a@b|c", ""),
        (r"(?:a|b)\@c", "@"),
        (r"[]@]x", ""),
        (r"[^]@]x", ""),
        (r"[a\]@]x", ""),
        (r"\[@x\]", "@"),
        (r"(?i)straße: \S{1,9}", ":"),
        (r"a{@b", "@"),
        (r"[[:alpha:]@]a", ""),
        (r"\p{Script=Latin}{1,9}", ""),
    ],
)
def test_a_sign_is_looked_for_only_where_no_match_is_without_it(pattern: str, sign: str) -> None:
    assert _sign(pattern) == sign


ATOMS = ["a", "@", "\\@", "[@a]", "[]@]", "(a|@)", "(?:@)", "|", "?", "*", "{0,1}", "b="]


@given(st.lists(st.sampled_from(ATOMS), max_size=8))
def test_every_match_has_the_sign_of_its_pattern(parts: list[str]) -> None:
    pattern = "".join(parts)
    try:
        compiled = regex.compile(pattern)
    except regex.error:
        return
    sign = _sign(pattern)
    for match in compiled.finditer("a@b=aab@@ba=b=a @ b"):
        assert sign in match[0]
