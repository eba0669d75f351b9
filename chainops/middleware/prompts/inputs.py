"""A JSON Schema as a function that names everything wrong with a value, each with its place.

A part of JSON Schema (draft 2020-12), see ``KEYWORDS``. A keyword outside it is refused when the schema is compiled,
never passed over: ``pattern`` because a regular expression can take hours on one text, ``$ref`` because a prompt
stands for itself. Values must be JSON of exactly the built-in types; a subclass of ``str`` could bring its own methods.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from chainops.store.canonical import json_mistakes

__all__ = ["KEYWORDS", "Check", "Problem", "compile_schema", "explain"]

Problem = tuple[str, str]
"""A place (".user.age[2]") and what is wrong there."""

Check = Callable[[Any], "list[Problem] | None"]
"""None when the value is right."""

ANNOTATIONS = frozenset({"title", "description", "default", "examples"})
LIMITS = {
    "minLength": "string",
    "maxLength": "string",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "minItems": "array",
    "maxItems": "array",
}
KEYWORDS = (
    ANNOTATIONS | LIMITS.keys() | {"type", "enum", "properties", "required", "additionalProperties", "items", "anyOf"}
)
"""The keywords of JSON Schema that are understood."""

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (float, int),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}
_WORDS = {str: "text", int: "an integer", float: "a number", bool: "true or false", type(None): "null"}
_WORDS |= {list: "a list", dict: "an object"}
_ARTICLES = {name: _WORDS[kinds[0]] for name, kinds in _TYPES.items()}


def explain(problems: list[Problem]) -> list[str]:
    """One line per problem, place first."""
    return [f"{place.removeprefix('.') or 'the value'} {text}" for place, text in problems]


def compile_schema(schema: Any, place: str = "") -> tuple[Check, list[Problem]]:
    """A check for ``schema``, and what is wrong with the schema itself (then the check is of no use)."""
    wrong: list[Problem] = []
    return _compile(schema, place, wrong, 0), wrong


def _compile(schema: Any, place: str, wrong: list[Problem], depth: int) -> Check:
    if schema is True:
        return _any
    if type(schema) is not dict or depth > 50:
        wrong.append((place, "is no JSON Schema: write a table such as {type: string}"))
        return _any
    for keyword in schema.keys() - KEYWORDS:
        wrong.append((f"{place}.{keyword}", f"is not supported (supported: {', '.join(sorted(KEYWORDS))})"))
    types = _types(schema, place, wrong)
    checks: list[Check] = []
    if "enum" in schema:
        checks.append(_enum(schema["enum"], place, wrong))
    if "anyOf" in schema:
        checks.append(_any_of(schema["anyOf"], place, wrong, depth))
    _check_limits(schema, types, place, wrong)
    if bounds := {k: schema[k] for k in LIMITS.keys() & schema.keys() if _is_number(schema[k])}:
        checks.append(_limits(bounds))
    if {"properties", "required", "additionalProperties"} & schema.keys():
        checks.append(_object(schema, place, wrong, depth))
    elif types is None or "object" in types:
        checks.append(_if(dict, _any))
    if "items" in schema:
        checks.append(_array(_compile(schema["items"], f"{place}.items", wrong, depth + 1)))
    elif types is None or "array" in types:
        checks.append(_if(list, _any))
    return _all(_typed(types), checks)


def _types(schema: Mapping[str, Any], place: str, wrong: list[Problem]) -> tuple[str, ...] | None:
    given = schema.get("type")
    if given is None:
        return None
    names = given if type(given) is list else [given]
    if not names or not all(type(n) is str and n in _TYPES for n in names):
        wrong.append((f"{place}.type", f"is {given!r}, not of {', '.join(_TYPES)}"))
        return None
    return tuple(names)


def _check_limits(schema: Mapping[str, Any], types: tuple[str, ...] | None, place: str, wrong: list[Problem]) -> None:
    for keyword, kind in LIMITS.items():
        if keyword in schema:
            if not _is_number(schema[keyword]):
                wrong.append((f"{place}.{keyword}", "is no number"))
            fits = types is None or kind in types or (kind == "number" and "integer" in types)
            if not fits:
                wrong.append((f"{place}.{keyword}", f"never applies: the type is {' or '.join(types or ())}"))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _any(value: Any) -> list[Problem] | None:
    kind = type(value)
    if kind is bool or value is None:
        return None
    mistakes = json_mistakes(value, "it")
    return [("", mistake) for mistake in mistakes] or None


def _typed(types: tuple[str, ...] | None) -> Check:
    if types is None:
        return lambda value: None if type(value) in _WORDS and _is_sound(value) else _any(value)
    allowed = frozenset(kind for name in types for kind in _TYPES[name])
    only_integers = "integer" in types and "number" not in types
    wanted = " or ".join(_ARTICLES[name] for name in types)

    def check(value: Any) -> list[Problem] | None:
        kind = type(value)
        if kind in allowed:
            return None if _is_sound(value) else _any(value)
        if only_integers and kind is float and value.is_integer():
            return None
        return [("", f"is {_WORDS.get(kind, f'a {kind.__qualname__}')}, not {wanted}")]

    return check


def _is_sound(value: Any) -> bool:
    """What a built-in type lets through and JSON does not: NaN, half characters, huge integers."""
    kind = type(value)
    if kind is str:
        return value.isascii() or not json_mistakes(value)
    if kind is float:
        return math.isfinite(value)
    return kind is not int or -(2**63) <= value < 2**64


def _all(typed: Check, checks: list[Check]) -> Check:
    if not checks:
        return typed
    if len(checks) == 1:
        only = checks[0]
        return lambda value: typed(value) or only(value)

    def check(value: Any) -> list[Problem] | None:
        if problems := typed(value):
            return problems
        found: list[Problem] = []
        for each in checks:
            found += each(value) or ()
        return found or None

    return check


def _if(kind: type, check: Check) -> Check:
    return lambda value: check(value) if type(value) is kind else None


def _enum(allowed: Any, place: str, wrong: list[Problem]) -> Check:
    if (
        type(allowed) is not list
        or not allowed
        or not all(type(v) in (str, int, float, bool) or v is None for v in allowed)
    ):
        wrong.append((f"{place}.enum", "is no list of texts, numbers, true, false or null"))
        return _any
    known = {(type(v), v) for v in allowed}
    text = ", ".join("null" if v is None else repr(v) for v in allowed)

    def check(value: Any) -> list[Problem] | None:
        if type(value) in (list, dict) or (type(value), value) not in known:
            return [("", f"is none of {text}")]
        return None

    return check


def _any_of(schemas: Any, place: str, wrong: list[Problem], depth: int) -> Check:
    if type(schemas) is not list or not schemas:
        wrong.append((f"{place}.anyOf", "is no list of schemas"))
        return _any
    checks = [_compile(s, f"{place}.anyOf[{i}]", wrong, depth + 1) for i, s in enumerate(schemas)]

    def check(value: Any) -> list[Problem] | None:
        found = [each(value) for each in checks]
        if None in found:
            return None
        return [("", f"fits none of {len(checks)} forms: " + "; or ".join(explain(p or [])[0] for p in found))]

    return check


def _limits(bounds: Mapping[str, Any]) -> Check:
    def check(value: Any) -> list[Problem] | None:
        kind = type(value)
        if kind is str:
            return _range(len(value), bounds.get("minLength"), bounds.get("maxLength"), "characters")
        if kind is list:
            return _range(len(value), bounds.get("minItems"), bounds.get("maxItems"), "items")
        if kind in (int, float):
            over, under = bounds.get("exclusiveMinimum"), bounds.get("exclusiveMaximum")
            if over is not None and value <= over:
                return [("", f"must be more than {over}")]
            if under is not None and value >= under:
                return [("", f"must be less than {under}")]
            return _range(value, bounds.get("minimum"), bounds.get("maximum"), "")
        return None

    return check


def _range(size: float, low: float | None, high: float | None, what: str) -> list[Problem] | None:
    if low is not None and size < low:
        return [("", f"has {size} {what}, at least {low} are needed" if what else f"must be {low} or more")]
    if high is not None and size > high:
        return [("", f"has {size} {what}, at most {high} are allowed" if what else f"must be {high} or less")]
    return None


def _array(item: Check) -> Check:
    def check(value: Any) -> list[Problem] | None:
        if type(value) is not list:
            return None
        found: list[Problem] = []
        for i, each in enumerate(value):
            if problems := item(each):
                found += [(f"[{i}]{place}", text) for place, text in problems]
                if len(found) >= 20:
                    break
        return found or None

    return check


def _object(schema: Mapping[str, Any], place: str, wrong: list[Problem], depth: int) -> Check:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if type(properties) is not dict or not all(type(name) is str for name in properties):
        wrong.append((f"{place}.properties", "is no table of schemas"))
        properties = {}
    checks = {n: _compile(s, f"{place}.properties.{n}", wrong, depth + 1) for n, s in properties.items()}
    if type(required) is not list or not all(type(name) is str for name in required):
        wrong.append((f"{place}.required", "is no list of names"))
        required = []
    for name in required:
        if name not in checks:
            wrong.append((f"{place}.required", f"names {name!r}, which is not in properties"))
    more = schema.get("additionalProperties", True)
    other = None if more is False else _compile(more, f"{place}.additionalProperties", wrong, depth + 1)
    names = frozenset(checks)

    def check(value: Any) -> list[Problem] | None:
        if type(value) is not dict:
            return None
        found: list[Problem] = []
        for name in required:
            if name not in value:
                found.append((f".{name}", "is missing"))
        for name, each in checks.items():
            if name in value and (problems := each(value[name])):
                found += [(f".{name}{place}", text) for place, text in problems]
        if len(value) > len(names) or not names.issuperset(value):
            found += _rest(value, names, other)
        return found or None

    return check


def _rest(value: dict[Any, Any], names: frozenset[str], other: Check | None) -> list[Problem]:
    found: list[Problem] = []
    for name, item in value.items():
        if type(name) is not str:
            found.append(("", f"has the key {name!r}, which is no text"))
        elif name not in names:
            if other is None:
                known = f" (known: {', '.join(sorted(names))})" if names else ""
                found.append((f".{name}", f"is unknown{known}"))
            else:
                found += [(f".{name}{place}", text) for place, text in other(item) or ()]
    return found
