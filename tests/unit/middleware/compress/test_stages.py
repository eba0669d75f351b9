"""What the single stages leave out, and what they never touch."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from chainops.middleware.compress.asking import question_in
from chainops.middleware.compress.clearing import CLEARED
from chainops.middleware.compress.counting import Counts, TableCounter
from chainops.middleware.compress.draft import Draft
from chainops.middleware.compress.duplicates import drop_duplicates, without_repeats
from chainops.middleware.compress.extract import extract
from chainops.middleware.compress.stages import Job, Results, Structure
from chainops.middleware.compress.structure import lossless, minify, restructure
from chainops.middleware.compress.terse import terse
from chainops.middleware.compress.units import units_of

from .test_middleware import Desk

COUNTS = Counts(TableCounter("o200k"))
DESK = "We ship with Rail Post. Orders above 50 euros ship free. Returns are free for 30 days. Gifts are wrapped."


def repeats(text: str, near: bool = True) -> str:
    return without_repeats(text, {}, 0, near=near)[0]


def test_a_sentence_that_was_said_before_is_left_out() -> None:
    one = "Orders above 50 euros ship free of charge."
    assert repeats(f"{one} Returns take two days and are free. {one}") == f"{one} Returns take two days and are free. "
    assert repeats(f"{one} ORDERS above 50 euros ship free of charge!") == f"{one} "
    assert repeats(f"{one} ORDERS above 50 euros ship free of charge!", near=False).count("50") == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Orders above 50 euros ship free of charge.", "Orders above 60 euros ship free of charge."),
        ("The shop in Oslo is open on Sunday.", "The shop in Oslo is not open on Sunday."),
        ("The shop in Oslo is open on Sunday.", "The shop in Rome is open on Sunday."),
        ("Turn the valve before you start the pump.", "Turn the valve after you start the pump."),
        ("The dog of the man bit the cat.", "The cat of the man bit the dog."),
        ("You can pay with a card in the shop.", "You can't pay with a card in the shop."),
        ("The temperature was -5 degrees in the hall.", "The temperature was 5 degrees in the hall."),
        ("The limit is 1.5 percent of the sum today.", "The limit is 15 percent of the sum today."),
        ("The shop was open on Sunday morning.", "The shop is open on Sunday morning."),
    ],
)
def test_what_differs_in_a_number_a_negation_a_name_or_the_order_is_no_duplicate(one: str, other: str) -> None:
    assert repeats(f"{one} {other}") == f"{one} {other}"


def test_what_leans_on_another_sentence_is_no_duplicate_where_that_one_is_new() -> None:
    one = "Model A is red. It weighs three kilograms in all.\n\n"
    other = "Model B is blue. It weighs three kilograms in all."
    assert without_repeats(one + other, {}, 0, near=True)[0] == one + other
    twice = "Model A of the firm is red. It weighs three kilograms in all."
    assert without_repeats(f"{twice}\n\n{twice}", {}, 0, near=True)[0].strip() == twice
    asked = frozenset(("parcel",))
    left = "The parcel left on the third of May."
    text = f"Order 1 is open.\n{left}\n\nOrder 2 is open.\n{left}"
    assert without_repeats(text, {}, 0, near=True, asked=asked)[0] == text


async def test_what_a_dropped_message_said_is_not_missing_elsewhere() -> None:
    """A duplicate is left out because an earlier message says it; when that one goes, it comes back."""
    fact = "The code of the safe in the back office is four one eight three."
    old = [HumanMessage(fact + " filler" * 300), AIMessage("noted" + " filler" * 300)]
    messages = [*old, HumanMessage("Again: " + fact), AIMessage("yes " * 40), HumanMessage("What is it?")]
    sent = await Desk(windows={"*": 420}, answer_reserve=100).ask(messages)
    assert messages[0] not in sent and any(fact in m.text for m in sent)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_minified_json_is_the_same_json(value: Any) -> None:
    text = json.dumps(value, indent=3, ensure_ascii=False)
    assert json.loads(minify(text)) == value and minify(minify(text)) == minify(text)
    assert lossless(text) == text.rstrip() or json.loads(lossless(text)) == value


def test_numbers_of_json_stay_as_they_are_written() -> None:
    text = '{ "price": 1.50, "big": 12345678901234567890, "small": 1e-7 }'
    assert lossless(text) == '{"price":1.50,"big":12345678901234567890,"small":1e-7}'


def test_nulls_go_and_strings_that_look_like_them_stay() -> None:
    text = json.dumps({"a": None, "b": '"a":null,', "c": [None, 1], "d": {"e": None}}, indent=1)
    assert json.loads(restructure(text)) == {"b": '"a":null,', "c": [None, 1], "d": {}}


def test_a_long_array_keeps_its_ends_and_the_rows_that_are_asked_for() -> None:
    rows = [{"id": i, "city": "Oslo" if i == 57 else "Rome"} for i in range(100)]
    short = json.loads(restructure(json.dumps({"rows": rows}), relevant=lambda row: "Oslo" in row))["rows"]
    assert rows[57] in short and short[:5] == rows[:5] and short[-3:] == rows[-3:]
    assert sum(int(row.split()[1]) for row in short if isinstance(row, str)) == 100 - 9


def test_lines_of_a_log_that_have_one_pattern_are_folded_and_errors_stay() -> None:
    lines = [f"2026-01-01 12:00:{i % 60:02d} INFO request {i} took {i} ms" for i in range(80)]
    lines[33] = "2026-01-01 12:00:33 ERROR the disk is full"
    short = restructure("\n".join(lines))
    assert lines[33] in short and lines[0] in short and lines[-1] in short
    assert len(short) < 0.1 * len("\n".join(lines)) and "[... 32 similar lines ...]" in short


def test_comments_of_code_go_only_by_choice() -> None:
    text = "```python\n# first\nx = 1  # second\n#!shebang\n```"
    assert restructure(text) == text
    assert restructure(text, comments=True) == "```python\nx = 1  # second\n#!shebang\n```"


def tools_history(rounds: int) -> list[Any]:
    found: list[Any] = [SystemMessage("Be kind."), HumanMessage("Look everything up.")]
    for i in range(rounds):
        found.append(AIMessage("", tool_calls=[{"name": "look", "args": {"n": i}, "id": f"c{i}"}]))
        found.append(ToolMessage(f"row {i}: " + " ".join(f"value-{i}-{j}" for j in range(60)), tool_call_id=f"c{i}"))
    return found


async def test_old_results_make_room_with_a_line_that_says_how_to_read_them_again() -> None:
    draft = Draft(tools_history(8), COUNTS)
    await Results().run(draft, Job(goal=draft.tokens // 2, limit=None, strategy="balanced", can_fetch=True))
    texts = [m.text for m in draft.messages if isinstance(m, ToolMessage)]
    assert texts[0].startswith(f"{CLEARED} look, ") and 'fetch_result("c0")' in texts[0]
    assert not any(text.startswith(CLEARED) for text in texts[-3:])
    assert draft.tokens <= draft.counts.messages(draft.given)


async def test_the_results_that_were_cleared_stay_the_same_while_new_ones_come() -> None:
    cleared = []
    for rounds in range(12, 16):
        draft = Draft(tools_history(rounds), COUNTS)
        await Results().run(draft, Job(goal=3500, limit=None, strategy="balanced", step=2000))
        cleared.append(sum(m.text.startswith(CLEARED) for m in draft.messages))
    assert len(set(cleared)) <= 2 and cleared[0] > 0


async def test_structure_keeps_the_row_of_a_result_that_was_asked_for() -> None:
    rows = [{"order": 4000 + i, "state": "sent"} for i in range(200)]
    messages = [
        HumanMessage("Where is order 4117?"),
        AIMessage("", tool_calls=[{"name": "orders", "args": {}, "id": "c"}]),
        ToolMessage(json.dumps(rows, indent=2), tool_call_id="c"),
    ]
    draft = Draft(messages, COUNTS)
    await Structure().run(draft, Job(goal=0, limit=None, strategy="balanced"))
    assert '"order":4117' in draft.messages[2].text and len(draft.messages[2].text) < 1000


async def test_extraction_keeps_the_answer_its_order_its_source_and_its_citation() -> None:
    text = (
        "[1] Shipping\n" + DESK + "\n\n[2] Company\nThe company was founded in 1998 by Ada Berg [4]. It has two shops. "
        "The first one is in Oslo.\n\n[3] Weather\n" + "It rained a lot in spring. The summer was dry. " * 6
    )
    found = await extract(text, 40, query="Who founded the company, and when?", count=COUNTS.text)
    assert "founded in 1998 by Ada Berg [4]." in found.text and "[2] Company" in found.text
    assert "[3] Weather" not in found.text and found.tokens <= 40
    kept = [piece.shown for piece in found.pieces if piece.shown]
    assert kept == sorted(kept, key=text.index)
    assert {piece.why for piece in found.pieces} >= {"answers", "names the source", "not asked for"}
    assert (await extract(found.text, 40, query="Who founded it?", count=COUNTS.text)).text == found.text


async def test_extraction_says_nothing_twice() -> None:
    text = "Orders above 50 euros ship free. " * 5 + "The desk is open until nine. " + "Other news follow here. " * 9
    found = await extract(text, 30, query="Which orders ship free, and until when is the desk open?", count=COUNTS.text)
    assert found.text.count("ship free") == 1 and "until nine" in found.text


async def test_extraction_by_meaning_finds_what_shares_no_word(embedder: Any) -> None:
    things = [f"The {a} stands in the {b}." for a in ("table", "lamp") for b in ("hall", "attic", "yard")]
    text = "\n\n".join([*things, "A physician must be called at once.", *reversed(things)])
    found = await extract(text, 12, query="Get the doctor!", count=COUNTS.text, embedder=embedder)
    assert "physician" in found.text


def test_sentences_end_where_they_end() -> None:
    text = "Dr. A. Berg paid 3.50 euros, e.g. in St. Louis. She left.The shop closed [2]. 今日は。明日は。"
    assert [u.text.strip() for u in units_of(text)] == [
        "Dr. A. Berg paid 3.50 euros, e.g. in St. Louis.",
        "She left.",
        "The shop closed [2].",
        "今日は。",
        "明日は。",
    ]


@given(st.text(alphabet="ab .!?\n|`#[]1\tÄ", max_size=200))
def test_units_cover_a_text_in_order(text: str) -> None:
    units = units_of(text)
    assert all(text[u.start : u.end] == u.text for u in units)
    assert [u.start for u in units] == sorted(u.start for u in units)
    assert "".join("".join(u.text for u in units).split()) == "".join(text.split())


def test_the_question_of_a_long_prompt_is_found() -> None:
    context = "Some facts stand here. " * 40
    assert question_in("Short and clear.") == ["Short and clear."]
    assert question_in(f"{context}\n\nWho paid the bill?") == ["Who paid the bill?"]
    assert question_in(f"Question: the name of the boat\n\n{context}") == ["Question: the name of the boat"]


def test_terse_keeps_numbers_names_and_negations() -> None:
    assert terse("I would like to have the 3 books, but not before Monday.") == "to 3 books, not before Monday."
    assert terse("See `the code` of it.") == "See `the code`."


def test_exact_duplicates_between_messages_stay_with_the_first() -> None:
    result = "Row one of the list has five words. Row two has some more words in it."
    messages = [
        HumanMessage("Look."),
        AIMessage(result),
        HumanMessage("Again?"),
        AIMessage(result + " Done."),
        HumanMessage("?"),
    ]
    draft = Draft(messages, COUNTS)
    drop_duplicates(draft, near=False, changeable={1, 3})
    assert draft.messages[1] == messages[1] and draft.messages[3].text.strip() == "Done."


async def test_the_travel_planner_of_the_seeds_is_told_in_fifteen_tokens(embedder: Any) -> None:
    """51 tokens in the vocabulary of the embedder; Japan, December, food and stay must be kept."""
    from tokenizers import Tokenizer

    from chainops.engines.embeddings import default_place
    from chainops.engines.embeddings.place import TOKENIZER

    tokenizer = Tokenizer.from_file(str(default_place() / TOKENIZER))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    talk = (
        "User: I’m planning a trip to Japan in December. I want suggestions on food and places to stay.\n...\n"
        "Bot: Sure! Tokyo has many hotels. For food, try sushi, ramen, tempura..."
    )
    assert count(talk) == 51
    for judge in (None, embedder):
        short = (await extract(terse(talk), 15, query="", count=count, embedder=judge)).text
        assert count(short) <= 15
        assert all(word in short for word in ("Japan", "December", "food", "stay")), short
