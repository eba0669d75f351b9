"""Telemetry of packages below us is off unless somebody switches it on. Imported first, before any of them is."""

from __future__ import annotations

import os

__all__ = ["VARIABLES"]

VARIABLES = {
    "NEMO_GUARDRAILS_NO_USAGE_STATS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # since 1.31 it reports to its maker from Linux too, and keeps an id of the device
}
"""Set where they are not set. LangSmith sends nothing unless ``LANGSMITH_TRACING`` asks for it."""

for _name, _value in VARIABLES.items():
    os.environ.setdefault(_name, _value)
