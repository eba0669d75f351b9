"""Versions that runs are held to from outside, for example when a stored run is run again."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

__all__ = ["HELD", "Versions"]

Versions = Mapping[str, Mapping[str, int]]
"""By kind of artifact, which version a label means: ``{"prompt": {"answer@prod": 3}}``."""

HELD: ContextVar[Versions | None] = ContextVar("chainops_held", default=None)
"""What runs that begin here are held to; None: nothing."""
