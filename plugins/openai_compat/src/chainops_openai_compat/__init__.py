"""A plugin for chainops: engines for servers that speak OpenAI's API: vLLM, Ollama, llama-server and others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from chainops.plugin import Plugin

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["DEFAULT_URLS", "Options", "Server", "plugin"]

__version__ = "0.1.0"

DEFAULT_URLS = {
    "vllm": "http://localhost:8000/v1",
    "ollama": "http://localhost:11434/v1",
    "llama_server": "http://localhost:8080/v1",
}
"""Where each server listens when nothing else is said."""


class Server(BaseModel, extra="forbid", frozen=True):
    """One table ``[plugins.openai_compat.<engine>]``."""

    url: str | None = Field(default=None, description="Base URL with /v1; else where the server listens by itself.")
    key_env: str | None = Field(default=None, description="Name of the environment variable with the key.")
    headers: dict[str, str] = Field(default={}, description="Sent with each request.")
    timeout_s: float = Field(default=120.0, gt=0, description="Seconds that an answer, or a piece of one, may take.")
    window: int | None = Field(default=None, gt=0, description="Tokens of the model's window, for the layer compress.")
    options: dict[str, Any] = Field(
        default={}, description="Further options of ChatOpenAI: temperature, extra_body ..."
    )


class Options(BaseModel, extra="forbid", frozen=True):
    """The table ``[plugins.openai_compat]``."""

    vllm: Server = Field(default=Server(), description="vLLM.")
    ollama: Server = Field(default=Server(), description="Ollama.")
    llama_server: Server = Field(default=Server(), description="llama-server, of llama.cpp.")
    other: Server = Field(default=Server(), description="Any other; needs url.")


def _engine(name: str, options: Options, model: str) -> BaseChatModel:
    from chainops_openai_compat.engine import make_engine

    return make_engine(name, getattr(options, name), model)


plugin = Plugin(
    name="openai_compat",
    version=__version__,
    options=Options,
    engines={name: partial(_engine, name) for name in Options.model_fields},
    commands="chainops_openai_compat.commands:app",
)
