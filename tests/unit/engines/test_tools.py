"""Tool calls are read out of text, forced by a grammar, and never half accepted."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, Literal

import pytest

from chainops.engines.llama.tools import ParsedCall, ToolCallParser, parse_call, tool_grammar
from chainops.errors import CallError, SetupError

Chain = Callable[..., Any]

CALL = '<tool_call>{"name":"get_order","arguments":{"order_id":"67-26"}}</tool_call>'


def get_order(order_id: str) -> str:
    """Look an order up."""
    return order_id


def create_refund(order_id: str, amount: int) -> str:
    """Pay money back."""
    return f"{order_id} {amount}"


def parse(parts: list[str]) -> tuple[str, list[ParsedCall]]:
    parser = ToolCallParser()
    found = [item for part in parts for item in parser.feed(part)] + list(parser.finish())
    text = "".join(item for item in found if isinstance(item, str))
    return text, [item for item in found if isinstance(item, ParsedCall)]


def test_a_call_is_found_wherever_the_text_is_cut() -> None:
    text = f"Let me see. {CALL} done <tool"
    for first, second in itertools.combinations(range(len(text)), 2):
        plain, calls = parse([text[:first], text[first:second], text[second:]])
        assert plain == "Let me see.  done <tool"
        assert [(call.name, call.args) for call in calls] == [("get_order", {"order_id": "67-26"})]


def test_several_calls_keep_their_order() -> None:
    _, calls = parse([CALL + CALL.replace("67-26", "11-11")])
    assert [call.args["order_id"] for call in calls if call.args] == ["67-26", "11-11"]
    assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ('{"name":"f","arguments":{"a":', "JSON"),
        ("no json", "JSON"),
        ("[1]", "no tool name"),
        ('{"arguments":{}}', "no tool name"),
        ('{"name":5,"arguments":{}}', "no tool name"),
        ('{"name":"f","arguments":[1]}', "no JSON object"),
        ('{"name":"f","arguments":"{"}', "not valid JSON"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_a_call_that_cannot_be_read_keeps_its_text_and_the_reason(body: str, error: str) -> None:
    call = parse_call(body, closed=True)
    assert call.args is None
    assert error in call.error
    assert call.raw == f"<tool_call>{body}</tool_call>"


def test_text_that_is_no_json_ends_at_the_first_closing_mark() -> None:
    plain, calls = parse(['<tool_call>say "hi</tool_call> then ' + CALL + " end"])
    assert [call.args for call in calls] == [None, {"order_id": "67-26"}]
    assert plain == " then  end"


def test_arguments_may_be_a_json_string_and_may_be_missing() -> None:
    assert parse_call('{"name":"f","arguments":"{\\"a\\": 1}"}', closed=True).args == {"a": 1}
    assert parse_call('{"name":"f"}', closed=True).args == {}


def test_a_call_without_its_end_mark_counts_only_if_it_is_complete() -> None:
    assert parse(['<tool_call>{"name":"f","arguments":{}}'])[1][0].args == {}
    assert parse(['<tool_call>{"name":"f","arguments":{"a":"b'])[1][0].args is None


def pieces(text: str, size: int) -> list[bytes]:
    """``text`` as distinct tokens of about ``size`` characters."""
    cut, found = 0, []
    while cut < len(text):
        width = size
        while text[cut : cut + width].encode() in found:
            width += 1
        found.append(text[cut : cut + width].encode())
        cut += width
    return found


@pytest.mark.llama
@pytest.mark.parametrize("size", [2, 5, 40])
async def test_bound_tools_turn_the_model_s_text_into_calls(chain: Chain, size: int) -> None:
    model = chain(pieces(f"One moment. {CALL}", size)).bind_tools([get_order])
    answer = await model.ainvoke("Where is 67-26?")
    assert answer.content == "One moment. "
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("get_order", {"order_id": "67-26"})]
    assert answer.response_metadata["finish_reason"] == "tool_calls"

    chunks = [chunk async for chunk in model.astream("Where is 67-26?")]
    assert all("<" not in chunk.content for chunk in chunks)
    whole = sum(chunks[1:], chunks[0])
    assert (whole.content, [call["args"] for call in whole.tool_calls]) == ("One moment. ", [{"order_id": "67-26"}])
    assert whole.usage_metadata["output_tokens"] == answer.usage_metadata["output_tokens"]


@pytest.mark.llama
async def test_a_call_cut_off_by_max_tokens_is_never_executable(chain: Chain) -> None:
    text = '<tool_call>{"name":"create_refund","arguments":{"order_id":"67-26","amount":4900}}</tool_call>'
    model = chain(pieces(text, 8), max_tokens=9).bind_tools([create_refund])
    answer = await model.ainvoke("refund")
    assert answer.response_metadata["finish_reason"] == "length"
    chunks = [chunk async for chunk in model.astream("refund")]
    streamed = sum(chunks[1:], chunks[0])
    for message in (answer, streamed):
        assert message.tool_calls == []
        assert [call["args"] for call in message.invalid_tool_calls] == [text[: 8 * 9]]


@pytest.mark.llama
async def test_without_tools_the_text_stays_text(chain: Chain) -> None:
    model = chain(pieces(CALL, 5))
    assert (await model.ainvoke("hi")).content == CALL
    none = model.bind_tools([get_order], tool_choice="none")
    assert (await none.ainvoke("hi")).content == CALL


@pytest.mark.llama
@pytest.mark.parametrize(
    "choice", ["any", "required", True, "pick", {"type": "function", "function": {"name": "pick"}}]
)
async def test_a_forced_call_is_made_even_by_a_model_that_would_not(chain: Chain, choice: Any) -> None:
    schema = {
        "title": "pick",
        "description": "Pick one.",
        "type": "object",
        "properties": {"colour": {"enum": ["red", "green"]}, "sure": {"type": "boolean"}},
        "required": ["colour", "sure"],
    }
    model = chain([b"I ", b"wo", b"nt"]).bind_tools([schema], tool_choice=choice)
    answer = await model.ainvoke("go")
    assert answer.content == ""
    [call] = answer.tool_calls
    assert call["name"] == "pick"
    assert call["args"]["colour"] in ("red", "green")
    assert isinstance(call["args"]["sure"], bool)


@pytest.mark.llama
@pytest.mark.parametrize("unwanted", [b"\t", b"\x7f", b"<|im_start|>"])
async def test_a_forced_call_holds_no_control_characters_and_no_control_tokens(chain: Chain, unwanted: bytes) -> None:
    field = {"type": "string", "maxLength": 30}
    schema = {"title": "f", "type": "object", "properties": {"a": field}, "required": ["a"]}
    model = chain([b'<tool_call>{"name":"f","arguments":{"a":"x', unwanted, b"z"])
    answer = await model.bind_tools([schema], tool_choice="f").ainvoke("go")
    [call] = answer.tool_calls
    assert call["args"]["a"].startswith("x")
    assert call["args"]["a"].isprintable()
    assert "z" not in call["args"]["a"]  # what only follows the unwanted token


@pytest.mark.llama
async def test_structured_output_is_what_the_schema_says(chain: Chain) -> None:
    schema = {"title": "Vote", "type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
    answer = await chain([b"no", b"pe"]).with_structured_output(schema).ainvoke("vote")
    assert set(answer) == {"yes"}
    assert isinstance(answer["yes"], bool)


@pytest.mark.llama
def test_a_choice_of_a_tool_that_is_not_bound_is_refused(chain: Chain) -> None:
    model = chain([b"a", b"b"])
    with pytest.raises(SetupError, match=r"'nope' is none of the bound tools \['get_order'\]"):
        model.bind_tools([get_order], tool_choice="nope")


@pytest.mark.llama
async def test_where_one_call_is_allowed_the_answer_ends_with_it(chain: Chain) -> None:
    text = CALL + CALL.replace("67-26", "11-11") + " and more"
    model = chain(pieces(text, 3))
    free = await model.bind_tools([get_order]).ainvoke("hi")
    assert [call["args"]["order_id"] for call in free.tool_calls] == ["67-26", "11-11"]
    assert free.content == " and more"
    one = await model.bind_tools([get_order], parallel_tool_calls=False).ainvoke("hi")
    assert [call["args"]["order_id"] for call in one.tool_calls] == ["67-26"]
    assert (one.content, one.response_metadata["finish_reason"]) == ("", "tool_calls")


def choose(what: Literal["tea", "coffee"], cups: int = 1) -> str:
    """Order a drink."""
    return f"{what} {cups}"


@pytest.mark.llama
@pytest.mark.parametrize("options", [{}, {"n_draft": 6}, {"temperature": 0.2, "seed": 3}])
@pytest.mark.parametrize(
    "body",
    [
        '{"name":"no_such_tool","arguments":{}}',
        '{"name":"choose","arguments":{"what":"wine"}}',
        '{"name":"choose","arguments":{"cups":"many"',
        "no json at all",
        '["choose"]',
    ],
)
async def test_from_the_mark_of_a_call_on_the_model_can_write_nothing_but_a_call(
    chain: Chain, body: str, options: dict[str, Any]
) -> None:
    model = chain(pieces(f"Well. <tool_call>{body}</tool_call> Done.", 4), max_tokens=300, **options)
    answer = await model.bind_tools([choose]).ainvoke("tea")
    assert answer.invalid_tool_calls == []
    assert answer.text.startswith("Well. ")
    for call in answer.tool_calls:
        assert (call["name"], call["args"]["what"] in ("tea", "coffee")) == ("choose", True)
    assert len(answer.tool_calls) >= 1


@pytest.mark.llama
async def test_a_closing_mark_inside_an_argument_closes_nothing(chain: Chain) -> None:
    text = CALL.replace("67-26", 'say \\"</tool_call>\\" twice')
    model = chain(pieces(f"{text} Done.", 3)).bind_tools([get_order])
    answer = await model.ainvoke("hi")
    assert [call["args"] for call in answer.tool_calls] == [{"order_id": 'say "</tool_call>" twice'}]
    assert answer.content == " Done."


@pytest.mark.llama
async def test_tools_whose_schemas_make_no_grammar_are_called_freely(chain: Chain) -> None:
    wild = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 10_000_000}}}
    model = chain(pieces('<tool_call>{"name":"f","arguments":{"b":1}}</tool_call>', 5))
    answer = await model.bind_tools(tool(wild)).ainvoke("hi")
    assert [call["args"] for call in answer.tool_calls] == [{"b": 1}]


def tool(schema: Any) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "f", "parameters": schema}}]


@pytest.mark.llama
@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string", "maxLength": 10_000_000}}},
        {"type": "object", "properties": {"a": {"type": "array", "minItems": 10_000_000}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "^a{1,99999999}$"}}},
        {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/absent"}}},
        json.loads('{"properties": {"a": ' * 50 + "{}" + "}}" * 50),
    ],
)
def test_a_schema_that_makes_no_reasonable_grammar_is_refused(schema: Any) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    with pytest.raises(CallError) as caught:
        tool_grammar(tool(schema), "any")
    assert caught.value.code == "call.grammar"
