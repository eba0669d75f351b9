"""Structured answers fit their schema, or the call says why not. Log-probabilities are those of the model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, TypedDict

import pytest
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel, Field, field_validator

from chainops.engines.llama.failures import Truncated
from chainops.errors import CallError, SetupError

pytestmark = pytest.mark.llama

Chain = Callable[..., Any]


class Item(BaseModel):
    """A thing."""

    name: str = Field(max_length=8)
    count: int


class Vote(BaseModel):
    """A vote."""

    yes: bool
    items: list[Item] = Field(min_length=1, max_length=2)


class Choice(TypedDict):
    """A choice."""

    colour: str


SCHEMA = {
    "title": "Pick",
    "description": "Pick one.",
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green"]}, "sure": {"type": "boolean"}},
    "required": ["colour", "sure"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
async def test_a_pydantic_class_gets_its_instances_nested_ones_too(chain: Chain, method: str) -> None:
    model = chain([b"I ", b"wo", b"nt"], max_tokens=400).with_structured_output(Vote, method=method)
    vote = await model.ainvoke("vote")
    assert isinstance(vote, Vote)
    assert 1 <= len(vote.items) <= 2
    assert model.invoke("vote") == vote


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
async def test_a_json_schema_gets_dictionaries_that_fit_it(chain: Chain, method: str) -> None:
    found = await chain([b"I ", b"wo", b"nt"]).with_structured_output(SCHEMA, method=method).ainvoke("pick")
    assert set(found) == {"colour", "sure"}
    assert found["colour"] in ("red", "green")
    assert isinstance(found["sure"], bool)


async def test_a_typed_dict_gets_dictionaries(chain: Chain) -> None:
    model = chain([b'{"colour":"red"}'], max_tokens=60)
    assert (await model.with_structured_output(Choice, method="json_schema").ainvoke("pick")) == {"colour": "red"}


async def test_the_stream_grows_into_the_whole_object(chain: Chain) -> None:
    model = chain([b"I ", b"wo", b"nt"]).with_structured_output(SCHEMA, method="json_schema")
    steps = [step async for step in model.astream("pick")]
    assert len(steps) > 1
    assert steps[-1] == await model.ainvoke("pick")


@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode"])
@pytest.mark.parametrize("schema", [Vote, SCHEMA])
async def test_an_answer_that_was_cut_off_is_a_clear_error(chain: Chain, method: str, schema: Any) -> None:
    model = chain([b"I ", b"wo", b"nt"], max_tokens=3).with_structured_output(schema, method=method)
    with pytest.raises(Truncated, match="cut off after 3 tokens") as caught:
        await model.ainvoke("vote")
    assert caught.value.code == "call.truncated"
    with pytest.raises(Truncated):
        [step async for step in model.astream("vote")]


async def test_with_the_raw_message_no_error_of_parsing_is_raised(chain: Chain) -> None:
    model = chain([b"I ", b"wo", b"nt"])
    good = await model.with_structured_output(SCHEMA, include_raw=True).ainvoke("pick")
    assert good["parsed"]["colour"] in ("red", "green")
    assert good["parsing_error"] is None
    short = chain([b"I ", b"wo", b"nt"], max_tokens=2)
    bad = await short.with_structured_output(SCHEMA, include_raw=True).ainvoke("pick")
    assert bad["parsed"] is None
    assert isinstance(bad["parsing_error"], Truncated)
    assert bad["raw"].response_metadata["finish_reason"] == "length"


class Even(BaseModel):
    """An even number."""

    value: int = Field(ge=1, le=9)

    @field_validator("value")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("is odd")
        return value


async def test_what_a_schema_cannot_say_is_checked_afterwards(chain: Chain) -> None:
    model = chain([b'{"value": 3}', b"x"])
    with pytest.raises(OutputParserException, match="is odd"):
        await model.with_structured_output(Even, method="json_schema").ainvoke("go")


async def test_json_mode_lets_the_model_write_an_object_only(chain: Chain) -> None:
    form = {"type": "json_object"}
    assert (await chain([b'{"a":', b"[1, 2]", b"}"]).ainvoke("go", response_format=form)).content == '{"a":[1, 2]}'
    for begin in (b"[1]", b"so", b'"a"'):
        answer = await chain([begin, b" x"], max_tokens=30).ainvoke("go", response_format=form)
        assert answer.content.startswith("{")


@pytest.mark.parametrize(
    "options",
    [
        {"response_format": {"type": "yaml"}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": "x"}}},
        {"logprobs": "yes"},
        {"top_logprobs": 3},
        {"logprobs": True, "top_logprobs": 21},
        {"logprobs": True, "top_logprobs": True},
    ],
)
async def test_what_is_not_possible_is_refused(chain: Chain, options: dict[str, Any]) -> None:
    with pytest.raises(CallError) as caught:
        await chain([b"a", b"b"]).ainvoke("hi", **options)
    assert caught.value.code == "call.option"


def form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"schema": schema}}


async def test_with_tools_the_answer_is_calls_or_the_json_and_nothing_else(chain: Chain) -> None:
    call = '<tool_call>{"name":"Pick","arguments":{"colour":"red","sure":true}}</tool_call>'
    for pieces, calls, text in (
        ([call.encode()], 1, ""),
        ([b'{"colour":"green",', b'"sure":true}'], 0, '{"colour":"green","sure":true}'),
    ):
        model = chain(pieces, max_tokens=200).bind_tools([SCHEMA], response_format=form(SCHEMA))
        answer = await model.ainvoke("go")
        assert (len(answer.tool_calls), answer.content) == (calls, text)
    free = (
        await chain([b"I ", b"wo", b"nt"], max_tokens=200)
        .bind_tools([SCHEMA], response_format=form(SCHEMA))
        .ainvoke("go")
    )
    assert free.tool_calls or set(json.loads(free.content)) == {"colour", "sure"}


async def test_json_answers_and_forced_calls_exclude_each_other(chain: Chain) -> None:
    model = chain([b"a", b"b"])
    with pytest.raises(CallError, match="exclude each other"):
        await model.bind_tools([SCHEMA], tool_choice="any").ainvoke("hi", response_format={"type": "json_object"})
    with pytest.raises(SetupError, match="method='magic'"):
        model.with_structured_output(SCHEMA, method="magic")


async def test_logprobs_are_those_of_the_whole_vocabulary(chain: Chain) -> None:
    model = chain([b"one ", b"two"])
    answer = await model.ainvoke("go", logprobs=True, top_logprobs=3)
    rows = answer.response_metadata["logprobs"]["content"]
    assert [row["token"] for row in rows] == ["one ", "two"]
    assert bytes(rows[0]["bytes"]) == b"one "
    for row in rows:
        assert row["logprob"] < 0
        assert row["top_logprobs"][0]["token"] == row["token"]
        assert row["top_logprobs"][0]["logprob"] == row["logprob"]
        others = [other["logprob"] for other in row["top_logprobs"]]
        assert others == sorted(others, reverse=True)
        # a chain model has one logit w for the next token and 0 for all n - 1 others
        assert math.exp(row["logprob"]) + (model_size(model) - 1) * math.exp(others[1]) == pytest.approx(1, abs=1e-6)
    json.dumps(rows)
    chunks = [chunk async for chunk in model.astream("go", logprobs=True)]
    whole = sum(chunks[1:], chunks[0]).response_metadata["logprobs"]["content"]
    assert [(row["token"], row["logprob"]) for row in whole] == [(row["token"], row["logprob"]) for row in rows]
    assert whole[0]["top_logprobs"] == []
    assert "logprobs" not in (await model.ainvoke("go")).response_metadata


def model_size(model: Any) -> int:
    return int(model.session._loaded.native.n_vocab)


async def test_logprobs_are_the_same_under_a_grammar(chain: Chain) -> None:
    model = chain([b'{"colour":', b'"red"}'])
    plain = (await model.ainvoke("go", logprobs=True)).response_metadata["logprobs"]["content"]
    properties = {"colour": {"enum": ["red", "green"]}}
    form = {"schema": {"type": "object", "properties": properties, "required": ["colour"]}}
    answer = await model.ainvoke("go", logprobs=True, response_format={"type": "json_schema", "json_schema": form})
    assert answer.response_metadata["logprobs"]["content"] == plain
