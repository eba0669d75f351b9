"""Prompts that fit: real token counts, budgets, and stages that leave out what is needed least."""

from chainops.middleware.compress.middleware import Compress
from chainops.middleware.compress.overflow import ContextOverflow
from chainops.middleware.compress.text import ShortText, compress_text

__all__ = ["Compress", "ContextOverflow", "ShortText", "compress_text"]
