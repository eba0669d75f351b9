"""A chat model that is only a name: the layer ``route`` decides what answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NoReturn

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool

from chainops.errors import CallError

__all__ = ["AliasModel", "model"]


class AliasModel(BaseChatModel):
    """Made by :func:`model`."""

    model_name: str

    @property
    def _llm_type(self) -> str:
        return "chainops-alias"

    def chainops_identity(self) -> dict[str, Any]:
        """Its name: what stands behind it is part of the settings."""
        return {"alias": self.model_name}

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools, in words that every deployment can be told."""
        bound = {"tools": [convert_to_openai_tool(tool) for tool in tools], **kwargs}
        return self.bind(**bound) if tool_choice is None else self.bind(tool_choice=tool_choice, **bound)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._nobody()

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._nobody()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        self._nobody()

    def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        self._nobody()

    def _nobody(self) -> NoReturn:
        raise CallError(
            f"Model {self.model_name!r} is a name, and no layer 'route' answered for it",
            hint="Call it inside a graph that is instrumented with a pipeline that holds 'route'.",
            code="route.no_layer",
        )


def model(name: str, **kwargs: Any) -> AliasModel:
    """The chat model that ``[route]`` knows as ``name``: an alias or a deployment.

    Use it in nodes like any LangChain chat model: tools, structured output, streams. What answers is decided per call,
    by the layer ``route``; outside a graph with that layer it raises ``CallError`` (``route.no_layer``).
    """
    return AliasModel(model_name=name, **kwargs)
