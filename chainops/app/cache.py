"""The exact cache from settings."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from chainops.middleware.cache import Cache
from chainops.settings import Settings

__all__ = ["build"]

_NEVER_INSIDE = frozenset(
    {"trace", "cache", "pipeline", "plugins", "nodes", "limits", "access", "semantic_cache", "chain", "cost", "budgets"}
)
"""Sections that do not change what a node returns."""


def build(settings: Settings) -> Cache:
    """The layer for ``[cache]``. Changing the settings of any other layer changes all keys of nodes."""
    options: dict[str, Any] = settings.cache.model_dump(exclude={"directory", "on_disk", "store"})
    directory = settings.cache.directory if settings.cache.on_disk else None
    if settings.cache.store is not None:
        from chainops.app.plugins import store_of

        options["store"], directory = store_of(settings, settings.cache.store, "cache"), None
    return Cache(directory, config={"layers": _layers(settings)}, **options)


def _layers(settings: Settings) -> str:
    """A hash of how the layers around and inside a node are set."""
    names = [name for name in settings.pipeline.middleware if name not in _NEVER_INSIDE]
    tree = settings.model_dump(mode="json", include=set(names))
    data = {"order": names, "tree": tree, "plugins": settings.plugins}
    text = orjson.dumps(data, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
    return hashlib.blake2b(text, digest_size=8).hexdigest()
