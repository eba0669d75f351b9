"""Every text in a state, a tool's arguments or a tool's result, with its place; and the same value with other texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from chainops.middleware.rails.texts import flat, replaced, role_of, talk_of
from chainops.middleware.rails.verdict import Place

__all__ = ["Leaf", "Swap", "leaves", "rebuilt"]

DEEP = 6  # levels of containers that are looked into; what lies deeper is judged as one flat text
Swap = Mapping[tuple[Place, str], str | None]
"""What stands for a text; None: the message's or document's whole content is withheld."""


class Leaf(NamedTuple):
    """One text. ``talk``: what was said before."""

    text: str
    place: Place
    role: str = ""
    talk: tuple[tuple[str, str], ...] = ()


def leaves(value: Any, place: Place, *, numbers: bool = False, depth: int = 0, talk: bool = False) -> Iterator[Leaf]:
    """The texts in ``value``: messages by their role, documents as ``retrieval``, all others as ``place``.

    Of a conversation that goes in, only what nobody has answered yet. ``talk``: with what was said before it.
    """
    if isinstance(value, str):
        if value:
            yield Leaf(value, place)
    elif isinstance(value, dict) and depth < DEEP:
        for item in value.values():
            yield from leaves(item, place, numbers=numbers, depth=depth + 1, talk=talk)
    elif value is None or isinstance(value, bool | bytes):
        return
    elif isinstance(value, int | float):
        if numbers:
            yield Leaf(str(value), place)
    elif _is_message(value):
        yield from _of_message(value, place)
    elif hasattr(value, "page_content"):
        if value.page_content:
            yield Leaf(value.page_content, "retrieval")
    elif depth >= DEEP:
        if text := flat(value):
            yield Leaf(text, place)
    elif isinstance(value, list | tuple):
        if value and _is_message(value[-1]):
            yield from _of_talk(value, place, numbers, depth, talk)
        else:
            for item in value:
                yield from leaves(item, place, numbers=numbers, depth=depth + 1, talk=talk)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item, place, numbers=numbers, depth=depth + 1, talk=talk)
    elif (fields := _fields(value)) is not None:
        for item in fields.values():
            yield from leaves(item, place, numbers=numbers, depth=depth + 1, talk=talk)


def _of_talk(messages: Any, place: Place, numbers: bool, depth: int, talk: bool) -> Iterator[Leaf]:
    """Of a conversation that goes in, what stands after the last answer; of one that comes out, everything."""
    first = 0
    if place == "input":
        first = len(messages)
        while first and not (_is_message(messages[first - 1]) and role_of(messages[first - 1]) == "assistant"):
            first -= 1
    for i in range(first, len(messages)):
        message = messages[i]
        if not _is_message(message):
            yield from leaves(message, place, numbers=numbers, depth=depth + 1)
            continue
        for leaf in _of_message(message, place):
            yield leaf._replace(talk=talk_of(m for m in messages[:i] if _is_message(m))) if talk else leaf


def _of_message(message: Any, place: Place) -> Iterator[Leaf]:
    text, role = flat(message.content), role_of(message)
    if not text or role in ("system", "developer"):
        return
    if role == "tool":
        yield Leaf(text, "tool_result", role)
    elif role == "assistant":
        if place != "input":
            yield Leaf(text, "output", role)
    elif place != "output":
        yield Leaf(text, "input", role)


def rebuilt(value: Any, place: Place, swap: Swap, depth: int = 0) -> Any:
    """``value`` with the texts in ``swap`` replaced; the same object where there are none."""
    if isinstance(value, str):
        return _swapped(value, place, swap)
    if value is None or isinstance(value, bool | bytes):
        return value
    if isinstance(value, int | float):
        text = str(value)
        return _swapped(text, place, swap) if (place, text) in swap else value
    if _is_message(value):
        role = role_of(value)
        at: Place = "tool_result" if role == "tool" else "output" if role == "assistant" else "input"
        text = flat(value.content)
        return replaced(value, _swapped(text, at, swap)) if text and (at, text) in swap else value
    if hasattr(value, "page_content"):
        text = value.page_content
        if ("retrieval", text) not in swap:
            return value
        return value.model_copy(update={"page_content": _swapped(text, "retrieval", swap)})
    if depth >= DEEP:
        text = flat(value)
        return _swapped(text, place, swap) if (place, text) in swap else value
    return _rebuilt_container(value, place, swap, depth)


def _rebuilt_container(value: Any, place: Place, swap: Swap, depth: int) -> Any:
    if isinstance(value, list | tuple):
        items = [rebuilt(item, place, swap, depth + 1) for item in value]
        if all(a is b for a, b in zip(items, value, strict=True)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, Mapping):
        return _changed(value, place, swap, depth, lambda changes: {**value, **changes})
    fields = _fields(value)
    if fields is None:
        return value
    if hasattr(value, "model_copy"):
        return _changed(fields, place, swap, depth, lambda changes: value.model_copy(update=changes), value)
    return _changed(fields, place, swap, depth, lambda changes: dataclasses.replace(value, **changes), value)


def _changed(fields: Mapping[str, Any], place: Place, swap: Swap, depth: int, make: Any, whole: Any = None) -> Any:
    changes = {}
    for key, item in fields.items():
        new = rebuilt(item, place, swap, depth + 1)
        if new is not item:
            changes[key] = new
    return make(changes) if changes else (fields if whole is None else whole)


def _swapped(text: str, place: Place, swap: Swap) -> str:
    found = swap.get((place, text), text)
    return "" if found is None else found


def _is_message(value: Any) -> bool:
    return hasattr(value, "additional_kwargs")


def _fields(value: Any) -> Mapping[str, Any] | None:
    """The fields of a pydantic model or dataclass (a state, a Command); None for anything else."""
    if isinstance(value, type):
        return None
    if hasattr(value, "model_fields_set"):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    return None
