"""What is found, and what only looks like it."""

from __future__ import annotations

import importlib.util
import itertools
import time
from pathlib import Path

import pytest

from chainops.errors import SetupError
from chainops.middleware.pii import KINDS, Finding, PatternDetector, Scanner, checksums, resolve
from chainops.middleware.pii.evaluate import evaluate, mistakes, read_labelled, wilson

ROOT = Path(__file__).resolve().parents[4]
SCANNER = Scanner()
# structured kinds: what has a form of its own
STRUCTURED = [kind for kind in KINDS if kind not in ("PERSON", "LOCATION", "ADDRESS")]


def found(text, field=""):
    return [(f.kind, text[f.start : f.end]) for f in SCANNER.find(text, field)]


def made(count, seed):
    spec = importlib.util.spec_from_file_location("make_labelled", ROOT / "tests/data/pii/make_labelled.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.labelled(count, seed)


def test_the_log_of_the_seed():
    log = "User: John Doe, email john@example.com\nBot: Hi John! Based on your location in Bangalore..."
    assert found(log) == [("PERSON", "John Doe"), ("EMAIL", "john@example.com"), ("LOCATION", "Bangalore")]


@pytest.mark.parametrize("form", ["2345 6789 0124", "234567890124", "2345-6789-0124"])
def test_an_aadhaar_number_is_found_in_any_form(form):
    assert found(f"My Aadhaar number is {form}.") == [("AADHAAR", form)]
    assert found(f"It is {form}.") == [("AADHAAR", form)]


HIDDEN = [
    ("CREDIT_CARD", "4111  1111  1111  1111"), ("CREDIT_CARD", "4111.1111.1111.1111"),
    ("CREDIT_CARD", "4111\n1111 1111 1111"), ("CREDIT_CARD", "4111\u00a01111\u20111111\u20131111"),
    ("CREDIT_CARD", "4111\u200b1111\u200b1111\u200b1111"), ("CREDIT_CARD", "４１１１ １１１１ １１１１ １１１１"),
    ("CREDIT_CARD", "٤١١١١١١١١١١١١١١١"), ("CREDIT_CARD", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
    ("AADHAAR", "2345\u00a06789\u00a00124"), ("AADHAAR", "२३४५ ६७८९ ०१२४"), ("AADHAAR", "2345  6789  0124"),
    ("AADHAAR", "2 3 4 5 6 7 8 9 0 1 2 4"), ("EMAIL", "john＠example。com"), ("EMAIL", "jo\u200bhn@example.com"),
    ("EMAIL", "john%40example.com"), ("IBAN", "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000"),
    ("IBAN", "DE89 3704 0044 0532\n0130 00"), ("US_SSN", "531\u201121\u20117351"), ("PHONE", "+49\u00a030\u00a0901820"),
    ("PHONE", "＋４９ 30 901820"), ("PHONE", "+49 30\n901820"), ("PAN", "ＡＢＣＰＥ1234Ｆ"),
    ("API_KEY", "sk-abcdEFGH\u00ad1234567890abcd"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), HIDDEN)
def test_a_value_is_found_however_its_digits_and_blanks_are_written(kind, value):
    for text in (f"It is {value}.", f"so:\n{value}\nthat is it", f'{{"a": "x\\n{value}\\ny"}}'):
        assert [(k, v) for k, v in found(text) if k == kind] == [(kind, value)]


def test_three_digits_behind_a_card_do_not_hide_it():
    assert found("4111 1111 1111 1111 123") == [("CREDIT_CARD", "4111 1111 1111 1111")]


def test_a_password_in_a_url_is_no_mail_address():
    assert found("postgres://ann:s3cretpw@db.example/x") == [("SECRET", "s3cretpw")]


@pytest.mark.parametrize("text", ["I'm John Doe.", "I am John Doe, hello"])
def test_who_says_who_they_are_is_a_person(text):
    assert found(text) == [("PERSON", "John Doe")]


def test_digits_with_a_wrong_check_digit_are_no_number_of_a_person():
    assert found("order 2345 6789 0125, item 4111111111111112, DE88 3704 0044 0532 0130 00") == []


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3.4", "commit 0123456789abcdef0123456789abcdef01234567", "It was in May 2019.", "at 12:30",
        "ISBN 978-3-161-48410-0", "order 415-555-2671", "127.0.0.1", "1,234,567.89 EUR", "2024-05-06 07:08:09",
        "your password is required", "the key is missing", "3.14159265358979", "Call me May.", "Mark my words",
        "uuid 550e8400-e29b-41d4-a716-446655440000", "0000 0000 0000 0000", "Dear Sir or Madam", "the token: forgotten",
        "2021 2022 2024 2025", "4100\n4200\n4300\n4400", "I'm happy", "I am from Berlin", "1 2 3 4 5 6 7 8 9 10 11 12",
        "10² m, ½, ①②③④", "MAC users abcdefabcdef", "C:\\new\\text\\run.txt", "Ω≈ç√∫ 👍🏽 ❤️ 1️⃣",
    ],
)  # fmt: skip
def test_what_only_looks_like_something_is_nothing(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("field", "text", "kind"),
    [
        ("password", "correct horse battery", "SECRET"),
        ("api_key", "a1b2c3d4e5", "SECRET"),
        ("phone", "901 820 123", "PHONE"),
        ("date_of_birth", "1980-03-12", "DATE_OF_BIRTH"),
        ("ssn", "531217351", "US_SSN"),
    ],
)
def test_the_name_of_a_field_is_context(field, text, kind):
    assert found(text, field) == [(kind, text)]
    assert found(text) == []


def test_a_field_named_token_that_holds_words_is_no_secret():
    assert found("Hello there", "token") == []


def test_of_findings_that_overlap_no_part_stays_uncovered():
    sure, vague = Finding(4, 12, "CREDIT_CARD", 1.0), Finding(0, 9, "PHONE", 0.8)
    assert resolve([vague, sure]) == [Finding(0, 4, "PHONE", 0.8), sure]
    around = Finding(0, 20, "ADDRESS", 0.7)
    assert resolve([around, sure]) == [around]
    covered = {i for f in resolve([vague, sure, around]) for i in range(f.start, f.end)}
    assert covered == set(range(20))


def test_a_card_inside_a_longer_number_does_not_hide_the_next_one():
    assert found("12 4111 1111 1111 1111 9") == [("CREDIT_CARD", "4111 1111 1111 1111")]
    assert found("9999 4111 1111 1111 1111") == [("CREDIT_CARD", "4111 1111 1111 1111")]


def test_a_cut_private_key_is_covered_as_far_as_it_goes():
    text = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0B"
    assert found(f"{text}") == [("PRIVATE_KEY", text)]


def test_check_digits():
    assert checksums.luhn("79927398713")
    assert not checksums.luhn("79927398710")
    assert checksums.verhoeff("2363")
    assert checksums.iban("GB82WEST12345698765432")


def test_only_the_kinds_that_are_wanted_are_found():
    scanner = Scanner([PatternDetector(["EMAIL"])])
    assert [f.kind for f in scanner.find("a@b.io 4111 1111 1111 1111")] == ["EMAIL"]


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(SetupError, match="EMIAL") as error:
        PatternDetector(["EMIAL"])
    assert "EMAIL" in error.value.hint


def test_findings_of_other_detectors_join_those_of_the_patterns():
    class Names:
        def find(self, text, field=""):
            yield Finding(0, 3, "PERSON", 0.9)
            yield Finding(4, 9, "PERSON", 0.2)

    text = "Ann wrote to a@b.io"
    assert [(f.kind, f.start) for f in Scanner([PatternDetector(), Names()]).find(text)] == [
        ("PERSON", 0),
        ("EMAIL", 13),
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_recall_and_precision_on_made_texts(tmp_path, seed):
    import json

    file = tmp_path / "labelled.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in made(700, seed)))
    texts = read_labelled(file)
    *kinds, total = evaluate(SCANNER, texts)
    assert total.there > 500
    assert total.recall >= 0.97, list(mistakes(SCANNER, texts))
    assert total.precision >= 0.97, list(mistakes(SCANNER, texts))
    assert [score.kind for score in kinds if score.recall < 0.9] == []
    assert {score.kind for score in kinds} <= set(STRUCTURED)


def test_recall_and_precision_on_the_texts_of_presidio():
    file = ROOT.parent / "shared/data/pii/presidio_generated_small.json"
    if not file.is_file():
        pytest.skip("the set of presidio-research is not on this machine")
    total = evaluate(SCANNER, read_labelled(file), ["EMAIL", "PHONE", "CREDIT_CARD", "US_SSN", "IP_ADDRESS"])[-1]
    assert total.there == 27
    assert total.recall >= 0.97
    assert total.precision >= 0.97


@pytest.mark.parametrize(
    "part",
    [
        "1 ",
        "(1",
        "://a:",
        "1-",
        "A ",
        "a@",
        "12 Ab ",
        "-----BEGIN PRIVATE KEY-----_",
        "key: a1",
        "I'm Aa ",
        "2345 ",
        "4111 1111\n",
        "1\u200b",
        "DE89\n",
    ],
)
def test_the_time_is_linear_in_a_hostile_text(part):
    def taken(size):
        text = (part * (size // len(part) + 1))[:size]
        best = 1e9
        for _ in range(3):
            began = time.process_time()
            SCANNER.find(text)
            best = min(best, time.process_time() - began)
        return best

    # four times the text; a quadratic search would take sixteen times as long
    assert taken(40_000) < 9 * taken(10_000) + 0.005


def test_many_findings_that_overlap_are_told_apart_in_linear_time():
    def taken(count):
        chain = [Finding(2 * i, 2 * i + 3, "PERSON", 0.6 + 0.1 * (i % 3)) for i in range(count)]
        began = time.process_time()
        found = resolve(chain)
        assert all(a.end <= b.start for a, b in itertools.pairwise(found))
        assert {i for f in found for i in range(f.start, f.end)} == set(range(2 * count + 1))
        return time.process_time() - began

    assert min(taken(20_000) for _ in range(3)) < 9 * min(taken(5_000) for _ in range(3)) + 0.01


def test_intervals_are_those_of_wilson():
    low, high = wilson(8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert wilson(0, 0) is None


@pytest.mark.parametrize(
    "text", ["", "{", '{"text": 1, "spans": []}', '{"text": "a", "spans": [{"start": 0, "end": 9, "kind": "X"}]}']
)
def test_a_file_of_another_form_is_a_clear_mistake(tmp_path, text):
    file = tmp_path / "labelled.jsonl"
    file.write_text(text)
    with pytest.raises(SetupError) as error:
        read_labelled(file)
    assert error.value.code == "setup.pii_file"


def test_a_day_too_large_for_a_computer_is_no_date_and_does_no_harm() -> None:
    assert [f.kind for f in Scanner().find("phone 1990 1 9999999999")] == ["PHONE"]
