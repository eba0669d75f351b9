"""``ChatLlama``: a GGUF file as a LangChain chat model, in this process."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from chainops.engines.llama.answer import Answer
from chainops.engines.llama.call_options import make_ask, tool_choice_name
from chainops.engines.llama.gguf import peek_metadata
from chainops.engines.llama.library import library_version
from chainops.engines.llama.loading import DEFAULT_CONTEXT
from chainops.engines.llama.messages import as_dicts
from chainops.engines.llama.model_file import known_sha256
from chainops.engines.llama.prebuilt_library import prebuilt_version
from chainops.engines.llama.prefixing import WithPrefixes
from chainops.engines.llama.structured import Structured

__all__ = ["ChatLlama"]

SAMPLING = (
    *("temperature", "top_k", "top_p", "min_p", "repeat_penalty"),
    *("frequency_penalty", "presence_penalty", "logit_bias", "seed"),
)


class ChatLlama(WithPrefixes, Structured):
    """A local model, run by llama.cpp in this process: streaming, tools, usage and timings.

    The model is loaded at the first call, in its own thread, and shared by all ``ChatLlama`` of this process with the
    same file and context options. It is unloaded when the last of them is closed, or at exit.

    ::

        model = ChatLlama(model_path="support-desk-tiny.gguf")
        answer = await model.ainvoke("How much is shipping?")
    """

    temperature: float = Field(default=0.0, ge=0, le=100)
    """0: always the likeliest token."""
    top_k: int = Field(default=40, ge=0)
    """Choose among the k likeliest tokens; 0: among all."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Choose among the likeliest tokens that together have this probability."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Drop tokens less likely than this share of the likeliest."""
    repeat_penalty: float = Field(default=1.0, gt=0, le=10)
    """Above 1: makes the last 64 tokens of the answer less likely."""
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    """Taken from a token's logit for each time that it is among the last 64 of the answer."""
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    """Taken from a token's logit once if it is among the last 64 of the answer."""
    logit_bias: dict[int, float] | None = None
    """Tokens, and what is added to their logits: -100 to 100."""
    seed: int | None = None
    """Same seed, same text. None: another one for each call."""
    max_tokens: int | None = Field(default=1024, ge=1)
    """The longest answer. None: as long as the context allows."""
    stop: str | list[str] | None = None
    """The answer ends before the first of these."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds after which a call fails with ``ModelTimeout``, waiting included."""
    priority: int = 0
    """Of the calls that wait, the highest is answered first; of equals, the one that came first."""
    streaming: bool = False
    """LangChain's switch: True makes ``invoke`` use the streaming path too."""

    @property
    def _llm_type(self) -> str:
        return "chainops-llama"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("sha256", "n_ctx", "chat_template", *SAMPLING, "max_tokens", "stop")
        chosen = {name: getattr(self, name) for name in (*names, "flash_attn", "kv_type", "adapter")}
        return {"model_path": self.model_path, "model_name": self.model_name, **chosen}

    def chainops_identity(self) -> dict[str, Any]:
        """What decides this model's answers: for cache keys and versions of chains. See ``chainops.identity``.

        The first time it hashes the file, which blocks; later only when the file has changed.

        Raises:
            SetupError: code ``setup.model_file``: the file is missing or is no model.
        """
        sampling = (*SAMPLING, "max_tokens", "stop")
        return {
            "model_sha256": self.sha256.lower() or known_sha256(self.model_path),
            "n_ctx": self.n_ctx,
            "n_batch": self.n_batch,
            "n_gpu_layers": self.n_gpu_layers,
            "flash_attn": self.flash_attn,
            "kv_type": self.kv_type,
            "template": hashlib.sha256(self.chat_template.encode()).hexdigest() if self.chat_template else "the file's",
            "sampling": {name: getattr(self, name) for name in sampling},
            "llama_cpp": library_version() or f"xllamacpp {prebuilt_version()}",
            **self.adapters_identity(),
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self._stop_list(None), **kwargs)
        params["ls_provider"] = "llama.cpp"
        return params

    def _resolve_model_profile(self) -> ModelProfile | None:
        limit = self.n_ctx
        if limit is None:
            metadata = peek_metadata(Path(self.model_path).expanduser())
            trained = metadata.get(f"{metadata.get('general.architecture')}.context_length")
            if not isinstance(trained, int):
                return None
            limit = min(trained, DEFAULT_CONTEXT)
        return ModelProfile(
            name=self.model_name,
            max_input_tokens=limit,
            max_output_tokens=min(self.max_tokens or limit, limit),
            text_inputs=True,
            text_outputs=True,
            image_inputs=False,
            tool_calling=True,
            tool_choice=True,
            tool_call_streaming=True,
            structured_output=True,
        )

    def get_token_ids(self, text: str) -> list[int]:
        """Tokens of ``text`` as this model counts them. Loads the model and blocks until it is there."""
        return self.session.token_ids(text)

    def count_tokens(self, text: str) -> int:
        """Tokens of ``text`` inside a message, where control tokens are plain text. Blocks as the above."""
        return self.session.count(text)

    def get_num_tokens_from_messages(
        self,
        messages: list[BaseMessage],
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
    ) -> int:
        """Tokens of the whole prompt, as the chat template writes it. Loads the model and blocks until it is there."""
        return len(self.session.prompt_ids(as_dicts(messages), [convert_to_openai_tool(tool) for tool in tools or ()]))

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools to call.

        Args:
            tools: functions, LangChain tools, Pydantic classes or OpenAI dictionaries.
            tool_choice: None or "auto": the model decides. "none": tools are described, calls are text.
                "any", "required" or True: exactly one call, enforced by a grammar. A name (or OpenAI's dictionary
                with one): exactly one call of that tool.
            kwargs: options of the call, see the reference page. ``strict`` is accepted: enforced calls always are.

        Raises:
            SetupError: code ``setup.tool_choice``: it names no bound tool.
        """
        described = [convert_to_openai_tool(tool) for tool in tools]
        kwargs.pop("strict", None)
        choice = tool_choice_name(tool_choice, described)
        return self.bind(tools=described, tool_choice=choice, **kwargs)

    def _stop_list(self, stop: Sequence[str] | None) -> list[str]:
        chosen = self.stop if stop is None else stop
        return [chosen] if isinstance(chosen, str) else list(chosen or ())

    def _begin(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> Answer:
        defaults = {name: getattr(self, name) for name in (*SAMPLING, "max_tokens", "timeout", "priority")}
        ask = make_ask(as_dicts(messages), self._stop_list(stop), defaults, kwargs, model_name=self.model_name)
        ask = replace(ask, adapters=self.chosen_adapters(kwargs.get("adapter", self.adapter)))
        return Answer(self.session, ask, model_name=self.model_name, with_tools=ask.tools_callable)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = self._begin(messages, stop, kwargs)
        with closing(answer.session.stream_sync(answer.ask)) as events:
            for event in events:
                answer.add(event)
        return ChatResult(generations=[ChatGeneration(message=answer.message())])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = self._begin(messages, stop, kwargs)
        async with aclosing(answer.session.stream(answer.ask)) as events:
            async for event in events:
                answer.add(event)
        return ChatResult(generations=[ChatGeneration(message=answer.message())])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        answer = self._begin(messages, stop, kwargs)
        with closing(answer.session.stream_sync(answer.ask)) as events:
            for event in events:
                for chunk in answer.chunks(event):
                    yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        answer = self._begin(messages, stop, kwargs)
        async with aclosing(answer.session.stream(answer.ask)) as events:
            async for event in events:
                for chunk in answer.chunks(event):
                    yield ChatGenerationChunk(message=chunk)
