"""Answers by the meaning of their questions: an index of vectors, and the file that keeps them."""

from chainops.store.semantic.file import SemanticEntry, SemanticFile
from chainops.store.semantic.index import VectorIndex

__all__ = ["SemanticEntry", "SemanticFile", "VectorIndex"]
