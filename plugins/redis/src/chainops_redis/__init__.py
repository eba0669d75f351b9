"""A plugin for chainops: the cache and the limits of many machines in one Redis."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from chainops import SetupError
from chainops.plugin import Plugin

if TYPE_CHECKING:
    from chainops_redis.cache import RedisCache
    from chainops_redis.limits import RedisLimits

__all__ = ["Options", "plugin"]

__version__ = "0.1.0"


class Options(BaseModel, extra="forbid", frozen=True):
    """The table ``[plugins.redis]``."""

    url: str = Field(default="redis://127.0.0.1:6379/0", description="Of the server; rediss:// for TLS.")
    url_env: str | None = Field(
        default=None, description="Name of the environment variable with the URL, where it has a password."
    )
    prefix: str = Field(
        default="chainops", pattern=r"^[\w.:-]+$", description="All keys begin with it; applications of one share."
    )
    timeout_s: float = Field(default=0.5, gt=0, description="Seconds that one request may take.")
    keep_s: float = Field(
        default=30 * 86_400.0, gt=0, description="Seconds that an answer is kept which never expires by itself."
    )
    place_s: float = Field(
        default=15.0, gt=0, description="Seconds after which the places of a process that died are free."
    )


def cache(options: Options) -> RedisCache:
    """The store for ``[cache] store = "redis"``."""
    from chainops_redis.cache import RedisCache

    return RedisCache(_url(options), prefix=options.prefix, timeout_s=options.timeout_s, keep_s=options.keep_s)


def limits(options: Options) -> RedisLimits:
    """The store for ``[limits] store = "redis"``."""
    from chainops_redis.limits import RedisLimits

    return RedisLimits(_url(options), prefix=options.prefix, timeout_s=options.timeout_s, place_s=options.place_s)


def _url(options: Options) -> str:
    url = os.environ.get(options.url_env, "") if options.url_env else options.url
    if not url:
        raise SetupError(
            f"The URL of Redis is to stand in the variable {options.url_env}, which is not set",
            hint=f"Set {options.url_env}, or url in [plugins.redis].",
            code="setup.store",
        )
    return url


plugin = Plugin(name="redis", version=__version__, options=Options, stores={"cache": cache, "limits": limits})
