"""Retry: a call that failed for a passing reason is made again, in time, and never twice where that would do harm."""

from chainops.middleware.retry.middleware import Retry

__all__ = ["Retry"]
