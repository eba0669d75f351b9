"""llama.cpp in this process, as a LangChain chat model: :class:`ChatLlama`.

Importing this package imports neither llama.cpp nor LangChain; asking it for a name does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainops.engines.llama.chat_model import ChatLlama
    from chainops.engines.llama.failures import (
        CannotPin,
        ContextOverflow,
        ModelClosed,
        ModelTimeout,
        QueueFull,
        Truncated,
    )
    from chainops.engines.llama.lease import set_memory_budget
    from chainops.engines.llama.model_file import ModelFile, check_model_file

__all__ = [
    "CannotPin",
    "ChatLlama",
    "ContextOverflow",
    "ModelClosed",
    "ModelFile",
    "ModelTimeout",
    "QueueFull",
    "Truncated",
    "check_model_file",
    "set_memory_budget",
]

_HOMES = {
    "CannotPin": "failures",
    "ChatLlama": "chat_model",
    "ContextOverflow": "failures",
    "ModelClosed": "failures",
    "ModelFile": "model_file",
    "ModelTimeout": "failures",
    "QueueFull": "failures",
    "Truncated": "failures",
    "check_model_file": "model_file",
    "set_memory_budget": "lease",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if error.name not in ("numpy", "llama_cpp"):  # numpy comes with llama-cpp-python
            raise
        from chainops.errors import MissingExtra

        raise MissingExtra("llama", package="llama-cpp-python", needed_for="A local llama.cpp model") from None
    return getattr(home, name)
