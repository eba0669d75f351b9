"""An agent of LangChain's ``create_agent`` as it stood before anybody heard of chainops."""

import json
import sys

from langchain.agents import create_agent
from langchain_core.tools import tool
from model import make_model

ORDERS = {"67-26": {"item": "camera", "status": "shipped", "day": "Monday", "city": "Oslo", "total": "49"}}


@tool
def get_order(order_id: str) -> str:
    """Look up an order."""
    found = ORDERS.get(order_id, {"error": "not found"})
    return json.dumps({"order_id": order_id, **found}, separators=(",", ":"))


def build():
    prompt = "You are the support desk assistant."
    return create_agent(make_model(), [get_order], system_prompt=prompt, name="desk")


agent = build()

if __name__ == "__main__":
    state = agent.invoke({"messages": [("user", sys.argv[1])]})
    print(state["messages"][-1].text)
