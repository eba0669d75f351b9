"""Every error that chainops raises, in the order in which users meet them.

::

    ChainopsError
    ├── SetupError            before the first call: what the person must change
    │   ├── MissingExtra      an optional package is not installed
    │   └── StoreError        the trace file cannot be opened, read or migrated
    └── CallError             one call failed; ``.retryable`` says whether trying again can help
        └── Blocked           a rail, limit or permission refused the call; never retried
            └── LimitExceeded a limit is used up; ``.retry_after_s`` says for how long

LangGraph's control flow (``interrupt()``, ``Command(graph=PARENT)``, drain) travels as exceptions too,
but is no error: see :func:`is_control_flow`.
"""

from __future__ import annotations

import sys
from typing import ClassVar

__all__ = [
    "Blocked",
    "CallError",
    "ChainopsError",
    "LimitExceeded",
    "MissingExtra",
    "SetupError",
    "StoreError",
    "is_control_flow",
]


class ChainopsError(Exception):
    """Base of all errors of chainops: a message, a stable ``code``, and a ``hint`` that says what to do.

    Args:
        message: what happened, with its values.
        hint: an instruction for the person who can change it; empty when there is none.
        code: stable dotted name for scripts and logs, for example ``"setup.order"``.
    """

    default_code: ClassVar[str] = "chainops"

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code

    def __str__(self) -> str:
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{self.message} [{self.code}]{hint}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.code)


def _rebuild(cls: type[ChainopsError], message: str, hint: str, code: str) -> ChainopsError:
    error = cls.__new__(cls)
    ChainopsError.__init__(error, message, hint=hint, code=code)
    return error


class SetupError(ChainopsError):
    """Something must be changed before the first call: settings, order, a file, a package."""

    default_code = "setup"


class MissingExtra(SetupError):
    """An optional package is not installed. The hint is the line that installs it."""

    default_code = "setup.missing_extra"

    def __init__(self, extra: str, *, package: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the package {package!r}, which is not installed",
            hint=f"pip install 'chainops[{extra}]'",
        )


class StoreError(SetupError):
    """The database cannot be opened, read or migrated. Nothing in it was changed."""

    default_code = "store"


class CallError(ChainopsError):
    """One call failed. ``retryable`` is true when the same call may succeed later."""

    default_code = "call"
    retryable: ClassVar[bool] = False


class Blocked(CallError, RuntimeError):
    """A middleware refused the call.

    Also a ``RuntimeError``, because LangGraph's default ``RetryPolicy`` retries every plain ``Exception``
    but no ``RuntimeError``: a refusal must not be asked for three times.
    """

    default_code = "call.blocked"


class LimitExceeded(Blocked):
    """A limit refused the call: the queue is full, or the call would wait too long.

    Args:
        retry_after_s: seconds after which a new call would be let in, as far as is known now; None: unknown.
    """

    default_code = "limits.exceeded"

    def __init__(self, message: str, *, hint: str = "", code: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.code), {"retry_after_s": self.retry_after_s}


def is_control_flow(error: BaseException) -> bool:
    """True for exceptions that steer a LangGraph run (interrupt, parent command, drain) and are no failure.

    Does not import LangGraph: where it was never imported, none of its exceptions can exist.
    """
    errors = sys.modules.get("langgraph.errors")
    return errors is not None and isinstance(error, errors.GraphBubbleUp)
