"""Random histories of conversations, as graphs make them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

WORDS = st.lists(
    st.sampled_from(
        (
            "the",
            "order",
            "4183",
            "was",
            "not",
            "sent",
            "to",
            "Berlin.",
            "Stock",
            "is",
            "low,",
            "[2].",
            "Why?",
            "ñí",
            "漢字",
        )
    ),
    max_size=60,
).map(" ".join)


@st.composite
def histories(draw: Any) -> list[BaseMessage]:
    """A system message (or none), turns with and without tools, a last question, and perhaps the work on it."""
    found: list[BaseMessage] = [SystemMessage(draw(WORDS))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 5))):
        found.append(HumanMessage(draw(WORDS)))
        found += draw(rounds(len(found)))
        found.append(AIMessage(draw(WORDS)))
        if draw(st.integers(0, 9)) == 0:
            found.append(SystemMessage(draw(WORDS)))
    found.append(HumanMessage(draw(WORDS)))
    found += draw(rounds(len(found)))
    for number, message in enumerate(found):
        message.id = f"m{number}"
    return found


@st.composite
def rounds(draw: Any, start: int) -> list[BaseMessage]:
    found: list[BaseMessage] = []
    for number in range(draw(st.integers(0, 2))):
        ids = [f"call-{start}-{number}-{i}" for i in range(draw(st.integers(1, 3)))]
        calls = [{"name": "look", "args": {"what": draw(WORDS)[:20]}, "id": name} for name in ids]
        found.append(AIMessage(draw(WORDS), tool_calls=calls))
        found += [ToolMessage(draw(WORDS), tool_call_id=name) for name in draw(st.permutations(ids))]
    return found


def check_pairs(messages: list[BaseMessage]) -> None:
    """No result without its call before it, no call without its result directly after it."""
    wanted: list[str] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            assert message.tool_call_id in wanted, "a result whose call is not there"
            wanted.remove(message.tool_call_id)
        else:
            assert not wanted, "a call whose result is not there"
            wanted = [str(call["id"]) for call in getattr(message, "tool_calls", ())]
    assert not wanted, "a call whose result is not there"
