"""The exact cache: equal calls get the answer that was given before, or that is being made."""

from chainops.middleware.cache.middleware import Cache

__all__ = ["Cache"]
