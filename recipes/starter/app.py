"""A first application: one node, one model, and a pipeline around them that settings describe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langgraph.graph import START, MessagesState, StateGraph

from chainops import App, ChainopsError

HERE = Path(__file__).resolve().parent


def model() -> BaseChatModel:
    """The small model that chainops ships. Put any LangChain chat model in its place."""
    from chainops.engines.llama import ChatLlama
    from chainops.store.shipped import shipped

    return ChatLlama(model_path=str(shipped("recipes") / "tiny_model" / "support-desk-tiny.gguf"))


def graph(chat: BaseChatModel) -> Any:
    """One node that hands the conversation to ``chat``."""

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return builder.compile(name="starter")


async def main(question: str) -> None:
    """Ask once, and print the answer as it comes."""
    with App(HERE / "chainops.toml") as app:
        asked = {"messages": [("user", question)]}
        async for chunk, _ in app.instrument(graph(model())).astream(asked, stream_mode="messages"):
            print(chunk.text, end="", flush=True)
    print()


if __name__ == "__main__":
    import asyncio

    try:
        asyncio.run(main(" ".join(sys.argv[1:]) or "How much is shipping?"))
    except ChainopsError as error:  # what happened, and what to do
        sys.exit(f"error: {error}")
