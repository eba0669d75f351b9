"""``with_structured_output``: answers that fit a schema because a grammar lets the model write nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from operator import itemgetter
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

from chainops.engines.llama.failures import Truncated
from chainops.errors import SetupError

__all__ = ["Structured"]

METHODS = ("function_calling", "json_schema", "json_mode")


class Structured(BaseChatModel):
    """The part of ``ChatLlama`` that makes objects out of answers."""

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: Literal["function_calling", "json_schema", "json_mode"] = "function_calling",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """The model, answering with objects of ``schema``.

        Args:
            schema: a Pydantic class, also of version 1 (answers are its instances), a TypedDict class or a JSON schema
                (dictionaries).
            method: "function_calling": a forced tool call; the chat template shows the schema to the model.
                "json_schema": the answer itself is the JSON; the schema is enforced, but not shown.
                "json_mode": the answer is any JSON object; it is compared with the schema afterwards.
            include_raw: answer with ``{"raw": message, "parsed": ..., "parsing_error": ...}`` and raise no error of
                parsing.
            strict: accepted; the grammar always is.
            kwargs: options of the call.

        Raises:
            SetupError: code ``setup.option``: an unknown method. From the runnable itself, beside the model's errors:
                ``Truncated`` where ``max_tokens`` or the context ended the answer, and LangChain's
                ``OutputParserException`` where a Pydantic class refuses what its schema allows.
        """
        if method not in METHODS:
            raise SetupError(
                f"method={method!r} is unknown", hint=f"Give one of {', '.join(METHODS)}.", code="setup.option"
            )
        function = convert_to_openai_tool(schema)["function"]
        told = {"kwargs": {"method": method}, "schema": convert_to_openai_tool(schema)}
        options = {**kwargs, "ls_structured_output_format": told}
        pydantic = schema if isinstance(schema, type) and is_basemodel_subclass(schema) else None
        parser: Any
        if method == "function_calling":
            asked = self.bind_tools([schema], tool_choice=function["name"], **options)
            parser = (
                PydanticToolsParser(tools=[pydantic], first_tool_only=True)
                if pydantic
                else JsonOutputKeyToolsParser(key_name=function["name"], first_tool_only=True)
            )
        else:
            form: Mapping[str, Any] = {"type": "json_object"}
            if method == "json_schema":
                inner = {"name": function["name"], "schema": function.get("parameters", {"type": "object"})}
                form = {"type": "json_schema", "json_schema": inner}
            asked = self.bind(response_format=form, **options)
            parser = PydanticOutputParser(pydantic_object=pydantic) if pydantic else JsonOutputParser()
        parsed: Runnable[Any, dict[str, Any] | BaseModel] = RunnableGenerator(_whole, _awhole) | parser
        if not include_raw:
            return asked | parsed
        good = RunnablePassthrough.assign(parsed=itemgetter("raw") | parsed, parsing_error=lambda _: None)
        bad = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=asked) | good.with_fallbacks([bad], exception_key="parsing_error")


def _check(message: BaseMessage) -> None:
    if message.response_metadata.get("finish_reason") == "length":
        usage = getattr(message, "usage_metadata", None) or {}
        raise Truncated(usage.get("output_tokens", 0))


def _whole(messages: Iterator[BaseMessage]) -> Iterator[BaseMessage]:
    """The messages as they come, and an error in place of an end that came too early."""
    for message in messages:
        _check(message)
        yield message


async def _awhole(messages: AsyncIterator[BaseMessage]) -> AsyncIterator[BaseMessage]:
    async for message in messages:
        _check(message)
        yield message
