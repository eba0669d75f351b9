"""chainops: async middleware around every node, model call and tool call of a LangGraph graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainops import quiet as _quiet  # noqa: F401 - for what it does

if TYPE_CHECKING:
    from chainops.adapters.chat_model import wrap
    from chainops.adapters.langgraph import instrument
    from chainops.app import App
    from chainops.calls import Call, ModelCall, ModelResult, NodeCall, RunContext, ToolCall
    from chainops.errors import Blocked, CallError, ChainopsError, SetupError
    from chainops.gateway.alias_model import model
    from chainops.middleware.prompts.asking import prompt
    from chainops.per_loop import PerLoop
    from chainops.pipeline import Middleware, Pipeline

__version__ = "0.1.0"

__all__ = [
    "App",
    "Blocked",
    "Call",
    "CallError",
    "ChainopsError",
    "Middleware",
    "ModelCall",
    "ModelResult",
    "NodeCall",
    "PerLoop",
    "Pipeline",
    "RunContext",
    "SetupError",
    "ToolCall",
    "instrument",
    "model",
    "prompt",
    "wrap",
]

_HOMES = {
    "chainops.adapters.chat_model": ("wrap",),
    "chainops.adapters.langgraph": ("instrument",),
    "chainops.app": ("App",),
    "chainops.calls": ("Call", "ModelCall", "ModelResult", "NodeCall", "RunContext", "ToolCall"),
    "chainops.errors": ("Blocked", "CallError", "ChainopsError", "SetupError"),
    "chainops.gateway.alias_model": ("model",),
    "chainops.middleware.prompts.asking": ("prompt",),
    "chainops.per_loop": ("PerLoop",),
    "chainops.pipeline": ("Middleware", "Pipeline"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    # names are found on first use: `import chainops` must not pay for LangGraph
    from importlib import import_module

    if name not in _HOME:
        raise AttributeError(f"module 'chainops' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
