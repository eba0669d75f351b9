"""What a model, tool, retriever, runnable or node function is: the same JSON in every process, for cache keys and
versions of chains."""

from chainops.identity.describe import identity_of

__all__ = ["identity_of"]
