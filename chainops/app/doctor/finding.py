"""What the doctor says about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "State"]

State = Literal["ok", "absent", "warning", "broken"]
"""ok · absent: optional, and not there · warning: works, but not as it should · broken: does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``fix``: what to do where ``state`` is not ok."""

    group: str
    name: str
    state: State
    detail: str
    fix: str = ""
