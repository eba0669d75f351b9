"""Chat models of servers that speak OpenAI's API: vLLM, Ollama, llama-server and others.

What ``ChatOpenAI`` makes by itself has one pool of connections for the whole process. A connection belongs to the
event loop that opened it: the second ``asyncio.run`` of a program, or a synchronous run beside an asynchronous one,
then fails with "Event loop is closed". Here each event loop has a pool of its own, closed with the model or when the
loop ends.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import cache
from typing import Any

import openai
from langchain_openai import ChatOpenAI

from chainops.per_loop import PerLoop

try:
    from httpx2 import create_ssl_context  # what openai uses from 3.0 on
except ImportError:
    from httpx import create_ssl_context

__all__ = ["server_model"]


class ServerModel(ChatOpenAI):
    """Made by :func:`server_model`."""

    def close(self) -> None:
        """Close its connections on all event loops; waits for loops of other threads, 5 s at most."""
        if isinstance(client := self.http_async_client, _LoopClient):
            client.close_all()


def server_model(url: str, model: str, *, key: str = "none", **options: Any) -> ServerModel:
    """The chat model ``model`` of the server at ``url``. Nothing is sent yet: the server may start later.

    It asks for the usage of streams, and never tries again by itself: that is the layer ``retry``, which knows of
    deadlines and of other servers. Needs langchain-openai (the [openai] extra).

    Args:
        url: base URL, with ``/v1``.
        key: sent as the bearer token.
        options: of ``ChatOpenAI``: ``timeout`` in seconds, ``temperature``, ``extra_body`` ...
    """
    given: dict[str, Any] = {"max_retries": 0, "stream_usage": True, **options}
    if "http_async_client" not in given and "openai_proxy" not in given:
        given["http_async_client"] = _LoopClient(
            base_url=url, timeout=given.get("timeout", openai.DEFAULT_TIMEOUT), verify=_certificates()
        )
    secret: Any = key
    return ServerModel(base_url=url, model=model, api_key=secret, **given)


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes 20 ms, and each pool of connections needs it."""
    return create_ssl_context()


class _LoopClient(openai.DefaultAsyncHttpxClient):
    """Builds requests as its parent does, and sends each over connections of the running loop."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._pools = PerLoop(lambda: _Pool(options))

    async def send(self, request: Any, **options: Any) -> Any:
        client = await self._pools.get().opened()
        return await client.send(request, **options)

    def close_all(self) -> None:
        for loop, pool in self._pools.made():
            if not loop.is_running():  # it has ended, and closed its pool; or nothing can be closed on it
                continue
            if _runs_here(loop):
                self._closing = loop.create_task(pool.close())
            else:
                with suppress(TimeoutError):
                    asyncio.run_coroutine_threadsafe(pool.close(), loop).result(5)


class _Pool:
    """A client that is closed when its loop ends: ``asyncio.run`` closes the asynchronous generators of its loop."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._client = openai.DefaultAsyncHttpxClient(**options)
        self._open: AsyncGenerator[None, None] | None = None

    async def opened(self) -> openai.DefaultAsyncHttpxClient:
        if self._open is None:
            self._open = self._until_the_loop_ends()
            await anext(self._open)
        return self._client

    async def close(self) -> None:
        if self._open is not None:
            await self._open.aclose()

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self._client.aclose()


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
