"""One signed request, and how a receiver checks the signature."""

from __future__ import annotations

import hashlib
import hmac
import time
import urllib.error
import urllib.request
from typing import Any

import orjson

from chainops.errors import CallError

__all__ = ["Hook", "Refused", "sign", "verify"]

SIGNATURE = "X-Chainops-Signature"
DELIVERY = "X-Chainops-Delivery"
BUSY = (408, 425, 429)


class Refused(CallError):
    """The receiver will not take this request, however often it is sent."""


def sign(key: str, body: bytes, at: int) -> str:
    """``t=<seconds>,v1=<HMAC-SHA256 of "seconds.body">``: the time is signed too, so that none is sent again later."""
    code = hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={code}"


def verify(key: str, body: bytes, signature: str, *, now: float | None = None, within_s: float = 300.0) -> bool:
    """For receivers: whether a header ``X-Chainops-Signature`` belongs to the body, and is fresh."""
    parts = dict(part.split("=", 1) for part in signature.split(",") if "=" in part)
    try:
        at = int(parts.get("t", ""))
    except ValueError:
        return False
    fresh = abs((time.time() if now is None else now) - at) <= within_s
    return fresh and hmac.compare_digest(sign(key, body, at).encode(), signature.encode())


class Hook:
    """Posts JSON to one URL.

    Args:
        url: of the receiver.
        key: requests are signed with it; None: they are not.
        timeout_s: seconds that a request may take.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = 5.0) -> None:
        self.url, self.timeout_s, self._key = url, timeout_s, key

    def send(self, delivery: str, body: dict[str, Any]) -> None:
        """Post ``body``; ``delivery`` is the same when it comes again.

        Raises:
            Refused: answers 3xx and 4xx, but for 408, 425 and 429.
            CallError: it could not be delivered now (``call.alert``).
        """
        data = orjson.dumps(body)
        headers = {"Content-Type": "application/json", DELIVERY: delivery}
        if self._key is not None:
            headers[SIGNATURE] = sign(self._key, data, int(time.time()))
        asked = urllib.request.Request(self.url, data=data, headers=headers, method="POST")  # noqa: S310 checked
        try:
            with _OPENER.open(asked, timeout=self.timeout_s):
                return
        except urllib.error.HTTPError as error:
            error.close()
            kind = CallError if error.code >= 500 or error.code in BUSY else Refused
            problem = f"{self.url} answered {error.code}"
        except OSError as error:
            kind, problem = CallError, f"{self.url}: {getattr(error, 'reason', error)}"
        raise kind(problem, hint="Check [plugins.alert_hook].url and its receiver.", code="call.alert")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A signed body goes to the URL of the settings, and nowhere else."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)
