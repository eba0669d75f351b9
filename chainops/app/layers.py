"""The layers that settings name: built-in ones by the table below, the others from enabled plugins."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from chainops.app.plugins import named_plugin, option_of
from chainops.errors import SetupError
from chainops.pipeline import Middleware, Pipeline
from chainops.settings import Settings

__all__ = ["BUILT_IN", "check_layers", "layers_of", "pick"]


def _trace(settings: Settings) -> Middleware:
    from chainops.middleware.trace import Trace

    return Trace(**settings.trace.model_dump())


def _prompts(settings: Settings) -> Middleware:
    from chainops.app.embedder import embedder_of
    from chainops.middleware.prompts import Prompts

    options = settings.prompts.model_dump()
    path = settings.prompts.path or settings.trace.path
    return Prompts(**{**options, "path": path, "embedder": embedder_of(settings)})


def _rails(settings: Settings) -> Middleware:
    from chainops.app.rails import build

    return build(settings)


def _cache(settings: Settings) -> Middleware:
    from chainops.app.cache import build

    return build(settings)


def _pii(settings: Settings) -> Middleware:
    from chainops.app.pii import build

    return build(settings)


def _chain(settings: Settings) -> Middleware:
    from chainops.middleware.chain import Chain

    options = settings.chain.model_dump()
    return Chain(**{**options, "path": settings.chain.path or settings.trace.path})


def _memory(settings: Settings) -> Middleware:
    from chainops.app.memory import build

    return build(settings)


def _compress(settings: Settings) -> Middleware:
    from chainops.app.memory import compress

    return compress(settings)


def _semantic_cache(settings: Settings) -> Middleware:
    from chainops.app.embedder import embedder_of
    from chainops.errors import SetupError
    from chainops.middleware.semantic_cache import SemanticCache

    embedder = embedder_of(settings)
    if embedder is None:
        raise SetupError(
            "The layer semantic_cache needs an embedder, and there is none",
            hint="chainops embedder export, or set [embeddings].path",
            code="setup.embedder_missing",
        )
    return SemanticCache(embedder, **settings.semantic_cache.model_dump())


def _limits(settings: Settings) -> Middleware:
    from chainops.middleware.limits import Limits

    options = settings.limits.model_dump()
    if settings.limits.store is not None:
        from chainops.app.plugins import store_of

        options |= {"store": store_of(settings, settings.limits.store, "limits"), "path": None}
    return Limits(**options)


def _budgets(settings: Settings) -> Middleware:
    from chainops.app.costs import budgets_of

    return budgets_of(settings)


def _cost(settings: Settings) -> Middleware:
    from chainops.app.costs import cost_of

    return cost_of(settings)


def _route(settings: Settings) -> Middleware:
    from chainops.app.embedder import embedder_of
    from chainops.app.gateway import gateway_of
    from chainops.middleware.route import Route

    return Route(gateway_of(settings), embedder_of(settings) if settings.route.embedder else None)


def _retry(settings: Settings) -> Middleware:
    from chainops.middleware.retry import Retry

    return Retry(**settings.retry.model_dump())


BUILT_IN: Mapping[str, Callable[[Settings], Middleware]] = {
    "trace": _trace,
    "prompts": _prompts,
    "rails": _rails,
    "memory": _memory,
    "compress": _compress,
    "pii": _pii,
    "semantic_cache": _semantic_cache,
    "cache": _cache,
    "chain": _chain,
    "limits": _limits,
    "budgets": _budgets,
    "route": _route,
    "retry": _retry,
    "cost": _cost,
}
"""Name of a layer to what makes it. Each imports its layer only when it is asked for."""


def layers_of(settings: Settings) -> dict[str, Middleware]:
    """The built-in layers that the pipeline names, and all layers of the enabled plugins, by name."""
    layers = {name: build(settings) for name, build in BUILT_IN.items() if name in settings.pipeline.middleware}
    _keep_out_of_trace(layers, settings)
    _tell_what_names_mean(layers)
    for name, table in settings.plugins.items():
        for layer in named_plugin(settings, name).build(table, where=option_of(settings, name)):
            if layer.name in layers:
                raise SetupError(
                    f"Plugin {name!r} brings a middleware {layer.name!r}, which exists already",
                    hint="Enable only one of the two.",
                    code="setup.duplicate",
                )
            layers[layer.name] = layer
    return layers


def _keep_out_of_trace(layers: dict[str, Middleware], settings: Settings) -> None:
    """The trace stands outside the layer that finds personal data, and would write down what comes in."""
    if "pii" in layers and "trace" in layers:
        from chainops.middleware.pii import Pii
        from chainops.middleware.trace import Trace

        pii = layers["pii"]
        assert isinstance(pii, Pii)
        layers["trace"] = Trace(mask=pii.scrubber(), **settings.trace.model_dump())


def _tell_what_names_mean(layers: dict[str, Middleware]) -> None:
    """The caches stand outside of the layer that knows what a model's name stands for, and must not outlive it."""
    if "route" in layers:
        from chainops.middleware.cache import Cache
        from chainops.middleware.route import Route

        route, cache = layers["route"], layers.get("cache")
        assert isinstance(route, Route)
        if isinstance(cache, Cache):
            cache.asking.stands_for = route.gateway.stands_for
        if (semantic := layers.get("semantic_cache")) is not None:
            from chainops.middleware.semantic_cache import SemanticCache

            assert isinstance(semantic, SemanticCache)
            semantic.stands_for = route.gateway.stands_for


def pick(layers: dict[str, Middleware], name: str, settings: Settings) -> Middleware:
    """The layer ``name``, or a ``SetupError`` that names the nearest one, or the plugin that is not enabled."""
    if name in layers:
        return layers[name]
    raise SetupError(
        f"[pipeline].middleware names {name!r}, which no built-in layer and no enabled plugin provides"
        + settings.where("pipeline", "middleware"),
        hint=_nearest(name, layers),
        code="setup.pipeline",
    )


def _nearest(name: str, layers: Mapping[str, Middleware]) -> str:
    from chainops.plugin import find

    off = find.installed_plugins().keys() - layers.keys()
    if name in off:
        return f"The plugin {name!r} is installed; a table [plugins.{name}] enables it."
    close = difflib.get_close_matches(name, [*BUILT_IN, *layers, *off], n=1)
    if not close:
        return "Enable its plugin with a table [plugins.<plugin>]."
    enable = f" That plugin is installed; a table [plugins.{close[0]}] enables it." if close[0] in off else ""
    return f"Did you mean {close[0]!r}?{enable}"


def check_layers(settings: Settings) -> list[str]:
    """Names of the layers, outermost first, once all of them could be made and their order is right.

    Raises:
        SetupError: what an application would say.
    """
    layers = layers_of(settings)
    try:
        chosen = [pick(layers, name, settings) for name in settings.pipeline.middleware]
        return [m.name for m in Pipeline(chosen).middleware]
    finally:
        for layer in layers.values():
            if callable(close := getattr(layer, "close", None)):
                close()
