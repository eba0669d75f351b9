"""A plugin for chainops: sends finished spans to an OpenTelemetry collector while the application runs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from chainops import Middleware
from chainops.plugin import Plugin
from chainops_otlp.layer import Otlp
from chainops_otlp.send import Sender, headers_of, target_of

__all__ = ["Options", "Otlp", "Sender", "plugin"]

__version__ = "0.1.0"


class Options(BaseModel, extra="forbid", frozen=True):
    """The table ``[plugins.otlp]``."""

    endpoint: str | None = Field(
        default=None, description="URL of the collector; else OTEL_EXPORTER_OTLP_ENDPOINT, else http://localhost:4318."
    )
    protocol: Literal["http/json", "http/protobuf"] = Field(
        default="http/json", description="Encoding; protobuf needs chainops-otlp[protobuf]."
    )
    headers: dict[str, str] = Field(
        default={}, description="Sent with each request, beside those of OTEL_EXPORTER_OTLP_HEADERS (for secrets)."
    )
    service: str = Field(default="chainops", description="The attribute service.name.")
    resource: dict[str, str] = Field(default={}, description="Further attributes of the resource.")
    content: bool = Field(default=True, description="False leaves inputs, outputs and messages out.")
    compress: bool = Field(default=True, description="Send gzip.")
    every_s: float = Field(default=1.0, gt=0, description="Seconds between two looks into the trace file.")
    timeout_s: float = Field(default=10.0, gt=0, description="Seconds that one request may take.")
    close_s: float = Field(default=5.0, ge=0, description="Seconds that the end of the application may wait for it.")


def layers(options: Options) -> list[Middleware]:
    """The one layer, which follows the trace file."""
    sender = Sender(
        target_of(options.endpoint),
        headers=headers_of(options.headers),
        protobuf=options.protocol == "http/protobuf",
        compress=options.compress,
        timeout_s=options.timeout_s,
    )
    return [
        Otlp(
            sender,
            service=options.service,
            resource=options.resource,
            content=options.content,
            every_s=options.every_s,
            close_s=options.close_s,
        )
    ]


plugin = Plugin(name="otlp", version=__version__, options=Options, middleware=layers, migrations=Otlp.migrations)
