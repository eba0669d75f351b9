"""Trace every call into one SQLite file: :class:`Trace`."""

from chainops.middleware.trace.middleware import Trace

__all__ = ["Trace"]
