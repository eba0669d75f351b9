"""Chat templates: Jinja that came with a model file, so it is treated as hostile.

Rendering is sandboxed (no attributes of Python objects, no changes to data) and bounded in steps, characters and
seconds. Every way to make a lot out of a little is counted or measured first: loops and calls, output,
multiplication, concatenation, joining, replacing, formatting.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from functools import wraps
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from chainops.errors import CallError, SetupError

__all__ = ["ChatTemplate"]

MAX_STEPS = 500_000
MAX_CHARACTERS = 16_000_000
MAX_SECONDS = 5.0
MAX_SOURCE = 1_000_000
MAX_BITS = 256
MAX_INDENT = 64
WIDE_FORMAT = re.compile(r"%[^a-zA-Z%]*(\d{4}|\*)")
FILTERS = (
    "abs attr capitalize count d default dictsort e escape first float format groupby indent int items join last "
    "length list lower map max min reject rejectattr replace reverse round safe select selectattr sort string sum "
    "title trim unique upper"
)
UNSAFE_METHODS = frozenset({"center", "expandtabs", "ljust", "rjust", "translate", "zfill"})


class _Bounds:
    """What one rendering has used up."""

    def __init__(self) -> None:
        self.steps = self.characters = 0
        self.deadline = time.monotonic() + MAX_SECONDS

    def step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise SecurityError(f"more than {MAX_STEPS} steps")
        if not self.steps & 63 and time.monotonic() > self.deadline:
            raise SecurityError(f"more than {MAX_SECONDS:g} seconds")

    def write(self, value: Any) -> Any:
        self.step()
        self.characters += len(value) if isinstance(value, str) else len(str(value))
        _fits(self.characters)
        return value


_bounds: ContextVar[_Bounds | None] = ContextVar("chainops_template_bounds", default=None)


def _fits(size: int) -> None:
    if size > MAX_CHARACTERS:
        raise SecurityError(f"more than {MAX_CHARACTERS} characters")


def _step() -> None:
    if bounds := _bounds.get():
        bounds.step()


def _write(value: Any) -> Any:
    bounds = _bounds.get()
    return bounds.write(value) if bounds else value


def _sized(value: Any) -> Any:
    if isinstance(value, (str, list, tuple)):
        _fits(len(value))
    return value


def _counted(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        _step()
        yield item


def _check_join(glue: Any, items: Sequence[Any]) -> None:
    _fits(sum(len(str(item)) for item in items) + len(str(glue)) * len(items))


def _check_replace(text: Any, old: Any, new: Any) -> None:
    _fits(len(str(text)) + str(text).count(str(old)) * len(str(new)))


def _bounded_filter(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)  # keeps the marks by which Jinja knows filters that want the environment
    def bounded(*args: Any, **kwargs: Any) -> Any:
        _step()
        values = list(args[1:] if hasattr(original, "jinja_pass_arg") else args)
        head = len(args) - len(values)
        if name == "join" and values:
            values[0] = list(_counted(values[0]))
            if "attribute" not in kwargs and len(values) < 3:
                _check_join(kwargs.get("d", values[1] if len(values) > 1 else ""), values[0])
        elif name == "replace" and len(values) >= 3:
            _check_replace(*values[:3])
        elif name == "indent" and any(not isinstance(a, bool) and a > MAX_INDENT for a in _ints(values[1:], kwargs)):
            raise SecurityError("too wide an indent")
        elif name == "format" and values and WIDE_FORMAT.search(str(values[0])):
            raise SecurityError("too wide a format")
        return _sized(original(*args[:head], *values, **kwargs))

    return bounded


def _ints(values: Iterable[Any], kwargs: Mapping[str, Any]) -> list[int]:
    return [value for value in (*values, *kwargs.values()) if isinstance(value, int)]


def _to_json(
    value: Any,
    indent: int | None = None,
    *,
    ensure_ascii: bool = False,
    separators: Sequence[str] | None = None,
    sort_keys: bool = False,
) -> str:
    if indent is not None and indent > MAX_INDENT:
        raise SecurityError("too wide an indent")
    marks = (str(separators[0])[:MAX_INDENT], str(separators[1])[:MAX_INDENT]) if separators else None
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=marks, sort_keys=sort_keys, default=_listed
    )


def _listed(value: Any) -> list[Any]:
    """What filters such as ``map`` give is not there until somebody asks for it."""
    if isinstance(value, Iterator):
        return list(_counted(value))
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _raise(message: str) -> NoReturn:
    raise TemplateError(str(message))


def _now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(str(pattern)[:100])


class _Generation(Extension):
    """``{% generation %}``: marks for training what the assistant said; here it is what stands inside."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's interface

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self) -> None:
        extensions = ["jinja2.ext.loopcontrols", _Generation]
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=extensions, finalize=_write)
        self.filters = {name: _bounded_filter(name, self.filters[name]) for name in FILTERS.split()}
        self.filters |= {"tojson": _to_json, "counted_": _counted, "sized_": _sized}
        for name in ("lipsum", "cycler"):
            del self.globals[name]
        self.globals |= {"raise_exception": _raise, "strftime_now": _now}

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str) and attr in UNSAFE_METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is not None and ":" in str(getattr(value, "__self__", ":")):
            raise SecurityError("str.format with a format specification")
        return wrapped

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        _step()
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str) and args:
            if name == "join":
                args = (list(_counted(args[0])),)
                _check_join(owner, args[0])
            elif name == "replace" and len(args) > 1:
                _check_replace(owner, *args[:2])
        return _sized(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator in ("*", "**"):
            _check_product(operator, left, right)
        elif operator == "%" and isinstance(left, str) and WIDE_FORMAT.search(left):
            raise SecurityError("too wide a format")
        elif operator == "+" and isinstance(left, (str, list, tuple)) and isinstance(right, (str, list, tuple)):
            _fits(len(left) + len(right))
        return super().call_binop(context, operator, left, right)


def _check_product(operator: str, left: Any, right: Any) -> None:
    for text, times in ((left, right), (right, left)):
        if isinstance(text, (str, list, tuple)) and isinstance(times, int):
            _fits(len(text) * max(times, 0))
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * (right if operator == "**" else 1) + right.bit_length()
        if bits > MAX_BITS:
            raise SecurityError("too large a number")


def _instrument(tree: nodes.Template) -> nodes.Template:
    """Count every loop's turns, and measure every concatenation (``~``), which Jinja lets nobody intercept."""
    for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, "counted_", [], [], None, None, lineno=loop.lineno)
    for holder in [tree, *tree.find_all(nodes.Node)]:
        for field, value in holder.iter_fields():
            if isinstance(value, nodes.Concat):
                setattr(holder, field, _measured(value))
            elif isinstance(value, list):
                value[:] = [_measured(item) if isinstance(item, nodes.Concat) else item for item in value]
    return tree


def _measured(node: nodes.Concat) -> nodes.Filter:
    return nodes.Filter(node, "sized_", [], [], None, None, lineno=node.lineno)


class ChatTemplate:
    """A compiled chat template.

    Args:
        source: Jinja text, as in the model file.
        bos_token: text of the token that begins a prompt, offered to the template.
        eos_token: text of the token that ends an answer, offered to the template.

    Raises:
        SetupError: code ``setup.chat_template``: it is missing, too large, or no valid Jinja.
    """

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "") -> None:
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        hint = "Give a working one: ChatLlama(chat_template=...)."
        if not source.strip() or len(source) > MAX_SOURCE:
            problem = "is too large" if source.strip() else "is missing"
            raise SetupError(f"The model's chat template {problem}", hint=hint, code="setup.chat_template")
        environment = _Environment()
        try:
            self._template = environment.from_string(_instrument(environment.parse(source)))
        except (TemplateError, RecursionError, SyntaxError) as error:
            message = f"The model's chat template cannot be compiled: {error}"
            raise SetupError(message, hint=hint, code="setup.chat_template") from error

    def render(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None) -> str:
        """The prompt for the next answer of the assistant.

        Args:
            messages: OpenAI-style dictionaries, JSON values only.
            tools: OpenAI-style tool descriptions, or None.

        Raises:
            CallError: code ``call.chat_template``: the template refuses this conversation, does something
                forbidden, or makes more than the bounds allow.
        """
        token = _bounds.set(_Bounds())
        try:
            data = json.loads(
                json.dumps({"messages": list(messages), "tools": list(tools) if tools else None}, default=str)
            )
            return self._template.render(**data, **self._tokens, add_generation_prompt=True)
        except Exception as error:
            message = f"The model's chat template failed: {error or type(error).__name__}"
            hint = (
                "Change the conversation to what the template accepts, or give another: ChatLlama(chat_template=...)."
            )
            raise CallError(message, hint=hint, code="call.chat_template") from error
        finally:
            _bounds.reset(token)
