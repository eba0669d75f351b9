"""The language of prompt templates: a part of Jinja2 in which a template can do nothing but put text together.

No calls, no macros, no imports, no attributes of objects; data is JSON. What is left can only be long or slow, and that
is capped: here for single operations, in ``template`` for the whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS as JINJA_TESTS
from jinja2.visitor import NodeTransformer

__all__ = ["FILTERS", "MAX_TEXT", "TESTS", "Inliner", "environment", "forbidden"]

MAX_TEXT = 1_000_000
"""Characters that one text inside a template, and a whole rendered prompt, may have."""

MAX_NUMBER = 2**63
MAX_SETS = 50
MAX_INCLUDES = 50

_TESTS = "boolean defined divisibleby eq even false float ge gt in integer le lower lt mapping ne none number odd "
_TESTS += "sequence string true undefined upper"
TESTS = frozenset(_TESTS.split())
"""Tests that a template may use (``x is defined``)."""

_KEPT = "abs capitalize default dictsort first float int items last length list lower max min reverse sort title trim "
_KEPT += "truncate upper wordcount"

_LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})

_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.If,
    nodes.For,
    nodes.Filter,
    nodes.Test,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Slice,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.CondExpr,
    nodes.Concat,
    nodes.Add,
    nodes.Sub,
    nodes.Mul,
    nodes.Div,
    nodes.FloorDiv,
    nodes.Mod,
    nodes.Neg,
    nodes.Pos,
    nodes.List,
    nodes.Tuple,
    nodes.Keyword,
    nodes.Assign,
    nodes.Include,
)


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "%"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``x.name``: the key of an object, or a number of a loop. Attributes of Python objects do not exist here."""
        kind = type(obj)
        if kind is dict:
            if attribute in obj:
                return obj[attribute]
        elif kind is LoopContext and attribute in _LOOP:
            return getattr(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """``x[key]``: of an object, a list or a text."""
        if type(obj) in (dict, list, tuple, str):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                pass
        return self.undefined(obj=obj, name=argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Numbers add, multiply and divide; texts only add, up to a length."""
        if type(left) in (int, float) and type(right) in (int, float):
            result = super().call_binop(context, operator, left, right)
            if not -MAX_NUMBER <= result <= MAX_NUMBER:
                raise SecurityError(f"the result of {operator} is too large a number")
            return result
        if operator == "+" and type(left) is str and type(right) is str:
            return _sized(len(left) + len(right)) and left + right
        for value in (left, right):
            if isinstance(value, Undefined):
                str(value)  # says what is missing
        raise SecurityError(f"{operator} is for two numbers{' or two texts' if operator == '+' else ''}")


def _sized(length: int) -> bool:
    if length > MAX_TEXT:
        raise SecurityError(f"a text of {length:,} characters is longer than {MAX_TEXT:,}")
    return True


def _text(value: Any) -> str:
    """What ``{{ value }}`` prints: text and numbers as they are, lists and objects as JSON."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is int or kind is float:
        return str(value)
    if isinstance(value, Undefined):
        return str(value)  # raises: what is missing is never printed as nothing
    if value is None or kind in (bool, list, dict, tuple):
        return json.dumps(value, ensure_ascii=False)
    raise SecurityError(f"a {kind.__name__} cannot be printed; add |list or |join")


def _join(value: Iterable[Any], separator: str = "") -> str:
    if type(value) is str:
        raise SecurityError("join is for lists, not for text")
    parts = [_text(item) for item in value]
    _sized(sum(map(len, parts)) + len(parts) * len(separator))
    return separator.join(parts)


def _concat(value: list[Any]) -> str:
    return _join(value)


def _replace(value: str, old: str, new: str) -> str:
    if not (type(value) is type(old) is type(new) is str) or not old:
        raise SecurityError("replace is for a text and two texts, the first not empty")
    _sized(len(value) + value.count(old) * max(0, len(new) - len(old)))
    return value.replace(old, new)


def _indent(value: str, width: int = 4, first: bool = False) -> str:
    if type(width) is not int or not 0 <= width <= 40:
        raise SecurityError("the width of indent is 0 to 40")
    lines = _text(value).splitlines(keepends=True)
    _sized(sum(map(len, lines)) + width * len(lines))
    pad = " " * width
    return "".join(pad + line if line.strip() and (i or first) else line for i, line in enumerate(lines))


def _tojson(value: Any, indent: int | None = None) -> str:
    if indent is not None and (type(indent) is not int or not 0 <= indent <= 8):
        raise SecurityError("the indent of tojson is 0 to 8")
    if isinstance(value, Undefined):
        str(value)
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _round(value: float, precision: int = 0) -> float:
    if type(precision) is not int or not 0 <= precision <= 15:
        raise SecurityError("the precision of round is 0 to 15")
    return round(value, precision)


def _map(value: Iterable[Any], attribute: str) -> list[Any]:
    items = list(value)
    for i, item in enumerate(items):
        if type(item) is not dict or attribute not in item:
            raise SecurityError(f"item {i} has no {attribute!r}")
    return [item[attribute] for item in items]


FILTERS: Mapping[str, Callable[..., Any]] = {name: JINJA_FILTERS[name] for name in _KEPT.split()} | {
    "indent": _indent,
    "join": _join,
    "map": _map,
    "replace": _replace,
    "round": _round,
    "tojson": _tojson,
}
"""Filters that a template may use (``x|join(", ")``). They never make a text longer than ``MAX_TEXT``."""


@cache
def environment() -> _Environment:
    """The one environment: strict about what is missing, without globals, loader or extensions."""
    env = _Environment(
        undefined=StrictUndefined,
        finalize=_text,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        cache_size=0,
        auto_reload=False,
    )
    env.globals = {}
    env.filters = {**FILTERS, "_concat": _concat}
    env.tests = {name: JINJA_TESTS[name] for name in TESTS}
    return env


def forbidden(tree: nodes.Template) -> Iterator[tuple[int, str]]:
    """Line and reason for everything in a parsed template that this language does not have."""
    sets = 0
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _ALLOWED):
            yield node.lineno, f"{type(node).__name__} is not allowed in prompts"
        elif isinstance(node, nodes.For) and node.recursive:
            yield node.lineno, "recursive loops are not allowed in prompts"
        elif isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
            yield node.lineno, f"the attribute {node.attr!r} is not allowed in prompts"
        elif isinstance(node, nodes.Filter | nodes.Test):
            yield from _bad_filter(node)
        elif isinstance(node, nodes.List | nodes.Tuple) and getattr(node, "ctx", "load") == "load":
            # lists of lists of the same list are how a short template makes a long text
            if not all(isinstance(item, nodes.Const) for item in node.items):
                yield node.lineno, "lists may hold texts and numbers only"
        elif isinstance(node, nodes.Include):
            if not (isinstance(node.template, nodes.Const) and type(node.template.value) is str):
                yield node.lineno, 'include takes the name of a partial: {% include "tone" %}'
            elif node.ignore_missing or not node.with_context:
                yield node.lineno, "include takes a name and nothing else"
        sets += isinstance(node, nodes.Assign)
    if sets > MAX_SETS:
        yield 1, f"more than {MAX_SETS} set statements"


def _bad_filter(node: nodes.Filter | nodes.Test) -> Iterator[tuple[int, str]]:
    known = FILTERS if isinstance(node, nodes.Filter) else TESTS
    what = type(node).__name__.lower()
    if node.name not in known:
        yield node.lineno, f"there is no {what} {node.name!r} (there are: {', '.join(sorted(known))})"
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        yield node.lineno, f"the {what} {node.name!r} with * or ** is not allowed in prompts"


class Inliner(NodeTransformer):
    """Puts partials in the place of their includes, a sign of life into loops, and a cap on ``~``.

    Args:
        partial: the parsed and checked template of a partial by name.
    """

    def __init__(self, partial: Callable[[str], nodes.Template]) -> None:
        self.partial = partial

    def visit_Include(self, node: nodes.Include) -> nodes.Node:  # noqa: N802
        """The partial's body, in a scope of its own: what it sets stays inside."""
        assert isinstance(node.template, nodes.Const)
        return nodes.Scope(list(self.partial(node.template.value).body), lineno=node.lineno)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Every turn yields, also one that prints nothing, so that the clock is looked at."""
        self.generic_visit(node)
        node.body = [*node.body, nodes.Output([nodes.TemplateData("")], lineno=node.lineno)]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """``a ~ b`` through a filter that looks at the length first."""
        self.generic_visit(node)
        items = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(items, "_concat", [], [], None, None, lineno=node.lineno)
