"""Versions of whole chains: every run names the one that it ran on."""

from chainops.middleware.chain.middleware import Chain

__all__ = ["Chain"]
