"""The connection to the server, and scripts that run there in one piece."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chainops.errors import StoreError

__all__ = ["Server"]


class Server:
    """A client, and where it is. Connections are opened when they are needed, also after a fork.

    Raises:
        StoreError: the URL is none, or nothing answers there (``redis.server``). From all methods.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        parts = urlsplit(url)
        self.place = f"{parts.hostname}:{parts.port or 6379}"  # no password in a message
        with self.reached():
            self.client: Any = redis.Redis.from_url(
                url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 1)
            )
            self.client.ping()

    def script(self, source: str) -> Any:
        """``source`` in Lua; call it with ``keys`` and ``args``. It is sent once, then known by its hash."""
        run = self.client.register_script(source)

        def call(keys: list[str], args: list[Any]) -> Any:
            with self.reached():
                return run(keys=keys, args=args)

        return call

    @contextmanager
    def reached(self) -> Iterator[None]:
        """What Redis raises inside becomes a ``StoreError``."""
        try:
            yield
        except (redis.RedisError, OSError, ValueError) as error:
            raise StoreError(
                f"Redis at {self.place} cannot be used: {error}",
                hint="Does the server run, and is that its URL? See [plugins.redis].",
                code="redis.server",
            ) from error

    def keeps_what_has_no_time(self) -> None:
        """Refuse a server that, when its memory is full, drops keys without a time to live: books and counts."""
        try:
            policy = self.client.config_get("maxmemory-policy").get("maxmemory-policy", "")
        except redis.ResponseError:  # hosted ones do not say
            return
        if policy.startswith("allkeys"):
            raise StoreError(
                f"Redis at {self.place} drops any key when its memory is full (maxmemory-policy {policy})",
                hint="Set maxmemory-policy to volatile-lru: answers are dropped then, but not which were invalidated.",
                code="redis.server",
            )

    def close(self) -> None:
        """Close all connections."""
        self.client.close()
