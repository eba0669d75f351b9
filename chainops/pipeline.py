"""The onion: middleware in the order that the user writes, first is outermost, composed once."""

from __future__ import annotations

import difflib
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from chainops.calls import (
    Call,
    Handler,
    Kind,
    ModelCall,
    ModelResult,
    NodeSettings,
)
from chainops.calls import discard as _discard
from chainops.errors import SetupError, is_control_flow
from chainops.layer import NODE_KINDS, Middleware
from chainops.order import check_order

__all__ = ["Middleware", "NodeSettings", "Pipeline"]

Chain = Callable[[Any], Coroutine[Any, Any, Any]]


def _hook_name(kind: Kind) -> str:
    if kind in NODE_KINDS:
        return "wrap_node_call"
    return "wrap_model_call" if kind == "model" else "wrap_tool_call"


class Pipeline:
    """An immutable list of middleware, outermost first, and what is set for single nodes.

    Args:
        middleware: the layers; the first is the outermost.
        nodes: settings by glob on the node path, for example ``{"draft/*": {"off": ["cache"]}}``.
            ``*`` also matches ``/``. Later globs win over earlier ones, and a node's own metadata wins over both.

    Raises:
        SetupError: a name twice, a broken order constraint, malformed node settings, or a name in ``off``
            that is close to one that exists.
    """

    def __init__(
        self, middleware: Sequence[Middleware] = (), *, nodes: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.middleware = tuple(middleware)
        self.nodes = {glob: NodeSettings.parse(value, f"nodes[{glob!r}]") for glob, value in (nodes or {}).items()}
        self.check()
        for glob, settings in self.nodes.items():
            self.check_off(settings, f"nodes[{glob!r}]")
        self.inline = not any(m.suspends for m in self.middleware)
        self._chains: dict[tuple[Kind, frozenset[str]], Chain] = {}
        self._settings: dict[str, NodeSettings] = {}
        self._merged: weakref.WeakKeyDictionary[Pipeline, Pipeline] = weakref.WeakKeyDictionary()
        # by graph or model class, what adapters made of it for this pipeline; it holds the pipeline, and must not
        # live longer
        self.adapted: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"Pipeline([{', '.join(m.name for m in self.middleware)}])"

    def wraps(self, kind: Kind, off: frozenset[str] = frozenset()) -> bool:
        """True when some layer would see a call of this kind."""
        return self.chain(kind, off) is not _terminal

    def chain(self, kind: Kind, off: frozenset[str] = frozenset()) -> Chain:
        """The composed handler for a kind: runs the layers, then ``call.engine``. Built once, then looked up."""
        try:
            return self._chains[kind, off]
        except KeyError:
            return self._chains.setdefault((kind, off), self._compose(kind, off))

    def _compose(self, kind: Kind, off: frozenset[str]) -> Chain:
        hook_name = _hook_name(kind)
        handler: Handler = _terminal
        for layer in reversed(self.middleware):
            overridden = getattr(type(layer), hook_name) is not getattr(Middleware, hook_name)
            if overridden and kind in layer.kinds and layer.name not in off:
                buffered = kind == "model" and layer.streaming == "buffered"
                handler = (_buffered if buffered else _link)(getattr(layer, hook_name), handler)
        return _terminal if handler is _terminal else _guarded(handler)

    async def run(self, call: Call) -> Any:
        """Send ``call`` through the layers to ``call.engine``."""
        return await self.chain(call.kind, call.off)(call)

    def around_node(self, handler: Handler, kind: Kind = "node") -> Handler:
        """``handler`` with the layers around it; ``handler`` itself where no layer wraps that kind."""
        return self._around(handler, kind)

    def around_model(self, handler: Handler) -> Handler:
        """As :meth:`around_node`, for model calls."""
        return self._around(handler, "model")

    def around_tool(self, handler: Handler, kind: Kind = "tool") -> Handler:
        """As :meth:`around_node`, for tool or retriever calls."""
        return self._around(handler, kind)

    def _around(self, handler: Handler, kind: Kind) -> Handler:
        if not self.wraps(kind):
            return handler

        async def around(call: Any) -> Any:
            return await self.chain(kind, call.off)(call.replace(engine=handler))

        return around

    def settings_for(self, path: str) -> NodeSettings:
        """What the globs say for a node path."""
        try:
            return self._settings[path]
        except KeyError:
            found = NodeSettings()
            for glob, settings in self.nodes.items():
                if fnmatchcase(path, glob):
                    found = found.merged(settings)
            return self._settings.setdefault(path, found)

    def check_off(self, settings: NodeSettings, where: str) -> None:
        """A name in ``off`` may belong to a layer that this pipeline lacks, but must not be a typing error."""
        names = [m.name for m in self.middleware]
        for name in settings.off.difference(names):
            if close := difflib.get_close_matches(name, names, n=1):
                raise SetupError(
                    f"{where} switches off {name!r}, which is not in the pipeline ({', '.join(names)})",
                    hint=f"Did you mean {close[0]!r}?",
                    code="setup.node",
                )

    def merge(self, inner: Pipeline) -> Pipeline:
        """This pipeline around ``inner``; a layer object that stands in both is kept once, in its outer place.

        Names and order are not checked across the two: each is right by itself, and they meet in the middle of a
        run, where a graph calls another that somebody else instrumented.
        """
        if self.covers(inner):
            return self
        if inner in self._merged:
            return self._merged[inner]
        rest = [m for m in inner.middleware if not any(m is mine for mine in self.middleware)]
        merged = Pipeline()
        merged.middleware = (*self.middleware, *rest)
        merged.inline = self.inline and inner.inline
        merged.nodes = {**inner.nodes, **self.nodes}
        self._merged[inner] = merged
        return merged

    def check(self) -> None:
        """Raise ``SetupError`` for a name twice or a broken order constraint."""
        _check_types(self.middleware)
        check_order(self.middleware)

    def covers(self, other: Pipeline) -> bool:
        """True when every layer object of ``other`` stands in this pipeline, and its node settings too."""
        mine = {id(m) for m in self.middleware}
        return self is other or (
            mine.issuperset(map(id, other.middleware)) and other.nodes.items() <= self.nodes.items()
        )


async def _terminal(call: Call) -> Any:
    """Run the engine; remember control flow, so that no layer can swallow it (see ``_guarded``).

    Once control flow has passed, the engine does not run again: a layer that retries on every exception
    must not execute a node a second time after it asked for an interrupt.
    """
    guard = call.guard
    if guard.bubble is not None:
        raise guard.bubble
    guard.entries += 1
    try:
        engine = call.engine
        if guard.around is not None:
            for wrap in guard.around.values():
                engine = wrap(engine)
        guard.result = result = await engine(call)
    except Exception as error:
        if is_control_flow(error):
            guard.bubble = error
        raise
    return result


def _guarded(chain: Handler) -> Chain:
    async def guarded(call: Call) -> Any:
        try:
            result = await chain(call)
        except Exception as error:
            bubble = call.guard.bubble
            if bubble is not None and bubble is not error:
                raise bubble from None
            raise
        if call.guard.bubble is not None:
            raise call.guard.bubble
        return result

    return guarded


def _link(hook: Callable[[Any, Handler], Any], call_next: Handler) -> Handler:
    return lambda call: hook(call, call_next)


def _buffered(hook: Callable[[Any, Handler], Any], call_next: Handler) -> Handler:
    """For a layer that changes results only: nothing of the stream leaves before it has returned."""

    async def buffered(call: ModelCall) -> ModelResult:
        result: ModelResult
        if not call.streaming:
            result = await _quiet(hook, call, call_next)
        else:
            result = await hook(call.replace(emit=_discard), call_next)
            await call.emit(result.as_chunk())
        return result

    return buffered


async def _quiet(hook: Callable[[Any, Handler], Any], call: ModelCall, call_next: Handler) -> ModelResult:
    """For a model that reports tokens although nobody asked for a stream."""
    reported = False

    async def keep_back(chunk: Any) -> None:
        nonlocal reported
        reported = True

    result: ModelResult = await hook(call.replace(emit=keep_back), call_next)
    if reported:
        await call.emit(result.as_chunk())
    return result


def _check_types(middleware: Sequence[Middleware]) -> None:
    for position, layer in enumerate(middleware, 1):
        if not isinstance(layer, Middleware):
            raise SetupError(
                f"Position {position} of the pipeline is {layer!r}, not a Middleware",
                hint="Pass an instance: Pipeline([Trace(), ...]).",
                code="setup.middleware",
            )
