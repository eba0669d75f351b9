"""Every built-in middleware: hooks, order, streams, options."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from typing import Any

from chainops.cli.reference.table import head, one_line, table

__all__ = ["built_in", "page"]


def page() -> str:
    """The layers that settings can name, and what each class says of itself."""
    from chainops.layer import Middleware

    about = (
        "What each built-in layer is. How layers work, what is guaranteed: [Middleware and pipeline](../middleware.md)."
    )
    parts = [head("All middleware", about)]
    for name, layer in built_in().items():
        hooks = [hook for hook in _HOOKS if getattr(layer, hook) is not getattr(Middleware, hook)]
        rows = [
            ("class", f"`{layer.__module__.rpartition('.')[0]}.{layer.__name__}`"),
            ("hooks", ", ".join(f"`{hook}`" for hook in hooks) or "none"),
            ("kinds", ", ".join(f"`{kind}`" for kind in sorted(layer.kinds))),
            ("must stand outside of", ", ".join(f"`{other}`" for other in layer.outside) or "nothing"),
            ("must stand inside of", ", ".join(f"`{other}`" for other in layer.inside) or "nothing"),
            ("streams", f"`{layer.streaming}`"),
            ("waits for anything but the call", "yes" if layer.suspends else "no"),
        ]
        parts.append(f"## `{name}`\n\n{one_line(layer.__doc__)}\n\n{table(('', ''), rows)}\n{_signature(layer)}")
    return "\n".join(parts)


_HOOKS = ("wrap_node_call", "wrap_model_call", "wrap_tool_call")


def built_in() -> dict[str, Any]:
    """The classes by the names that settings use."""
    import chainops.middleware
    from chainops.app.layers import BUILT_IN
    from chainops.layer import Middleware

    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(chainops.middleware.__path__, "chainops.middleware."):
        for value in vars(import_module(module.name)).values():
            if inspect.isclass(value) and issubclass(value, Middleware) and value is not Middleware:
                found[value.name] = value
    return {name: found[name] for name in sorted(found) if name in BUILT_IN}


def _signature(layer: Any) -> str:
    rows = []
    for name, parameter in list(inspect.signature(layer.__init__).parameters.items())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = "required" if parameter.default is parameter.empty else f"`{_shown(parameter.default)}`"
        rows.append((f"`{name}`", f"`{parameter.annotation}`", default))
    return table(("option", "type", "default"), rows) if rows else "No options.\n"


def _shown(value: Any) -> str:
    """A default that looks alike in every process: functions by their names."""
    return str(getattr(value, "__name__", value)) if callable(value) else repr(value)
