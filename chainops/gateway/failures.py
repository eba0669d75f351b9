"""Which failures may pass by themselves, and when: by what exceptions say, without importing who raises them."""

from __future__ import annotations

import asyncio
import email.utils
import json
import sys
import time
from typing import Any

from chainops.errors import Blocked, CallError, SetupError, is_control_flow

__all__ = ["is_retryable", "may_work_elsewhere", "retry_after_s", "status_of"]

PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""HTTP statuses that may go away (RFC 9110, and what proxies and model servers add)."""
OF_THE_PLACE = frozenset({401, 402, 403, 404, 410, 413})
"""HTTP statuses that another server may not give: key, payment, name of the model, size."""
_TRANSPORT = {
    "httpx": ("TransportError",),
    "httpx2": ("TransportError",),
    "requests": ("ConnectionError", "Timeout"),
    "aiohttp": ("ClientError",),
}
_OPENAI = ("APIConnectionError", "APITimeoutError", "APIResponseValidationError")


def is_retryable(error: BaseException) -> bool:
    """True when the same call may succeed later: overload, a server's failure, a cut connection, a broken answer."""
    if is_control_flow(error) or isinstance(error, Blocked | SetupError) or not isinstance(error, Exception):
        return False
    if isinstance(error, CallError):
        return bool(error.retryable)
    status = status_of(error)
    if status is not None:
        return status in PASSING
    if isinstance(error, ConnectionError | TimeoutError | asyncio.IncompleteReadError | json.JSONDecodeError):
        return True
    return _is_transport(error)


def may_work_elsewhere(error: BaseException) -> bool:
    """True when another deployment may answer: what is retryable, and what is wrong with one server only."""
    if is_retryable(error):
        return True
    if is_control_flow(error) or isinstance(error, Blocked | SetupError) or not isinstance(error, Exception):
        return False
    overflow = getattr(sys.modules.get("langchain_core.exceptions"), "ContextOverflowError", None)
    return status_of(error) in OF_THE_PLACE or (overflow is not None and isinstance(error, overflow))


def status_of(error: BaseException) -> int | None:
    """The HTTP status of a failure that an exception carries, as those of httpx, OpenAI and others do.

    An answer of status 200 that could not be read has none.
    """
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and 400 <= value <= 599:
                return value
    return None


def retry_after_s(error: BaseException) -> float | None:
    """Seconds to wait, where the error says so: ``Retry-After`` in seconds or as a date, or ``retry-after-ms``."""
    own = getattr(error, "retry_after_s", None)
    if isinstance(own, int | float):
        return max(0.0, float(own))
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
    if headers is None or not hasattr(headers, "get"):
        return None
    if (ms := _number(headers.get("retry-after-ms"))) is not None:
        return ms / 1000
    value = headers.get("retry-after") or headers.get("Retry-After")
    if value is None or (seconds := _number(value)) is not None:
        return None if value is None else seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < 1e9 else None


def _is_transport(error: Exception) -> bool:
    for module, names in _TRANSPORT.items():
        known = sys.modules.get(module)
        if known is not None and isinstance(error, tuple(getattr(known, n) for n in names)):
            return True
    openai = sys.modules.get("openai")
    return openai is not None and isinstance(error, tuple(getattr(openai, n) for n in _OPENAI if hasattr(openai, n)))
