"""A research agent: it searches a library, reads, and writes a report, for which it asks a person first.

The model plays a script: the small one that chainops ships has learnt to run a support desk and does no research.
``decide`` is what a language model would decide here, written down as rules. Put yours in place of ``model()``.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt

from chainops import App
from chainops.testing import ScriptedModel

HERE = Path(__file__).resolve().parent
SMALL = re.compile(r"a|an|and|are|at|by|do|does|how|in|is|it|of|on|the|their|to|what|when|why")


def tools(library: Path, reports: Path) -> list[BaseTool]:
    """The agent's tools: two that look, and one that writes after a person said yes."""

    @tool
    def search(query: str) -> str:
        """Names of the texts of the library that have most of the words, best first."""
        wanted = _words(query)
        texts = {file.name: _words(file.read_text(encoding="utf-8")) for file in sorted(library.glob("*.txt"))}
        ranked = sorted(texts, key=lambda name: -len(wanted & texts[name]))
        return "\n".join(name for name in ranked if wanted & texts[name]) or "nothing"

    @tool
    def read(name: str) -> str:
        """The text ``name`` of the library."""
        file = library / Path(name).name
        return file.read_text(encoding="utf-8") if file.is_file() else f"There is no {name}."

    @tool
    def write_report(title: str, text: str) -> str:
        """Keep a report. A person is asked before."""
        answer = interrupt({"question": f"Keep the report {title!r}?", "text": text})
        if answer != "yes":
            return f"A person said: {answer}"
        file = reports / f"{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')}.md"
        file.write_text(f"# {title}\n\n{text}\n", encoding="utf-8")
        return f"Kept as {file.name}."

    return [search, read, write_report]


def decide(messages: Sequence[BaseMessage]) -> AIMessage:
    """What comes next: search, read the best text, write, say what became of it."""
    asked = next(str(m.text) for m in reversed(messages) if isinstance(m, HumanMessage))
    last = messages[-1]
    if not isinstance(last, ToolMessage):
        return _call("search", query=asked)
    if last.name == "search":
        best = str(last.text).splitlines()[0]
        return AIMessage("The library has nothing on that.") if best == "nothing" else _call("read", name=best)
    if last.name == "read":
        title, _, body = str(last.text).partition("\n")
        first = re.findall(r"[^.]+\.", body)[:2]
        return _call("write_report", title=title.rstrip("."), text="".join(first).strip())
    return AIMessage(str(last.text))


def model() -> BaseChatModel:
    """A model that plays the script."""
    return ScriptedModel([decide], repeat=True)


def graph(chat: BaseChatModel, library: Path, reports: Path, memory: BaseCheckpointSaver[Any] | None = None) -> Any:
    """Agent and tools in a circle. A run stops where a person is asked; go on with ``Command(resume=answer)``."""
    own = tools(library, reports)
    helper = chat.bind_tools(own)

    async def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await helper.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("agent", agent)
    builder.add_node("tools", ToolNode(own))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    return builder.compile(checkpointer=memory or InMemorySaver(), name="researcher")


async def main(question: str) -> None:
    """Research one question; ask on the terminal before a report is kept."""
    config = {"configurable": {"thread_id": "research"}}
    with App(HERE / "chainops.toml") as app:
        researcher = app.instrument(graph(model(), HERE / "library", Path()))
        state = await researcher.ainvoke({"messages": [HumanMessage(question)]}, config)
        while "__interrupt__" in state:
            asked = state["__interrupt__"][0].value
            print(f"{asked['text']}\n\n{asked['question']} (yes, or what is wrong) ", end="", flush=True)
            answer = (await asyncio.to_thread(sys.stdin.readline)).strip()
            print()
            state = await researcher.ainvoke(Command(resume=answer or "no"), config)
        print(state["messages"][-1].text)


def _call(name: str, /, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"call-{name}"}])


def _words(text: str) -> set[str]:
    return {word.rstrip("s") for word in re.findall(r"[a-z]+", text.lower()) if not SMALL.fullmatch(word)}


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:])))
