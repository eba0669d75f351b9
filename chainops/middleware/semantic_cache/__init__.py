"""The semantic cache: a question that means what a known one means gets its answer, with a bound on wrong ones."""

from chainops.middleware.semantic_cache.middleware import SemanticCache

__all__ = ["SemanticCache"]
