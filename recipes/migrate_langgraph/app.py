"""A LangGraph application as it stood before anybody heard of chainops."""

import sys

from langchain_core.messages import SystemMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from model import make_model

from chainops import App


class State(MessagesState):
    topic: str


def build():
    model = make_model()

    def triage(state: State):
        answer = model.invoke([SystemMessage("Classify the request."), state["messages"][-1]])
        return {"topic": answer.text.strip()}

    def answer(state: State):
        return {"messages": [model.invoke([SystemMessage("You are the support desk assistant."), *state["messages"]])]}

    def person(state: State):
        return {"messages": [("ai", "A colleague will write to you.")]}

    builder = StateGraph(State)
    builder.add_node("triage", triage)
    builder.add_node("answer", answer)
    builder.add_node("person", person)
    builder.add_edge(START, "triage")
    builder.add_conditional_edges("triage", lambda state: "answer" if state["topic"] == "faq" else "person")
    builder.add_edge("answer", END)
    builder.add_edge("person", END)
    return builder.compile(name="desk")


app = App()
graph = app.instrument(build())

if __name__ == "__main__":
    state = graph.invoke({"messages": [("user", sys.argv[1])]})
    print(state["messages"][-1].text)
