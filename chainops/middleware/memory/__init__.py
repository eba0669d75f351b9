"""What is remembered of the person who asks, in front of the question."""

from chainops.middleware.memory.middleware import Memory

__all__ = ["Memory"]
