"""A LangChain chat model for a server, and what the server says that it has."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chainops.errors import CallError, MissingExtra, SetupError
from chainops_openai_compat import DEFAULT_URLS, Server

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["make_engine", "served", "url_of"]


def make_engine(name: str, server: Server, model: str) -> BaseChatModel:
    """The chat model ``model`` of a server. Nothing is sent yet: the server may start later.

    It never tries again by itself: that is the layer ``retry``, which knows of deadlines and of other servers.

    Raises:
        SetupError: there is no URL, it is none, or the key is not set (``setup.engine``).
        MissingExtra: langchain-openai is not installed.
    """
    url, key = url_of(name, server), _key(name, server)
    try:
        from chainops.engines.servers import server_model
    except ImportError as error:
        raise MissingExtra(
            "openai", package="langchain-openai", needed_for=f"The engine openai_compat/{name}"
        ) from error
    if not model:
        raise SetupError(
            f"The engine openai_compat/{name} needs the name of a model",
            hint=f"`chainops openai_compat models {name}` says what the server has.",
            code="setup.engine",
        )
    given: dict[str, Any] = {"timeout": server.timeout_s, "default_headers": server.headers or None}
    if server.window is not None:
        given["profile"] = {"max_input_tokens": server.window}
    return server_model(url, model, key=key, **{**given, **server.options})


def url_of(name: str, server: Server) -> str:
    """The base URL. Raises ``SetupError`` (``setup.engine``)."""
    url = server.url or DEFAULT_URLS.get(name)
    parts = urlsplit(url or "")
    if url is None or parts.scheme not in ("http", "https") or not parts.netloc:
        raise SetupError(
            f"The engine openai_compat/{name} has {'no URL' if url is None else f'{url!r}, which is no http URL'}",
            hint=f'Set url = "http://host:port/v1" in [plugins.openai_compat.{name}].',
            code="setup.engine",
        )
    return url.rstrip("/")


def served(name: str, server: Server, *, timeout_s: float = 5.0) -> list[str]:
    """Names of the models that the server has, as it says under ``/models``.

    Raises:
        CallError: it does not answer, or not as OpenAI's API does (``call.engine``).
    """
    url = f"{url_of(name, server)}/models"
    headers = {**server.headers, "Authorization": f"Bearer {_key(name, server)}"}
    try:
        asked = urllib.request.Request(url, headers=headers)  # noqa: S310  checked in url_of
        with urllib.request.urlopen(asked, timeout=timeout_s) as answer:  # noqa: S310
            return sorted(str(each["id"]) for each in json.loads(answer.read())["data"])
    except urllib.error.HTTPError as error:
        with error:
            problem = f"answered {error.code}"
    except OSError as error:
        problem = f"does not answer: {getattr(error, 'reason', error)}"
    except (ValueError, KeyError, TypeError):
        problem = "gave no list of models"
    raise CallError(f"{url} {problem}", hint="Does the server run, and is that its URL?", code="call.engine")


def _key(name: str, server: Server) -> str:
    key = os.environ.get(server.key_env, "") if server.key_env else "none"
    if not key:
        raise SetupError(
            f"The engine openai_compat/{name} takes its key from {server.key_env}, which is not set",
            hint=f"Set {server.key_env}.",
            code="setup.engine",
        )
    return key
