"""``ChatLlama``: a GGUF file as a LangChain chat model, in this process."""

from __future__ import annotations

import asyncio
import difflib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, PrivateAttr, model_validator

from chainops.engines.llama.adapters import WithAdapters
from chainops.engines.llama.answer import Answer
from chainops.engines.llama.call_options import make_ask, tool_choice_name
from chainops.engines.llama.gguf import peek_metadata
from chainops.engines.llama.library import library_version
from chainops.engines.llama.loading import DEFAULT_CONTEXT, ModelOptions
from chainops.engines.llama.messages import as_dicts
from chainops.engines.llama.model_file import known_sha256
from chainops.engines.llama.session import Lease, Session
from chainops.engines.llama.structured import Structured
from chainops.errors import SetupError

__all__ = ["ChatLlama"]

NO_MEANING_HERE = frozenset({"api_key", "max_retries"})
"""Parameters that LangChain passes to every chat model; a model in this process has no use for them."""


class ChatLlama(WithAdapters, Structured):
    """A local model, run by llama.cpp in this process: streaming, tools, usage and timings.

    The model is loaded at the first call, in its own thread, and shared by all ``ChatLlama`` of this process with the
    same file and context options. It is unloaded when the last of them is closed, or at exit.

    ::

        model = ChatLlama(model_path="support-desk-tiny.gguf")
        answer = await model.ainvoke("How much is shipping?")
    """

    model_path: str
    """Path of the GGUF file; of a model in several parts, the first."""
    sha256: str = ""
    """64 hex digits that the file must have. Without it the file is tried in another process once."""
    n_ctx: int | None = Field(default=None, ge=8, le=1 << 30)
    """Tokens of context, prompt and answer together. None: what the model was trained with, at most 4096."""
    n_batch: int = Field(default=256, ge=8, le=4096)
    """Tokens of the prompt per step; a cancelled call stops after the step at the latest."""
    n_threads: int | None = Field(default=None, ge=1, le=1024)
    """Threads that compute. None: 1 for files below 100 MB, else one per core."""
    n_gpu_layers: int = Field(default=0, ge=-1)
    """Layers on the GPU; -1: all. Refused if the installed llama-cpp-python has no GPU support."""
    flash_attn: bool = False
    """Use flash attention. It can change an answer, so it is never decided automatically."""
    probe: bool | Literal["auto"] = "auto"
    """Try the file in another process before it is loaded into this one. "auto": unless it passed before, or sha256
    is given."""
    chat_template: str = ""
    """Jinja to use instead of the template in the file."""

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
    seed: int | None = None
    """Same seed, same text. None: another one for each call."""
    max_tokens: int | None = Field(default=1024, ge=1)
    """The longest answer. None: as long as the context allows."""
    stop: str | list[str] | None = None
    """The answer ends before the first of these."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds after which a call fails with ``ModelTimeout``, waiting included."""
    streaming: bool = False
    """LangChain's switch: True makes ``invoke`` use the streaming path too."""

    _lease: Lease = PrivateAttr(default_factory=Lease)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, values: Any) -> Any:
        known = {*cls.model_fields, *NO_MEANING_HERE}
        for name in values if isinstance(values, Mapping) else ():
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else "See the reference page of ChatLlama."
                raise SetupError(f"ChatLlama has no option {name!r}", hint=hint, code="setup.option")
        if isinstance(values, Mapping) and isinstance(values.get("model_path"), Path):
            return {**values, "model_path": str(values["model_path"])}
        return values

    @property
    def model_name(self) -> str:
        """Name of the file without its ending."""
        return Path(self.model_path).stem

    @property
    def session(self) -> Session:
        """The loaded model behind this object; loading begins when it is asked for, and does not block."""
        return self._lease.session(
            ModelOptions(
                path=str(Path(self.model_path).expanduser().absolute()),
                sha256=self.sha256.lower(),
                n_ctx=self.n_ctx,
                n_batch=self.n_batch,
                n_threads=self.n_threads,
                n_gpu_layers=self.n_gpu_layers,
                flash_attn=self.flash_attn,
                probe=self.probe,
                chat_template=self.chat_template,
            )
        )

    def close(self) -> None:
        """Give the model up; it is unloaded if nobody else uses it. Later calls raise ``ModelClosed``."""
        self._lease.close()

    async def aclose(self) -> None:
        """The same without blocking the event loop."""
        await asyncio.to_thread(self.close)

    @property
    def _llm_type(self) -> str:
        return "chainops-llama"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("sha256", "n_ctx", "chat_template", "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed")
        chosen = {name: getattr(self, name) for name in (*names, "max_tokens", "stop", "flash_attn", "adapter")}
        return {"model_path": self.model_path, "model_name": self.model_name, **chosen}

    def chainops_identity(self) -> dict[str, Any]:
        """What decides this model's answers: for cache keys and versions of chains. See ``chainops.identity``.

        The first time it hashes the file, which blocks; later only when the file has changed.

        Raises:
            SetupError: code ``setup.model_file``: the file is missing or is no model.
        """
        sampling = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed", "max_tokens", "stop")
        return {
            "model_sha256": self.sha256.lower() or known_sha256(self.model_path),
            "n_ctx": self.n_ctx,
            "n_batch": self.n_batch,
            "n_gpu_layers": self.n_gpu_layers,
            "flash_attn": self.flash_attn,
            "template": hashlib.sha256(self.chat_template.encode()).hexdigest() if self.chat_template else "the file's",
            "sampling": {name: getattr(self, name) for name in sampling},
            "llama_cpp": library_version(),
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
        defaults = {name: getattr(self, name) for name in ("temperature", "top_k", "top_p", "min_p", "repeat_penalty")}
        defaults |= {"seed": self.seed, "max_tokens": self.max_tokens, "timeout": self.timeout}
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
