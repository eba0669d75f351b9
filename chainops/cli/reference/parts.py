"""The public names of the parts beside the core: layers, engines, adapters, stores."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from chainops.cli.reference.table import head, one_line

__all__ = ["MODULES", "page"]

MODULES = (
    "chainops.adapters.agent_layer",
    "chainops.adapters.langchain_agent",
    "chainops.adapters.memory",
    "chainops.app",
    "chainops.calls",
    "chainops.cli.trace",
    "chainops.embedding",
    "chainops.engines.embeddings",
    "chainops.engines.llama",
    "chainops.engines.llama.registered",
    "chainops.gate",
    "chainops.gateway",
    "chainops.identity",
    "chainops.memory",
    "chainops.middleware.cache",
    "chainops.middleware.chain",
    "chainops.middleware.chain.difference",
    "chainops.middleware.compress",
    "chainops.middleware.cost",
    "chainops.middleware.limits",
    "chainops.middleware.memory",
    "chainops.middleware.pii",
    "chainops.middleware.prompts",
    "chainops.middleware.prompts.compile",
    "chainops.middleware.prompts.exchange",
    "chainops.middleware.prompts.folder",
    "chainops.middleware.prompts.splits",
    "chainops.middleware.rails",
    "chainops.middleware.rails.jailbreak",
    "chainops.middleware.rails.nemo",
    "chainops.middleware.retry",
    "chainops.middleware.route",
    "chainops.middleware.semantic_cache",
    "chainops.middleware.trace",
    "chainops.settings",
    "chainops.store.artifacts",
    "chainops.store.follow",
    "chainops.store.plugin_tables",
    "chainops.store.reader",
    "chainops.store.registry",
    "chainops.store.shipped",
    "chainops.store.tables",
)
"""Every module that the documentation imports from and that is not on the page of the core."""


def page() -> str:
    """A heading for each name in ``__all__`` of these modules, with what it is."""
    parts = [
        head(
            "Public names of the parts",
            "Layers, engines, adapters, stores. What each takes stands in its reference page; "
            "`chainops python -m pydoc MODULE` shows all of it.",
        )
    ]
    for module in MODULES:
        parts.append(f"## {module}\n")
        names = import_module(module)
        parts += [f"### `{module}.{name}`\n\n{_said(getattr(names, name))}\n" for name in names.__all__]
    return "\n".join(parts)


def _said(value: Any) -> str:
    if inspect.isroutine(value):
        return one_line(inspect.getdoc(value) or "")
    if inspect.isclass(value):
        return one_line(value.__doc__ or "")  # of its own: not that of a base class
    is_type = type(value).__module__ in ("typing", "types", "collections.abc")
    return "A type, for annotations." if is_type else f"A value: {type(value).__name__}."
