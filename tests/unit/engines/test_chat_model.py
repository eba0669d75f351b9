"""ChatLlama is an ordinary LangChain chat model that ignores nothing it is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from pydantic import ValidationError

from chainops.engines.llama import ChatLlama
from chainops.engines.llama.messages import as_dicts
from chainops.errors import CallError, SetupError
from chainops.identity import identity_of

Chain = Callable[..., Any]


def test_importing_the_engine_loads_neither_langchain_nor_llama_cpp() -> None:
    code = (
        "import sys, chainops.engines.llama, chainops.engines.llama.model_file\n"
        "print([name for name in ('langchain_core', 'llama_cpp', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_constructing_a_model_loads_nothing() -> None:
    model = ChatLlama(model_path="/absent/model.gguf")
    assert (model.model_name, model.profile) == ("model", None)


def test_messages_become_the_dictionaries_of_chat_templates() -> None:
    call = {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
    messages = [
        SystemMessage("s"),
        HumanMessage(["a", {"type": "text", "text": "b"}]),
        AIMessage("", tool_calls=[call]),
        ToolMessage("r", tool_call_id="c1", name="f"),
        AIMessage(
            [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "t"}],
            invalid_tool_calls=[
                {"name": None, "args": "<tool_call>x", "id": "c2", "error": "e", "type": "invalid_tool_call"}
            ],
        ),
        ChatMessage("c", role="developer"),
    ]
    assert as_dicts(messages) == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "ab"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "content": "r", "name": "f", "tool_call_id": "c1"},
        {"role": "assistant", "content": "t<tool_call>x"},
        {"role": "developer", "content": "c"},
    ]


@pytest.mark.parametrize(
    "message",
    [HumanMessage([{"type": "image_url", "image_url": {"url": "x"}}]), HumanMessage([{}]), RemoveMessage(id="1")],
)
def test_what_the_model_cannot_read_is_refused(message: Any) -> None:
    with pytest.raises(CallError) as caught:
        as_dicts([message])
    assert caught.value.code == "call.content"


def test_an_unknown_option_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SetupError, match="no option 'n_cxt'") as caught:
        ChatLlama(model_path="x.gguf", n_cxt=5)
    assert "n_ctx" in caught.value.hint


@pytest.mark.parametrize("option", [{"temperature": -1}, {"top_p": 0}, {"n_ctx": 0}, {"max_tokens": 0}, {"timeout": 0}])
def test_an_option_out_of_range_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ChatLlama(model_path="x.gguf", **option)


@pytest.mark.parametrize(
    "option",
    [{"temprature": 1}, {"temperature": -1}, {"temperature": "hot"}, {"top_k": 1.5}, {"max_tokens": 0}, {"model": "y"}]
    + [{"logit_bias": bias} for bias in ({1: 101}, {1: "much"}, {"x": 1}, 5, {1: float("nan")})]
    + [{"presence_penalty": 3}, {"frequency_penalty": "high"}],
)
async def test_a_call_option_that_means_nothing_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(CallError) as caught:
        await ChatLlama(model_path="x.gguf").ainvoke("hi", **option)
    assert caught.value.code == "call.option"


async def test_an_empty_conversation_is_refused() -> None:
    with pytest.raises(CallError, match="no messages"):
        await ChatLlama(model_path="x.gguf").ainvoke([])


def test_tracing_sees_provider_model_and_sampling() -> None:
    model = ChatLlama(model_path="x.gguf", temperature=0.5, max_tokens=7, stop="end")
    params = model._get_ls_params()
    assert params == {
        "ls_provider": "llama.cpp",
        "ls_model_type": "chat",
        "ls_model_name": "x",
        "ls_temperature": 0.5,
        "ls_max_tokens": 7,
        "ls_stop": ["end"],
    }


@pytest.mark.llama
def test_the_profile_tells_the_context_and_the_abilities(chain: Chain) -> None:
    assert chain([b"a", b"b"], context=512).profile["max_input_tokens"] == 512
    assert chain([b"a", b"b"], context=512, n_ctx=64).profile["max_input_tokens"] == 64
    assert chain([b"a", b"b"], context=99_999).profile["max_input_tokens"] == 4096
    assert chain([b"a", b"b"]).profile["tool_calling"] is True


@pytest.mark.llama
async def test_tokens_are_counted_by_the_model_s_own_tokenizer(chain: Chain) -> None:
    model = chain([b"ab", b"cd"])
    assert model.get_num_tokens("ab") == 1
    assert model.get_num_tokens("xy!") == 3
    counted = model.get_num_tokens_from_messages([HumanMessage("ab!")])
    assert counted == (await model.ainvoke("ab!")).usage_metadata["input_tokens"]


@pytest.mark.llama
async def test_another_template_can_be_given(chain: Chain) -> None:
    short = chain([b"ab", b"cd"], chat_template="{{ messages[0].content }}{{ '\\n' }}")
    assert (await short.ainvoke("x")).usage_metadata["input_tokens"] == 2


@pytest.mark.llama
async def test_a_model_without_a_template_says_so(chain_path: Callable[..., Any]) -> None:
    model = ChatLlama(model_path=chain_path([b"ab", b"cd"], template=" "), probe=False)
    with pytest.raises(SetupError, match="chat template is missing") as caught:
        await model.ainvoke("hi")
    assert "chat_template" in caught.value.hint


@pytest.mark.llama
async def test_astream_events_and_invoke_while_streaming_agree(chain: Chain) -> None:
    model = chain([b"ab", b"cd"], streaming=True)
    tokens = [
        event["data"]["chunk"].content
        async for event in model.astream_events("hi", version="v2")
        if event["event"] == "on_chat_model_stream"
    ]
    answer = await model.ainvoke("hi")
    assert "".join(tokens) == answer.content == "abcd"
    assert answer.usage_metadata["output_tokens"] == 2


def test_a_model_is_what_its_file_holds_and_how_it_samples(chain_path: Callable[..., Any]) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    one, other = chain_path([b"a", b"b"]), chain_path([b"a", b"c"])
    same = one.with_name("copy.gguf")
    same.write_bytes(one.read_bytes())
    found = [identity_of(ChatLlama(model_path=path)) for path in (one, other, same)]
    assert found[0] == found[2] != found[1]
    assert found[0]["stable"] is True
    assert identity_of(ChatLlama(model_path=one, temperature=1.0)) != found[0]
    assert identity_of(ChatLlama(model_path=one, chat_template="{{ messages }}")) != found[0]
    one.write_bytes(other.read_bytes())
    assert identity_of(ChatLlama(model_path=one)) == found[1]
