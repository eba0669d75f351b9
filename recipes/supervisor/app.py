"""A supervisor and its teams: it takes a message apart, gives every request to the team for it, and puts the answers
together. Teams are graphs of their own, used as nodes.
"""

from __future__ import annotations

import asyncio
import json
import operator
import re
import sys
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from chainops import App

HERE = Path(__file__).resolve().parent
TRIAGE = SystemMessage("Classify the request.")
DESK = SystemMessage("You are the support desk assistant.")
TEAMS = {"faq": "questions", "order": "orders", "refund": "people"}
"""Topic, as the model calls it, to team. Whatever else it says goes to people."""
ORDERS = {
    "67-26": {"item": "camera", "status": "shipped", "day": "Monday", "city": "Oslo", "total": "49"},
    "90-12": {"item": "monitor", "status": "delayed", "day": "Thursday", "city": "Lisbon", "total": "72"},
}


class Desk(TypedDict, total=False):
    """One message of a customer: what is still to do, whose turn it is, and what was answered."""

    message: str
    open: list[str]
    team: str
    answers: Annotated[list[str], operator.add]
    reply: str


@tool
def get_order(order_id: str) -> str:
    """Look up an order."""
    found = ORDERS.get(order_id, {"error": "not found"})
    return json.dumps({"order_id": order_id, **found}, separators=(",", ":"))


def model() -> BaseChatModel:
    """The small model that chainops ships. Put any LangChain chat model in its place."""
    from chainops.engines.llama import ChatLlama
    from chainops.store.shipped import shipped

    return ChatLlama(model_path=str(shipped("recipes") / "tiny_model" / "support-desk-tiny.gguf"))


def orders_team(chat: BaseChatModel) -> Any:
    """An agent with a tool: looks orders up until it can answer."""
    helper = chat.bind_tools([get_order])

    async def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await helper.ainvoke([DESK, *state["messages"]])]}

    builder = StateGraph(MessagesState)
    builder.add_node("agent", agent)
    builder.add_node("tools", ToolNode([get_order]))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    return builder.compile(name="orders")


def questions_team(chat: BaseChatModel) -> Any:
    """Answers from what the model knows."""

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke([DESK, *state["messages"]])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return builder.compile(name="questions")


def graph(chat: BaseChatModel) -> Any:
    """The supervisor above its teams. It goes round until nothing is open."""
    orders, questions = orders_team(chat), questions_team(chat)

    def take_apart(state: Desk) -> Desk:
        return {"open": [part.strip() for part in re.findall(r"[^.?!]+[.?!]?", state["message"]) if part.strip()]}

    async def supervise(state: Desk) -> Desk:
        if not state["open"]:
            return {"team": "", "reply": "\n".join(state["answers"])}
        topic = await chat.ainvoke([TRIAGE, HumanMessage(state["open"][0])])
        return {"team": TEAMS.get(str(topic.text).strip(), "people")}

    async def ask(team: Any, state: Desk) -> Desk:
        done = await team.ainvoke({"messages": [HumanMessage(state["open"][0])]})
        return {"answers": [done["messages"][-1].text], "open": state["open"][1:]}

    async def to_orders(state: Desk) -> Desk:
        return await ask(orders, state)

    async def to_questions(state: Desk) -> Desk:
        return await ask(questions, state)

    def to_people(state: Desk) -> Desk:
        return {"answers": [f"A colleague will write to you about: {state['open'][0]}"], "open": state["open"][1:]}

    builder = StateGraph(Desk)
    builder.add_node("take_apart", take_apart)
    builder.add_node("supervisor", supervise)
    for name, node in (("orders", to_orders), ("questions", to_questions), ("people", to_people)):
        builder.add_node(name, node)
        builder.add_edge(name, "supervisor")
    builder.add_edge(START, "take_apart")
    builder.add_edge("take_apart", "supervisor")
    builder.add_conditional_edges("supervisor", lambda state: state["team"] or END, [*TEAMS.values(), END])
    return builder.compile(name="desk")


async def main(message: str) -> None:
    """Answer one message."""
    with App(HERE / "chainops.toml") as app:
        state = await app.instrument(graph(model())).ainvoke({"message": message, "answers": []})
    print(state["reply"])


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:])))
