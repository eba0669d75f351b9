"""Prompts that fit: real token counts, budgets, and stages that leave out what is needed least."""

from chainops.middleware.compress.middleware import Compress
from chainops.middleware.compress.overflow import ContextOverflow

__all__ = ["Compress", "ContextOverflow"]
