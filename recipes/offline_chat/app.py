"""A chat in the terminal that needs no network: one node, a model in the process, and a memory per conversation."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import SystemMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from chainops import App

HERE = Path(__file__).resolve().parent
SYSTEM = SystemMessage("You are the support desk assistant.")
REMEMBERED = 3
"""Questions and answers that the model sees again. The small model has a small window; a large one takes more."""


def model(file: str | None = None) -> BaseChatModel:
    """The GGUF file ``file``, or the small model that chainops ships."""
    from chainops.engines.llama import ChatLlama
    from chainops.store.shipped import shipped

    return ChatLlama(model_path=file or str(shipped("recipes") / "tiny_model" / "support-desk-tiny.gguf"))


def graph(chat: BaseChatModel, memory: BaseCheckpointSaver[Any] | None = None) -> Any:
    """One node that answers the last message; the conversation is kept by thread."""

    async def answer(state: MessagesState) -> dict[str, Any]:
        recent = state["messages"][-(2 * REMEMBERED + 1) :]
        return {"messages": [await chat.ainvoke([SYSTEM, *recent])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=memory or InMemorySaver(), name="offline_chat")


async def say(chat: Any, thread: str, text: str) -> None:
    """Print the answer as it comes."""
    config = {"configurable": {"thread_id": thread}}
    async for chunk, _ in chat.astream({"messages": [("user", text)]}, config, stream_mode="messages"):
        print(chunk.text, end="", flush=True)
    print()


async def main() -> None:
    """Read lines until ``/quit`` or the end of the input; ``/new`` begins another conversation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a GGUF file; else the small model that chainops ships")
    chosen = parser.parse_args().model
    talks = 1
    with App(HERE / "chainops.toml") as app:
        chat = app.instrument(graph(model(chosen)))
        while True:
            if sys.stdin.isatty():
                print("you   ", end="", flush=True)
            line = await asyncio.to_thread(sys.stdin.readline)
            text = line.strip()
            if not line or text == "/quit":
                return
            if text == "/new":
                talks += 1
                print("(a new conversation)")
            elif text:
                print("model ", end="", flush=True)
                await say(chat, f"talk-{talks}", text)


if __name__ == "__main__":
    asyncio.run(main())
