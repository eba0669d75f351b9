"""How many tokens a prompt has: by the serving model's own vocabulary, else by a table with a stated error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from chainops.middleware.compress.token_features import features, weigh
from chainops.middleware.compress.token_tables import TABLES, table_for

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["Counts", "KnownCounts", "OwnCounter", "TableCounter", "TextCounter", "counter_of", "text_of"]

MAX_KNOWN = 50_000
IMAGE_TOKENS = 1600
"""For one block that is no text. Providers document 85 to about 1,600 for an image."""
PER_MESSAGE, PER_PROMPT = 8, 64
"""Tokens that a chat template adds, at most, where it cannot be asked."""


class TextCounter(Protocol):
    """Counts tokens of plain text.

    Attributes:
        name: which vocabulary, for spans.
        exact: it is the model's own vocabulary.
        error: how far below the truth a count may be, as a share of it; 0 where it is exact.
    """

    name: str
    exact: bool
    error: float

    def count(self, text: str) -> int:
        """Tokens of ``text``."""

    def prompt(self, messages: Sequence[BaseMessage], tools: Sequence[Any]) -> int | None:
        """Tokens of the whole prompt, as the chat template writes it; None where there is no template to ask."""


class OwnCounter:
    """The vocabulary of the model itself. Counting blocks until the model is loaded.

    Args:
        model: has ``count_tokens(text)`` as ``ChatLlama`` has, or LangChain's ``custom_get_token_ids``.
    """

    exact, error = True, 0.0

    def __init__(self, model: Any) -> None:
        self.model = model
        self.name = str(getattr(model, "model_name", None) or type(model).__name__)
        own = getattr(model, "count_tokens", None)
        ids: Callable[[str], Sequence[int]] | None = getattr(model, "custom_get_token_ids", None)
        self._count: Callable[[str], int] = own or (lambda text: len(ids(text)))  # type: ignore[misc]
        self._has_template = own is not None

    def count(self, text: str) -> int:
        """Tokens of ``text``."""
        return self._count(text)

    def prompt(self, messages: Sequence[BaseMessage], tools: Sequence[Any]) -> int | None:
        """Tokens of the whole prompt; None for a model that only counts text."""
        if not self._has_template:
            return None
        return int(self.model.get_num_tokens_from_messages(list(messages), list(tools) or None))


class TableCounter:
    """An estimate for a model whose vocabulary is not on this machine; never below the truth by more than ``error``.

    Args:
        table: a name in ``TABLES``.
    """

    exact = False

    def __init__(self, table: str) -> None:
        self.name = f"table {table}"
        self._weights, self.error = TABLES[table]

    def count(self, text: str) -> int:
        """Tokens of ``text``, estimated."""
        return round(weigh(features(text), self._weights)) if text else 0

    def prompt(self, messages: Sequence[BaseMessage], tools: Sequence[Any]) -> int | None:
        """None: the template is the provider's."""
        return None


def counter_of(model: Any, name: str) -> TextCounter:
    """The counter for a model: its own vocabulary where it has one, else the table that fits its name.

    ``get_token_ids`` is not asked: LangChain's default, and those of hosted models, fetch vocabularies from a network.
    """
    if callable(getattr(model, "count_tokens", None)) or getattr(model, "custom_get_token_ids", None) is not None:
        return OwnCounter(model)
    return TableCounter(table_for(name))


def text_of(message: BaseMessage) -> tuple[str, int]:
    """The text that the model reads of a message, calls included, and how many blocks are none."""
    content = message.content
    blocks = 0
    if isinstance(content, str):
        text = content
    else:
        texts = []
        for block in content:
            if isinstance(block, str):
                texts.append(block)
            elif block.get("type") in ("text", "tool_result", "reasoning", "thinking"):
                inner = next((block[key] for key in ("text", "content", "reasoning", "thinking") if key in block), "")
                texts.append(inner if isinstance(inner, str) else _json(inner))
            elif block.get("type") not in ("tool_use", "tool_call"):
                blocks += 1
        text = "".join(texts)
    fields = message.__dict__  # as pydantic keeps them; asking for one that is not there takes it microseconds
    for call in fields.get("tool_calls") or ():
        text += f'\n{{"name": "{call["name"]}", "arguments": {_json(call["args"])}}}'
    for call in fields.get("invalid_tool_calls") or ():
        text += str(call["args"] or "")
    return text, blocks


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class Counts:
    """Counts of one model's messages, each made once.

    Known messages are found by the hash of their text (Python's keyed 64 bits) and its length.

    Args:
        counter: counts what is not known.
    """

    def __init__(self, counter: TextCounter) -> None:
        self.counter = counter
        self._known: dict[tuple[int, int], int] = {}
        self._tools: dict[int, tuple[Any, int]] = {}
        self._lock = threading.Lock()
        self._frame: tuple[int, int] | None = None

    def text(self, text: str) -> int:
        """Tokens of ``text``; from memory where it was counted before."""
        key = (hash(text), len(text))
        found = self._known.get(key)
        if found is None:
            found = self.counter.count(text)
            with self._lock:
                if len(self._known) >= MAX_KNOWN:
                    for old in list(self._known)[: MAX_KNOWN // 2]:
                        del self._known[old]
                self._known[key] = found
        return found

    def unknown(self, messages: Sequence[BaseMessage]) -> int:
        """Characters of ``messages`` that were not counted yet."""
        texts = (text_of(message)[0] for message in messages)
        return sum(len(text) for text in texts if (hash(text), len(text)) not in self._known)

    def message(self, message: BaseMessage) -> int:
        """Tokens that ``message`` adds to a prompt, with what the template writes around it."""
        text, blocks = text_of(message)
        return self.text(text) + self.frame[1] + blocks * IMAGE_TOKENS

    def messages(self, messages: Sequence[BaseMessage]) -> int:
        """Tokens of a prompt without tools: the sum of its messages, and what the template adds once."""
        return self.frame[0] + sum(map(self.message, messages))

    def tools(self, tools: Sequence[Any]) -> int:
        """Tokens of the definitions of tools. Remembered for as long as it is the same list."""
        if not tools:
            return 0
        known = self._tools.get(id(tools))
        if known is not None and known[0] is tools:
            return known[1]
        tokens = self._with_tools(tools)
        with self._lock:
            if len(self._tools) > 256:
                self._tools.clear()
            self._tools[id(tools)] = tools, tokens
        return tokens

    def _with_tools(self, tools: Sequence[Any]) -> int:
        from langchain_core.messages import HumanMessage

        probe = [HumanMessage("a")]
        try:
            with_them, without = self.counter.prompt(probe, tools), self.counter.prompt(probe, [])
        except Exception:  # noqa: BLE001  a template of somebody's: counted as JSON then
            with_them = without = None
        if with_them is not None and without is not None:
            return with_them - without
        return self.counter.count(_json(list(tools))) + PER_PROMPT

    @property
    def frame(self) -> tuple[int, int]:
        """What the chat template adds: once, and to every message."""
        if self._frame is None:
            self._frame = self._ask_template()
        return self._frame

    @property
    def ready(self) -> bool:
        """False while counting could block until a model is loaded."""
        return self._frame is not None

    def _ask_template(self) -> tuple[int, int]:
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

        say, reply = HumanMessage("a"), AIMessage("a")
        each = self.counter.count("a")
        try:
            one = self.counter.prompt([say], [])
            three = self.counter.prompt([say, reply, say], [])
        except Exception:  # noqa: BLE001  a template may refuse what it likes
            one = three = None
        if one is None or three is None:
            return PER_PROMPT, PER_MESSAGE
        per = max(-(-(three - one - 2 * each) // 2), 0)
        try:
            with_system = self.counter.prompt([SystemMessage("a"), say], []) or 0
        except Exception:  # noqa: BLE001  as above
            with_system = 0
        per = max(per, with_system - one - each)
        return max(one - each - per, 0), per + 1  # the first token of a text may join with nothing before it


class KnownCounts:
    """The counts of all models of a layer."""

    def __init__(self) -> None:
        self._known: dict[int | str, Counts] = {}
        self._latest: Counts | None = None
        self._lock = threading.Lock()

    def of(self, model: Any, name: str) -> Counts:
        """The counts of ``model``. Copies of one model share their attributes, and so their counts."""
        own = callable(getattr(model, "count_tokens", None)) or getattr(model, "custom_get_token_ids", None)
        key: int | str = id(model.__dict__) if own else name
        found = self._known.get(key)
        if found is None:
            with self._lock:
                if len(self._known) >= 64:
                    self._known.clear()
                found = self._known.setdefault(key, Counts(counter_of(model, name)))
            if not own:
                _ = found.frame  # known without a model
        self._latest = found
        return found

    def any_text(self) -> Callable[[str], int]:
        """Counts by the model that was asked for last; before the first, by the table that counts most."""
        found = self._latest or Counts(TableCounter(table_for("")))
        return found.text


def upper_bound(messages: Sequence[BaseMessage]) -> int:
    """Bytes of the messages: no vocabulary of bytes makes more tokens of them. Microseconds, and no vocabulary."""
    total = 0
    for message in messages:
        content = message.content
        if isinstance(content, str) and not message.__dict__.get("tool_calls"):
            total += len(content) if content.isascii() else len(content.encode("utf-8", "replace"))
        else:
            text, blocks = text_of(message)
            total += len(text.encode("utf-8", "replace")) + blocks * IMAGE_TOKENS
    return total
