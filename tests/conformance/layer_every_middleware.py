"""A pytest plugin: LangChain's middleware that can run as chainops layers do so, in every ``create_agent`` of a suite.

The agent is made without them and instrumented with them, by ``from_langchain``; what has hooks that cannot run as a
layer stays with ``create_agent``. Which ran how often as a layer is printed at the end.
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import langchain.agents
import langchain.agents.factory

import chainops
from chainops import SetupError
from chainops.adapters.agent_layer import from_langchain

LAYERS: Counter[str] = Counter()
LEFT: Counter[str] = Counter()

plain = langchain.agents.factory.create_agent


@functools.wraps(plain)
def layered(*args: Any, middleware: Any = (), **kwargs: Any) -> Any:
    layers, rest = [], []
    for each in middleware:
        try:
            layers.append(from_langchain(each))
        except SetupError:
            rest.append(each)
            LEFT[type(each).__name__] += 1
        else:
            LAYERS[type(each).__name__] += 1
    agent = plain(*args, middleware=rest, **kwargs)
    return chainops.instrument(agent, layers) if layers else agent


langchain.agents.factory.create_agent = layered
langchain.agents.create_agent = layered


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for what, counted in (("layers", LAYERS), ("left with create_agent", LEFT)):
        terminalreporter.write_line(f"{what}: {sum(counted.values())}, {dict(counted.most_common())}")
