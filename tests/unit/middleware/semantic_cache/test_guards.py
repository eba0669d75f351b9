"""Questions that a vector takes for one, and what tells them apart."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from chainops.middleware.semantic_cache.guards import SOFT, difference, plain_form

DATA = Path(__file__).resolve().parents[3] / "data" / "adversarial_questions.tsv"
with DATA.open(encoding="utf-8", newline="") as _file:
    PAIRS = [(row["category"], row["one"], row["other"]) for row in csv.DictReader(_file, delimiter="\t")]


def test_there_are_two_hundred_pairs_of_every_kind() -> None:
    assert len(PAIRS) >= 200
    assert {kind for kind, _, _ in PAIRS} == {"negation", "numbers", "opposites", "names", "order", "words"}


@pytest.mark.parametrize(("kind", "one", "other"), PAIRS)
def test_every_adversarial_pair_is_refused_both_ways_and_in_small_letters(kind: str, one: str, other: str) -> None:
    assert difference(one, other) and difference(other, one)
    assert difference(one.lower(), other.lower()) and difference(other.lower() + "?", one.lower())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset my password?", "How can I reset my password?"),
        ("How can I track my parcel?", "Where is my package right now?"),
        ("How much is shipping?", "What does delivery cost?"),
        ("what is the capital of france", "What is the capital of France?"),
        ("I am still waiting for my card", "My card hasn't arrived"),
        ("Tell me the opening hours", "When are you open?"),
    ],
)
def test_questions_that_ask_for_the_same_are_not_told_apart(one: str, other: str) -> None:
    assert difference(one, other) == difference(other, one) == ""


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("Can I cancel my order?", "Can I not cancel my order?", "negation"),
        ("Revenue in 2023", "Revenue in 2024", "numbers"),
        ("Is it safe?", "Is it unsafe?", "opposites"),
        ("Weather in Berlin", "Weather in Munich", "names"),
        ("From Paris to Rome", "From Rome to Paris", "order"),
        ("How do I change my password", "How do I change my address", "words"),
    ],
)
def test_the_reason_is_said(one: str, other: str, reason: str) -> None:
    assert difference(one, other) == reason
    assert ("words" in SOFT) and {"words"} >= SOFT


@pytest.mark.parametrize("text", ["", "?", "\ud800", "a" * 100_000, "' '", "\u200b", "12 12 12", "\n\t"])
def test_odd_texts_are_compared_too(text: str) -> None:
    assert difference(text, text) == ""
    difference(text, "How much is shipping?")


def test_white_space_and_marks_at_the_end_do_not_count() -> None:
    assert plain_form("How  much is\nit?!") == plain_form("how much is it") == "how much is it"
    assert plain_form("US tax") != plain_form("us tax")
