"""The flagship recipe: a support desk that routes, looks orders up, answers, and asks a human before it pays back.

``graph(model, orders)`` builds the LangGraph graph, ``layers(trace_file)`` the pipeline around it. Everything here
is what an application would write; nothing in it knows that it is traced.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from chainops import Blocked, Middleware, ModelCall, ModelResult, Pipeline
from chainops.middleware.trace import Trace

TRIAGE = SystemMessage("Classify the request.")
DESK = SystemMessage("You are the support desk assistant.")
ORDERS = [
    ("67-26", "camera", "shipped", "Monday", "Oslo", 49),
    ("41-83", "headset", "delivered", "Friday", "Vienna", 35),
    ("90-12", "monitor", "delayed", "Thursday", "Lisbon", 72),
    ("15-50", "keyboard", "packed", "Tuesday", "Prague", 28),
]


class Desk(MessagesState):
    """What the desk knows: the conversation, and what the last request is about."""

    topic: str


class TokenBudget(Middleware):
    """Refuses further model calls once a thread has used its tokens."""

    name = "token_budget"
    inside = ("trace",)
    suspends = False

    def __init__(self, tokens: int) -> None:
        self.tokens, self.used = tokens, Counter[str]()

    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        thread = call.thread or call.run.run_id
        if self.used[thread] >= self.tokens:
            raise Blocked(f"Thread {thread} has used its {self.tokens} tokens", code="support_desk.budget")
        result: ModelResult = await call_next(call)
        self.used[thread] += result.tokens
        call.annotate(self.name, used=self.used[thread], of=self.tokens)
        return result


def layers(trace_file: str | Path, tokens: int = 20_000) -> Pipeline:
    """The pipeline around the desk: everything is traced, and no thread spends more than ``tokens``."""
    return Pipeline([Trace(trace_file), TokenBudget(tokens)])


def make_orders(path: str | Path) -> Path:
    """A fresh SQLite file with the example orders. Raises ``sqlite3.OperationalError`` where none can be made."""
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript("DROP TABLE IF EXISTS refunds; DROP TABLE IF EXISTS orders;")
        db.execute("CREATE TABLE orders (order_id TEXT PRIMARY KEY, item, status, day, city, total INTEGER)")
        db.execute("CREATE TABLE refunds (order_id TEXT REFERENCES orders, amount INTEGER)")
        db.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", ORDERS)
    return Path(path)


def tools(orders: str | Path) -> list[BaseTool]:
    """The desk's two tools over the orders in a SQLite file."""

    def rows(sql: str, *values: Any) -> list[sqlite3.Row]:
        with closing(sqlite3.connect(orders)) as db, db:
            db.row_factory = sqlite3.Row
            return db.execute(sql, values).fetchall()

    @tool
    def get_order(order_id: str) -> str:
        """Look up an order."""
        found = rows("SELECT * FROM orders WHERE order_id = ?", order_id)
        if not found:
            return compact(order_id=order_id, error="not found")
        return compact(**{key: str(found[0][key]) for key in found[0].keys()})  # noqa: SIM118 - a Row is no dict

    @tool
    def create_refund(order_id: str, amount: str) -> str:
        """Pay an amount in euros back for an order."""
        rows("INSERT INTO refunds VALUES (?, ?)", order_id, int(amount))
        return compact(refund="approved", order_id=order_id, amount=amount)

    return [get_order, create_refund]


def compact(**values: Any) -> str:
    """JSON without spaces, the form in which the model learnt tool results."""
    return json.dumps(values, separators=(",", ":"))


def graph(model: BaseChatModel, orders: str | Path, checkpointer: BaseCheckpointSaver[Any]) -> Any:
    """The desk as a compiled graph. An interrupt asks for each refund; resume it with ``"yes"`` or ``"no"``."""
    desk_tools = tools(orders)
    with_tools = model.bind_tools(desk_tools)

    async def triage(state: Desk) -> dict[str, Any]:
        answer = await model.ainvoke([TRIAGE, _last_question(state["messages"])])
        return {"topic": str(answer.text).strip()}

    async def agent(state: Desk) -> dict[str, Any]:
        helper = with_tools if state["topic"] in ("order", "refund") else model
        return {"messages": [await helper.ainvoke([DESK, *_this_request(state["messages"])])]}

    def approve(state: Desk) -> Command[Literal["tools", "agent"]]:
        call = state["messages"][-1].tool_calls[0]  # type: ignore[union-attr]
        answer = interrupt({"refund": call["args"], "question": f"Pay back {call['args'].get('amount')} euros?"})
        if answer == "yes":
            return Command(goto="tools")
        declined = compact(refund="declined", **call["args"])
        return Command(goto="agent", update={"messages": [ToolMessage(declined, tool_call_id=call["id"])]})

    def what_next(state: Desk) -> Literal["tools", "approve", "__end__"]:
        last = state["messages"][-1]
        if not isinstance(last, AIMessage) or not last.tool_calls:
            return END
        return "approve" if last.tool_calls[0]["name"] == "create_refund" else "tools"

    builder = StateGraph(Desk)
    builder.add_node("triage", triage)
    builder.add_node("agent", agent)
    builder.add_node("approve", approve)
    builder.add_node("tools", ToolNode(desk_tools))
    builder.add_edge(START, "triage")
    builder.add_edge("triage", "agent")
    builder.add_conditional_edges("agent", what_next)
    builder.add_edge("tools", "agent")
    return builder.compile(checkpointer=checkpointer, name="support_desk")


def _last_question(messages: Sequence[BaseMessage]) -> BaseMessage:
    return next(m for m in reversed(messages) if isinstance(m, HumanMessage))


def _this_request(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """From the last question on: the model is small, and earlier requests only distract it."""
    start = max(i for i, m in enumerate(messages) if isinstance(m, HumanMessage))
    return messages[start:]
