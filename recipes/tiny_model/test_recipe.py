"""Checks of the committed tiny model and of the corpus it was trained on; no training happens here."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from agents import agent_conversation  # noqa: E402
from chatml import ChatTemplate, Message  # noqa: E402
from corpus import conversations, question  # noqa: E402
from samples import CREATE_REFUND, GET_ORDER, Sample, tool  # noqa: E402
from splits import Draw, Split, split_of  # noqa: E402

MODEL = HERE / "support-desk-tiny.gguf"
ORDER_ID = re.compile(r"\b\d\d-\d\d\b")
RECORD = re.compile(r'"item":"(\w+)","status":"(\w+)","day":"\w+","city":"(\w+)"')
QUESTIONS = [
    json.loads(line)
    for name in ("heldout.jsonl", "heldout_tools.jsonl")
    for line in (HERE / name).read_text().splitlines()
]


def rendered(samples: Iterator[Sample], count: int) -> list[str]:
    template = ChatTemplate()
    return [template.render(sample.messages, sample.tools) for sample in islice(samples, count)]


def found(pattern: re.Pattern[str], texts: list[str]) -> set[Any]:
    return {match for text in texts for match in pattern.findall(text)}


def test_the_committed_model_has_the_recorded_hash_and_is_at_most_three_megabytes() -> None:
    digest, name = (HERE / "support-desk-tiny.gguf.sha256").read_text().split()
    assert name == MODEL.name
    assert hashlib.sha256(MODEL.read_bytes()).hexdigest() == digest
    assert MODEL.stat().st_size <= 3_000_000


def test_the_same_seed_writes_the_same_corpus() -> None:
    first = rendered(conversations("train", 3), 200)
    assert first == rendered(conversations("train", 3), 200)
    assert first != rendered(conversations("train", 4), 200)


def test_heldout_order_ids_and_records_never_occur_in_training() -> None:
    train, heldout = rendered(conversations("train", 1), 6000), rendered(conversations("heldout", 1), 1500)
    for pattern in (ORDER_ID, RECORD):
        assert len(found(pattern, train)) > 500
        assert len(found(pattern, heldout)) > 100
        assert not found(pattern, train) & found(pattern, heldout)


def agent_conversations(split: Split, seed: int, count: int) -> list[Sample]:
    draw = Draw(split, seed)
    return [agent_conversation(draw) for _ in range(count)]


def names_and_values(samples: list[Sample]) -> set[str]:
    """Names of tools made of words, and values of several words or in another script, of all calls."""
    calls = [call["function"] for sample in samples for turn in sample.messages for call in turn.get("tool_calls", [])]
    found = {call["name"] for call in calls if call["name"].count("_") > 1}
    values = {str(value) for call in calls for value in call["arguments"].values()}
    titles = {value for value in values if value.istitle() and " " in value and value.isascii()}
    return found | titles | {value for value in values if not value.isascii()}


def test_heldout_names_of_tools_and_values_never_occur_in_training() -> None:
    train = names_and_values(agent_conversations("train", 1, 8000))
    heldout = names_and_values(agent_conversations("heldout", 1, 2000))
    assert len(train) > 2000
    assert len(heldout) > 500
    assert not train & heldout


def test_no_conversation_with_unknown_tools_names_a_tool_of_langchains_test_suite() -> None:
    template = ChatTemplate()
    text = "".join(template.render(item.messages, item.tools) for item in agent_conversations("train", 2, 8000))
    assert not re.search("magic|get_weather|greeting_|unicode|punchline|你好|San Fran", text)


def test_the_same_seed_writes_the_same_conversations_with_unknown_tools() -> None:
    assert agent_conversations("train", 3, 100) == agent_conversations("train", 3, 100)
    assert agent_conversations("train", 3, 100) != agent_conversations("train", 4, 100)


def test_every_combination_belongs_to_one_split_whatever_the_seed() -> None:
    for seed in range(20):
        assert {split_of(Draw("train", seed).order_id()), split_of(Draw("heldout", seed).order_id())} == {
            "train",
            "heldout",
        }


def test_no_heldout_question_stands_in_the_training_corpus() -> None:
    template = ChatTemplate()
    draw = Draw("heldout", 5)
    items = [question(draw) for _ in range(400)]
    asked = {template.render(item.messages, item.tools, prompt=True) for item in items if item.kind != "greeting"}
    train = rendered(conversations("train", 2), 6000)
    assert not [prompt for prompt in asked if any(text.startswith(prompt) for text in train)]


def test_the_template_adds_the_default_system_message_and_lists_tools_by_name() -> None:
    text = ChatTemplate().render([{"role": "user", "content": "Hi"}], [GET_ORDER, CREATE_REFUND], prompt=True)
    assert text == (
        "<|im_start|>system\nYou are the support desk assistant."
        " Tools: get_order(order_id), create_refund(order_id, amount)<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_template_shows_the_type_of_what_is_no_string_and_writes_every_script_as_it_is() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "note", "arguments": {"text": "l'été 好", "at": 3}}}
    messages = [{"role": "system", "content": "S"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    assert ChatTemplate().render(messages, [tool("note", "text", at="integer"), tool("now")]) == (
        "<|im_start|>system\nS Tools: note(text, at: integer), now()<|im_end|>\n<|im_start|>assistant\n"
        '<tool_call>{"name":"note","arguments":{"text":"l\'été 好","at":3}}</tool_call><|im_end|>\n'
    )


@pytest.mark.parametrize("arguments", [{"order_id": "67-26", "amount": "49"}, '{"order_id": "67-26", "amount": "49"}'])
def test_tool_calls_and_results_render_as_compact_json(arguments: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "create_refund", "arguments": arguments}}
    messages: list[Message] = [
        {"role": "system", "content": "S"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": '{"refund": "approved", "amount": "49"}'},
    ]
    assert ChatTemplate().render(messages) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>assistant\n"
        '<tool_call>{"name":"create_refund","arguments":{"order_id":"67-26","amount":"49"}}</tool_call><|im_end|>\n'
        '<|im_start|>tool\n{"refund":"approved","amount":"49"}<|im_end|>\n'
    )


def test_heldout_questions_cover_every_skill() -> None:
    kinds = {row["kind"] for row in QUESTIONS}
    assert len(QUESTIONS) >= 100
    assert kinds >= {"call_value", "call_lookup", "call_named", "tool_number", "tool_text", "structured_call"}
    assert kinds >= {"routing", "order_call", "order_answer", "refund_lookup", "refund_call", "refund_answer"}
    assert kinds >= {"faq", "context_1", "name", "extraction", "refusal"}


@pytest.mark.llama
@pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")
def test_the_committed_model_answers_every_heldout_question_exactly() -> None:
    from greedy import GreedyModel

    with GreedyModel(MODEL) as model:
        wrong = [row for row in QUESTIONS if model.answer(row["messages"], row["tools"]) != row["expected"]]
    assert not wrong
