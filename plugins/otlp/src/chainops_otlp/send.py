"""OTLP over HTTP: one request, in either encoding."""

from __future__ import annotations

import base64
import gzip
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from chainops.errors import CallError, SetupError

__all__ = ["Refused", "Sender", "headers_of", "target_of"]


class Refused(CallError):
    """The collector says that the request itself is wrong or too large: it is not worth repeating."""


def target_of(endpoint: str | None) -> str:
    """The URL for traces, by the rules of OpenTelemetry: a base gets ``/v1/traces``.

    Raises:
        SetupError: it is no http URL (``setup.url``).
    """
    whole = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if endpoint is None and whole:
        return _checked(whole)
    url = _checked(endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or "http://localhost:4318")
    return url if urlsplit(url).path.endswith("/v1/traces") else url.rstrip("/") + "/v1/traces"


def headers_of(given: Mapping[str, str]) -> dict[str, str]:
    """The headers of the settings over those of ``OTEL_EXPORTER_OTLP_HEADERS`` ("key=value,key=value")."""
    pairs = [pair.partition("=") for pair in os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", "").split(",")]
    return {**{name.strip(): unquote(value.strip()) for name, equals, value in pairs if equals}, **given}


class Sender:
    """Posts requests to one collector.

    Args:
        url: of the collector, path included.
        headers: sent with each request.
        protobuf: encode as protobuf, else as JSON.
        compress: send gzip.
        timeout_s: seconds that a request may take.

    Raises:
        SetupError: protobuf is asked for and not installed (``setup.missing_extra``).
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        protobuf: bool = False,
        compress: bool = True,
        timeout_s: float = 10.0,
    ) -> None:
        self.url, self.compress, self.timeout_s = url, compress, timeout_s
        self._encode = _protobuf() if protobuf else orjson.dumps
        kind = "application/x-protobuf" if protobuf else "application/json"
        self._headers = {**(headers or {}), "Content-Type": kind, **({"Content-Encoding": "gzip"} if compress else {})}
        self._protobuf = protobuf

    def send(self, request: dict[str, Any]) -> int:
        """Send a request as ``otlp_request`` makes it; how many of its spans were rejected.

        Raises:
            Refused: the request will never be taken.
            CallError: it was not taken now (``call.otlp``).
        """
        body = self._encode(request)
        data = gzip.compress(body, 1) if self.compress else body
        asked = urllib.request.Request(self.url, data=data, headers=self._headers, method="POST")  # noqa: S310 checked
        try:
            with urllib.request.urlopen(asked, timeout=self.timeout_s) as answer:  # noqa: S310
                return _rejected(answer.read(), answer.headers.get("Content-Type", ""))
        except urllib.error.HTTPError as error:
            with error:
                problem = f"{self.url} answered {error.code} {error.read(300).decode('utf-8', 'replace')}".strip()
            kind = Refused if error.code in (400, 413, 422) else CallError
        except OSError as error:
            problem, kind = f"{self.url}: {getattr(error, 'reason', error)}", CallError
        raise kind(problem, hint="Is the collector running, and is the URL its own?", code="call.otlp")


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SetupError(f"{url!r} is no http URL", hint="For example http://localhost:4318", code="setup.url")
    return url


def _rejected(body: bytes, kind: str) -> int:
    if "protobuf" in kind:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        return int(ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)
    try:
        return int((orjson.loads(body or b"{}").get("partialSuccess") or {}).get("rejectedSpans", 0))
    except (ValueError, AttributeError, TypeError):
        return 0


def _protobuf() -> Any:
    try:
        from google.protobuf.json_format import ParseDict
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    except ImportError as error:
        raise SetupError(
            "protocol 'http/protobuf' needs the package 'opentelemetry-proto', which is not installed",
            hint="pip install 'chainops-otlp[protobuf]', or protocol = \"http/json\"",
            code="setup.missing_extra",
        ) from error

    def encode(request: dict[str, Any]) -> bytes:
        return bytes(ParseDict(_with_bytes(request), ExportTraceServiceRequest()).SerializeToString())

    return encode


def _with_bytes(request: dict[str, Any]) -> dict[str, Any]:
    """Ids in base64, as protobuf's own JSON has them; OTLP's has hex digits."""
    return {
        "resourceSpans": [
            {
                **resource,
                "scopeSpans": [
                    {**scope, "spans": [_span_with_bytes(span) for span in scope["spans"]]}
                    for scope in resource["scopeSpans"]
                ],
            }
            for resource in request["resourceSpans"]
        ]
    }


def _span_with_bytes(span: dict[str, Any]) -> dict[str, Any]:
    ids: dict[str, str] = {
        key: base64.b64encode(bytes.fromhex(span[key])).decode()
        for key in ("traceId", "spanId", "parentSpanId")
        if key in span
    }
    return {**span, **ids}
