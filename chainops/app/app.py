"""An application from settings: the pipeline that they describe, ready to put around graphs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Self, TypeVar

from chainops.app.layers import layers_of, pick
from chainops.app.plugins import engine_of, migrate_plugins
from chainops.errors import CallError, SetupError
from chainops.pipeline import Pipeline
from chainops.settings import Settings, load_settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langgraph.pregel import Pregel

    from chainops.middleware.trace import Trace

__all__ = ["App"]

T = TypeVar("T")
Graph = TypeVar("Graph", bound="Pregel[Any, Any, Any, Any]")


class App:
    """The pipeline of some settings. Use as a context manager, so that the trace is on disk at the end.

    >>> from chainops import App
    >>> app = App(pipeline={"middleware": []})
    >>> app.pipeline
    Pipeline([])
    """

    def __init__(self, settings: Settings | str | os.PathLike[str] | None = None, **keywords: Any) -> None:
        self.settings = settings if isinstance(settings, Settings) else load_settings(settings, **keywords)
        layers = layers_of(self.settings)
        self.pipeline = Pipeline(
            [pick(layers, n, self.settings) for n in self.settings.pipeline.middleware], nodes=self.settings.nodes
        )
        left = [name for name in layers if name not in self.settings.pipeline.middleware and name != "trace"]
        if left:
            raise SetupError(
                f"Middleware {', '.join(map(repr, left))} of an enabled plugin is not in the pipeline",
                hint="Give it its place in [pipeline].middleware, or remove the plugin's table.",
                code="setup.pipeline",
            )
        migrate_plugins(self.settings)

    @property
    def trace(self) -> Trace | None:
        """The trace layer, or None where the pipeline has none."""
        return next((m for m in self.pipeline.middleware if m.name == "trace"), None)  # type: ignore[return-value]

    def instrument(self, graph: Graph, *, auto: bool = True) -> Graph:
        """A copy of ``graph`` inside the pipeline; see :func:`chainops.instrument`."""
        from chainops.adapters.langgraph import instrument

        return instrument(graph, self.pipeline, auto=auto)

    def engine(self, name: str, model: str) -> BaseChatModel:
        """The chat model ``model`` of an engine that an enabled plugin brings, by "plugin/engine".

        Raises:
            SetupError: the plugin is not enabled, or brings no such engine (``setup.engine``).
        """
        return engine_of(self.settings, name, model)

    def run_sync(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine from synchronous code and return its result: the one door from there to here.

        Raises:
            CallError: an event loop runs in this thread already; ``await`` the coroutine instead.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(coroutine)
        coroutine.close()
        raise CallError(
            "run_sync was called inside a running event loop", hint="Await the coroutine instead.", code="call.loop"
        )

    def flush(self, timeout: float = 10.0) -> int:
        """Wait until the trace is on disk; the number of spans of this process that are. 0 without a trace."""
        return self.trace.flush(timeout) if self.trace is not None else 0

    def close(self) -> None:
        """Write what waits and close the files of all layers, the trace last."""
        for layer in reversed(self.pipeline.middleware):
            if callable(close := getattr(layer, "close", None)):
                close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
