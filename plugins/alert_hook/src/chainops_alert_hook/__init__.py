"""A plugin for chainops: calls a webhook when a budget is spent, a run fails or a score is out of bounds."""

from __future__ import annotations

import os
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from chainops import Middleware, SetupError
from chainops.plugin import Plugin
from chainops_alert_hook.alerts import Alert, Bounds
from chainops_alert_hook.layer import AlertHook
from chainops_alert_hook.send import Hook, sign, verify

__all__ = ["Alert", "AlertHook", "Bounds", "Hook", "Options", "plugin", "sign", "verify"]

__version__ = "0.1.0"
Event = Literal["error", "blocked", "budget", "budget_soft", "score"]


class Score(BaseModel, extra="forbid", frozen=True):
    """One entry of ``[[plugins.alert_hook.scores]]``."""

    name: str = Field(description="Glob on the names of scores.")
    below: float | None = Field(default=None, description="A score below it is an alert.")
    above: float | None = Field(default=None, description="A score above it is an alert.")


class Options(BaseModel, extra="forbid", frozen=True):
    """The table ``[plugins.alert_hook]``."""

    url: str = Field(description="Where alerts are posted.")
    secret_env: str | None = Field(
        default=None, description="Name of the environment variable with the key that requests are signed with."
    )
    events: tuple[Event, ...] = Field(
        default=("error", "budget", "score"), description="Of error, blocked, budget, budget_soft, score."
    )
    scores: tuple[Score, ...] = Field(default=(), description="Which scores are out of bounds.")
    quiet_s: float = Field(
        default=300.0, ge=0, description="Seconds in which the same alert is counted, but not sent again."
    )
    text: bool = Field(default=False, description="Send messages of errors and comments of scores.")
    every_s: float = Field(default=1.0, gt=0, description="Seconds between two looks into the trace file.")
    timeout_s: float = Field(default=5.0, gt=0, description="Seconds that one request may take.")
    close_s: float = Field(default=5.0, ge=0, description="Seconds that the end of the application may wait for it.")


def layers(options: Options) -> list[Middleware]:
    """The one layer, which follows the trace file."""
    parts = urlsplit(options.url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SetupError(f"{options.url!r} is no http URL", hint="For example https://host/hook", code="setup.url")
    key = os.environ.get(options.secret_env, "") if options.secret_env else None
    if key == "":
        raise SetupError(
            f"The key of the signature is to stand in the variable {options.secret_env}, which is not set",
            hint=f"Set {options.secret_env}, or take secret_env out of [plugins.alert_hook].",
            code="setup.settings",
        )
    bounds = [Bounds(each.name, each.below, each.above) for each in options.scores]
    return [
        AlertHook(
            Hook(options.url, key=key, timeout_s=options.timeout_s),
            events=options.events,
            bounds=bounds,
            quiet_s=options.quiet_s,
            text=options.text,
            every_s=options.every_s,
            close_s=options.close_s,
        )
    ]


plugin = Plugin(
    name="alert_hook", version=__version__, options=Options, middleware=layers, migrations=AlertHook.migrations
)
