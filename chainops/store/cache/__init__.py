"""Where answers are kept: an LRU of objects over a store of bytes, written behind the caller's back."""

from chainops.store.cache.codec import Unfaithful, copy_value, decode, encode
from chainops.store.cache.protocol import CacheStore, Entry, Pending
from chainops.store.cache.tiers import Tiers, open_tiers

__all__ = [
    "CacheStore",
    "Entry",
    "Pending",
    "Tiers",
    "Unfaithful",
    "copy_value",
    "decode",
    "encode",
    "open_tiers",
]
