"""The layers ``memory`` and ``compress`` from settings: both keep what they keep in the store of the running graph."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from chainops.calls import Call
from chainops.pipeline import Middleware
from chainops.settings import Settings

if TYPE_CHECKING:
    from chainops.embedding import Embedder
    from chainops.memory import Turns

__all__ = ["build", "compress", "turns_in_graph"]


def build(settings: Settings) -> Middleware:
    """The layer ``memory``."""
    from chainops.adapters.memory import graph_store
    from chainops.app.embedder import embedder_of
    from chainops.middleware.memory import Memory

    return Memory(graph_store, **settings.memory.model_dump(), embedder=embedder_of(settings))


def compress(settings: Settings) -> Middleware:
    """The layer ``compress``."""
    from chainops.app.embedder import embedder_of
    from chainops.middleware.compress import Compress

    options, embedder = settings.compress.model_dump(exclude={"recall"}), embedder_of(settings)
    turns = turns_in_graph(embedder) if settings.compress.recall else None
    return Compress(**options, turns=turns, embedder=embedder)


def turns_in_graph(embedder: Embedder | None = None) -> Callable[[Call], Turns | None]:
    """What finds the index of old turns in the store that the running graph was compiled with; None without one."""
    from chainops.adapters.memory import graph_store
    from chainops.memory import Turns

    known: weakref.WeakKeyDictionary[object, Turns] = weakref.WeakKeyDictionary()

    def find(call: Call) -> Turns | None:
        store = graph_store(call)
        if store is None:
            return None
        turns = known.get(store)
        if turns is None:
            turns = known[store] = Turns(store, embedder=embedder)
        return turns

    return find
