"""Tool calls as ``<tool_call>{"name": ..., "arguments": {}}</tool_call>``: read from text, or forced by a grammar."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from chainops.engines.llama.calling import CLOSE, OPEN, CallWatch
from chainops.engines.llama.library import schema_grammar
from chainops.engines.llama.native import Native
from chainops.engines.llama.request import Ask
from chainops.engines.llama.sampling import Sampler
from chainops.engines.llama.text import held_back
from chainops.errors import CallError, ChainopsError

__all__ = [
    "ParsedCall",
    "ToolCallParser",
    "answer_grammar",
    "call_grammar",
    "grammar_for",
    "sampler_for",
    "tool_grammar",
    "tools_or_answer_grammar",
]

MAX_REPEAT = 1000
MAX_DEPTH = 32
SIZES = ("minLength", "maxLength", "minItems", "maxItems")
REPEAT = re.compile(r"\{[\d,\s]*\d{4,}[\d,\s]*\}")


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """One tool call that the model wrote.

    Args:
        raw: the text as written, with its marks.
        name: the tool, or "" if it cannot be read.
        args: the arguments, or None if they cannot be read.
        error: why it cannot be read, or "".
    """

    id: str
    raw: str
    name: str = ""
    args: dict[str, Any] | None = None
    error: str = ""


class ToolCallParser:
    """Splits an answer, as it comes, into plain text and tool calls. No part of a call's mark leaves as text."""

    def __init__(self) -> None:
        self._held = ""
        self._inside = False

    def feed(self, text: str) -> Iterator[str | ParsedCall]:
        """What has become certain with ``text``."""
        self._held += text
        while True:
            place = _end_of_call(self._held) if self._inside else self._held.find(OPEN)
            if place < 0:
                break
            yield from self._cut(place)
        if not self._inside:
            keep = held_back(self._held, (OPEN,))
            sure, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
            if sure:
                yield sure

    def finish(self) -> Iterator[str | ParsedCall]:
        """What is left at the end: the beginning of a mark is text, an open call is a call."""
        while self._inside and (place := self._held.find(CLOSE)) >= 0:  # its quotes do not match: it is no JSON
            yield from self._cut(place)
            yield from self.feed("")
        held, self._held = self._held, ""
        if self._inside:
            yield parse_call(held, closed=False)
        elif held:
            yield held

    def _cut(self, place: int) -> Iterator[str | ParsedCall]:
        """Go on behind the mark at ``place``."""
        before, after = self._held[:place], self._held[place + len(CLOSE if self._inside else OPEN) :]
        was_inside, self._inside, self._held = self._inside, not self._inside, after
        if was_inside:
            yield parse_call(before, closed=True)
        elif before:
            yield before


def _end_of_call(text: str) -> int:
    """Where the closing mark stands that is not part of a string; -1: nowhere."""
    place = text.find(CLOSE)
    while place >= 0 and _quotes(text[:place]) % 2:
        place = text.find(CLOSE, place + 1)
    return place


def _quotes(text: str) -> int:
    return text.replace(r"\\", "").replace(r"\"", "").count('"')


def parse_call(body: str, *, closed: bool) -> ParsedCall:
    """The call in ``body``, the text between the marks."""
    call_id, raw = f"call_{uuid.uuid4().hex[:24]}", OPEN + body + (CLOSE if closed else "")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = "not valid JSON" if closed else "cut off, or not valid JSON"
        return ParsedCall(call_id, raw, error=f"{reason}: {error}")
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str) or not name:
        return ParsedCall(call_id, raw, error="no tool name in it")
    args = data.get("arguments", data.get("parameters", {}))
    if isinstance(args, str):
        try:
            args = json.loads(args or "{}")
        except (ValueError, RecursionError) as error:
            return ParsedCall(call_id, raw, name, error=f"arguments are not valid JSON: {error}")
    if not isinstance(args, dict):
        return ParsedCall(call_id, raw, name, error="arguments are no JSON object")
    return ParsedCall(call_id, raw, name, args)


def tool_grammar(tools: Sequence[Mapping[str, Any]], choice: str) -> str:
    """GBNF that lets the model write nothing but one call of a tool.

    Args:
        tools: OpenAI-style tool descriptions.
        choice: name of the tool, or ``"any"``.

    Raises:
        CallError: code ``call.grammar``: the schema of a tool cannot be made into a grammar.
    """
    chosen = (tool["function"] for tool in tools if choice in ("any", tool["function"]["name"]))
    return _grammar(_functions(chosen))


def grammar_for(ask: Ask) -> str:
    """GBNF for what the answer to ``ask`` may be; empty: any text.

    Raises:
        CallError: code ``call.grammar``.
    """
    if ask.forced:
        return tool_grammar(ask.tools, ask.forced)
    if ask.answer_schema and ask.tools_callable:
        return tools_or_answer_grammar(ask.tools, ask.answer_schema)
    return answer_grammar(ask.answer_schema) if ask.answer_schema else ""


def sampler_for(native: Native, ask: Ask) -> Sampler:
    """What chooses the tokens of the answer to ``ask``. Must be closed.

    Raises:
        CallError: code ``call.grammar`` or ``call.option``.
    """
    grammar, watch = grammar_for(ask), None
    if ask.tools_callable and not grammar:
        watch = CallWatch(lambda before: call_grammar(ask.tools, before), once=ask.one_call)
    return Sampler(native, ask.sampling, grammar, watch)


def call_grammar(tools: Sequence[Mapping[str, Any]], before: str) -> str:
    """GBNF for ``before`` and the rest of a call of any of ``tools``; empty where their schemas make none."""
    try:
        whole = tool_grammar(tools, "any")
    except CallError:
        return ""  # the call is judged when it is read
    begin = json.dumps(before, ensure_ascii=False) if before else '""'
    return whole.replace(f'"{OPEN}"', begin, 1).replace(f'"{CLOSE}"', f'"{CLOSE}" [^<]*', 1)


@lru_cache(maxsize=128)
def answer_grammar(schema: str) -> str:
    """GBNF that lets the model write nothing but a JSON value that fits ``schema`` (JSON text).

    Raises:
        CallError: code ``call.grammar``.
    """
    return _rules("The schema of the answer", lambda: _inlined(json.loads(schema)))


def tools_or_answer_grammar(tools: Sequence[Mapping[str, Any]], schema: str) -> str:
    """GBNF for one or more calls of any of ``tools``, or a JSON value that fits ``schema`` (JSON text).

    Raises:
        CallError: code ``call.grammar``.
    """
    return _either_grammar(_functions(tool["function"] for tool in tools), schema)


@lru_cache(maxsize=128)
def _either_grammar(functions: str, schema: str) -> str:
    rules = _rules(
        "The schemas of tools and answer",
        lambda: {"anyOf": [*_calls(functions), _inlined(json.loads(schema))]},
    )
    *calls, answer = re.findall(r"(?m)^root ::= (.*)$", rules)[0].split(" | ")
    root = f"root ::= marked-call+ | {answer}\ncall ::= {' | '.join(calls)}"
    marks = f'marked-call ::= "{OPEN}" "\\n"? call "\\n"? "{CLOSE}"'
    return f"{root}\n{marks}\n" + re.sub(r"(?m)^root ::= .*\n?", "", rules)


def _functions(functions: Iterable[Mapping[str, Any]]) -> str:
    return json.dumps([[item["name"], item.get("parameters") or {"type": "object"}] for item in functions])


def _calls(functions: str) -> list[dict[str, Any]]:
    """The schema of a call of each function."""
    calls: list[dict[str, Any]] = []
    for name, parameters in json.loads(functions):
        arguments = {"type": "object", "properties": {}, **_inlined(parameters)}
        properties = {"name": {"const": name}, "arguments": arguments}
        calls.append({"type": "object", "properties": properties, "required": ["name", "arguments"]})
    return calls


@lru_cache(maxsize=128)
def _grammar(functions: str) -> str:
    def made() -> dict[str, Any]:
        calls = _calls(functions)
        return calls[0] if len(calls) == 1 else {"anyOf": calls}

    rules = re.sub(r"(?m)^root ::=", "call ::=", _rules("The tools' schemas", made))
    return f'root ::= "{OPEN}" "\\n"? call "\\n"? "{CLOSE}"\n{rules}'


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    from langchain_core.utils.json_schema import dereference_refs

    found: dict[str, Any] = dereference_refs(schema)
    found.pop("$defs", None)
    _check_size(found)
    return found


def _rules(what: str, schema: Callable[[], dict[str, Any]]) -> str:
    try:
        return schema_grammar(json.dumps(schema()))
    except ChainopsError:
        raise
    except Exception as error:
        raise CallError(
            f"{what} cannot be made into a grammar: {type(error).__name__}: {error}",
            hint="Use plain JSON schema without recursion or references to other files; or force no call.",
            code="call.grammar",
        ) from error


def _check_size(schema: Any, depth: int = 0) -> None:
    """A grammar spells repetitions out: refuse those that would fill the memory."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(schema, dict):
        for key in SIZES:
            if isinstance(schema.get(key), (int, float)) and schema[key] > MAX_REPEAT:
                raise ValueError(f"{key} {schema[key]} is above {MAX_REPEAT}")
        if REPEAT.search(str(schema.get("pattern", ""))):
            raise ValueError(f"a pattern repeats more than {MAX_REPEAT - 1} times")
        schema = list(schema.values())
    if isinstance(schema, list):
        for item in schema:
            _check_size(item, depth + 1)
