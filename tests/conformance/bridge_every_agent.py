"""A pytest plugin: every ``create_agent`` of a test suite gets one more middleware, the innermost.

``BRIDGE=models`` (the default): a ChainopsMiddleware with a layer around models; ``tools``: around tools as well;
``langchain``: no chainops at all, but a middleware of LangChain's kind with a tool hook that passes everything on, to
tell what its mere presence changes. The number of calls that the layers saw is printed at the end.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections import Counter
from typing import Any

import langchain.agents
import langchain.agents.factory
from langchain.agents.middleware import AgentMiddleware

from chainops import Middleware
from chainops.adapters.langchain_agent import ChainopsMiddleware

SEEN: Counter[str] = Counter()


class AroundModels(Middleware):
    async def wrap_model_call(self, call: Any, call_next: Any) -> Any:
        SEEN["models"] += 1
        await asyncio.sleep(0)
        return await call_next(call)


class AroundTools(Middleware):
    async def wrap_tool_call(self, call: Any, call_next: Any) -> Any:
        SEEN["tools"] += 1
        await asyncio.sleep(0)
        return await call_next(call)


class PassesOn(AgentMiddleware):
    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        return handler(request)

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        return await handler(request)


def one_more() -> AgentMiddleware:
    if (wanted := os.environ.get("BRIDGE", "models")) == "langchain":
        return PassesOn()
    return ChainopsMiddleware([AroundModels(), AroundTools()] if wanted == "tools" else [AroundModels()])


plain = langchain.agents.factory.create_agent


@functools.wraps(plain)
def bridged(*args: Any, middleware: Any = (), **kwargs: Any) -> Any:
    SEEN["agents"] += 1
    return plain(*args, middleware=[*middleware, one_more()], **kwargs)


langchain.agents.factory.create_agent = bridged
langchain.agents.create_agent = bridged


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"bridged: {dict(SEEN)}")
