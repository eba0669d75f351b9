"""Texts as vectors, in this process: one shared embedder per model, fed in batches, cached by content."""

from chainops.engines.embeddings.langchain import LocalEmbeddings
from chainops.engines.embeddings.place import default_place
from chainops.engines.embeddings.rerank import LlamaReranker
from chainops.engines.embeddings.shared import BatchedEmbedder, LazyEmbedder, embedder

__all__ = ["BatchedEmbedder", "LazyEmbedder", "LlamaReranker", "LocalEmbeddings", "default_place", "embedder"]
