"""What exceptions say, and saying it otherwise: LangGraph writes the text of errors into its checkpoints."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from typing import Any

from chainops.errors import ChainopsError

__all__ = ["members", "said", "say", "stand_in", "text_of"]

_TEXT, _SHOWN = "_chainops_text", "_chainops_shown"


def said(error: BaseException) -> dict[str, Any]:
    """What the text of an error is made of; also what an interrupt asks."""
    own = {"message": error.message, "hint": error.hint} if isinstance(error, ChainopsError) else {}
    notes = {"__notes__": error.__notes__} if getattr(error, "__notes__", None) else {}
    told = {name: text for name in (_TEXT, _SHOWN) if (text := getattr(error, name, None)) is not None}
    return {"args": error.args, **own, **notes, **told}


def say(error: BaseException, parts: dict[str, Any]) -> None:
    """Put ``parts``, in the form of :func:`said`, into the error."""
    for name, value in parts.items():
        setattr(error, name, value)


def members(error: BaseException) -> Iterator[BaseException]:
    """The error, and where it is a group, all errors in it."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for child in error.exceptions:
            yield from members(child)


def text_of(error: Exception, form: Callable[[Exception], str] = str) -> str:
    """``str(error)``, or what else ``form`` makes of it; empty where that fails."""
    try:
        return form(error)
    except Exception:  # noqa: BLE001  a broken __str__ says nothing
        return ""


def stand_in(error: Exception, text: str, shown: str) -> Exception:
    """The error, saying ``text`` as ``str()`` and ``shown`` as ``repr()``.

    The same object where its class lets that be changed; else an error of the nearest built-in class, with its name.
    """
    if not isinstance(error, BaseExceptionGroup):
        try:
            error.__class__ = _silent(type(error))
        except TypeError:  # made in C or Rust
            pass
        else:
            say(error, {_TEXT: text, _SHOWN: shown})
            return error
    base = next(c for c in type(error).__mro__ if c.__module__ == builtins.__name__ and not _is_group(c))
    silent = _silent(base, type(error))
    other: Any = silent.__new__(silent, text)
    say(other, {"args": (text,), _TEXT: text, _SHOWN: shown})
    other.__cause__, other.__suppress_context__ = error.__cause__, True
    other.__traceback__ = error.__traceback__
    return other  # type: ignore[no-any-return]


def _is_group(kind: type) -> bool:
    return issubclass(kind, BaseExceptionGroup)


def _silent(base: type[Any], like: type[Any] | None = None) -> type[Any]:
    like = like or base
    own = {
        "__module__": like.__module__,
        "__qualname__": like.__qualname__,
        "__str__": lambda self: getattr(self, _TEXT),
        "__repr__": lambda self: getattr(self, _SHOWN),
    }
    return type(like.__name__, (base,), own)
