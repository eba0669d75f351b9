"""A long support conversation in front of a model with a small window, and a customer who comes back a week later.

The model is no language model: the small one that chainops ships knows single requests only. ``Quoter`` answers with
the line of its prompt that shares most with the question, so that you see whether what matters is still in the prompt.
Put yours in its place: ``graph(chat)`` takes any chat model, and ``[compress.windows]`` its window.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.memory import InMemoryStore
from pydantic import Field

from chainops import App
from chainops.memory import Memories

HERE = Path(__file__).resolve().parent
DESK = SystemMessage("You are the support desk of a shop for headsets. Answer from what the customer told you.")
USER = "ines"
FACTS = ("Never ring at her door before ten: a small child sleeps.", "Her invoices go to Nordlicht Verlag.")


class Quoter(BaseChatModel):
    """Answers with the line of its prompt that shares most words with the question; of equals the last one."""

    model_name: str = "desk"
    prompts: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "quotes"

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.prompts.append(messages)
        asked = _words(str(messages[-1].text))
        lines = [line for message in messages[1:-1] for line in str(message.text).splitlines() if line[:1] != "["]
        best = max(reversed(lines), key=lambda line: len(asked & _words(line)), default="I do not know.")
        return ChatResult(generations=[ChatGeneration(message=AIMessage(best.removeprefix("- ")))])


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"[\w-]+", text.lower()) if len(word) > 3}


def graph(chat: BaseChatModel, store: InMemoryStore) -> Any:
    """One node; the whole conversation is its prompt, whatever its length."""

    async def desk(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke([DESK, *state["messages"]])]}

    builder = StateGraph(MessagesState)
    builder.add_node("desk", desk)
    builder.add_edge(START, "desk")
    return builder.compile(checkpointer=InMemorySaver(), store=store, name="long_support_chat")


def conversation() -> list[BaseMessage]:
    """What was said so far."""
    found: list[BaseMessage] = []
    for line in (HERE / "conversation.txt").read_text(encoding="utf-8").splitlines():
        who, _, text = line.partition(": ")
        found.append(HumanMessage(text) if who == "customer" else AIMessage(text))
    return found


def config(thread: str) -> Any:
    """Which conversation it is, and whose."""
    return {"configurable": {"thread_id": thread}, "metadata": {"user": USER}}


async def main(questions: list[str]) -> None:
    """Ask the questions at the end of the conversation; without any, one in a new conversation a week later."""
    chat, store = Quoter(), InMemoryStore()
    memories = Memories(store)
    await memories.consent(USER)  # she ticked the box
    for fact in FACTS:
        await memories.remember(USER, fact)
    with App(HERE / "chainops.toml") as app:
        desk = app.instrument(graph(chat, store))
        said: list[BaseMessage] = conversation() if questions else []
        for question in questions or ["When may the driver ring at my door?"]:
            messages = [*said, HumanMessage(question)]
            state = await desk.ainvoke({"messages": messages}, config("monday" if questions else "later"))
            said = []
            print(f"{len(state['messages']) - 1} messages came, {len(chat.prompts[-1]) - 1} were sent")
            print(f"  {state['messages'][-1].text}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
