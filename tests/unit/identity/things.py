"""Objects of which every process must find the same identities: sets, closures, models, tools."""

import functools

from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from chainops.identity import identity_of
from chainops.testing import ScriptedModel

NAMES = {"one", "two", "three", "four"}
MODEL = ScriptedModel(["a", AIMessage("b")])


def node(state):
    return {"said": state["said"] in NAMES and state["said"] in {"one", "two", "three"}}


async def asks(state):
    return {"said": await MODEL.ainvoke(state["said"])}


def make(names):
    return lambda state: state["said"] in names


@tool
def look(text: str, far: bool = False) -> str:
    """Look for a text."""
    return text


THINGS = [
    node,
    asks,
    make(frozenset(NAMES)),
    functools.partial(make, names=NAMES),
    look,
    RunnableLambda(node) | RunnableLambda(asks),
    FakeListChatModel(responses=["a", "b"]).bind(stop=["x"]),
]
IDENTITIES = [identity_of(thing) for thing in THINGS]
