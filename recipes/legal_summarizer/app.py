"""A summarizer of contracts whose prompt gets worse, and the tests that notice.

``app()`` is the graph inside its pipeline, ``model()`` the model that it asks. The model is no language model: the
small one that chainops ships has learnt to run a support desk and cannot read contracts. ``Extractor`` follows an
instruction by rules, so that everything else here is what it would be with a large model. Put yours in its place.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypedDict

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import START, StateGraph

import chainops
from chainops.app import App

HERE = Path(__file__).resolve().parent
TOPICS = {
    "liabilit": ("liable", "liability", "indemnif", "damages", "warrant"),
    "term": ("term of", "terminate", "notice", " due ", " end it"),
    "payment": (" due ", "pay", "invoice"),
}
"""What sentences about a topic have in them, by the beginning of the topic's name."""


class Extractor(BaseChatModel):
    """Answers an instruction and a text with sentences of the text, chosen by rules.

    An instruction that names topics ("focusing on liabilities") gets the sentences about them. Any other gets the plain
    ones: the three shortest, in their order, as somebody would tell the contract to a friend.
    """

    @property
    def _llm_type(self) -> str:
        return "rules"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        instruction, _, text = str(messages[-1].text).partition("\n")
        sentences = [" ".join(s.split()) for s in re.findall(r"[^.]+(?:\.(?=\d)[^.]+)*\.", text)]
        asked = re.search(r"focusing only on (.*)", instruction.lower())
        words = [w for topic, found in TOPICS.items() if asked and topic in asked[1] for w in found]
        if words:
            chosen = [s for s in sentences if any(word in f" {s.lower()}" for word in words)]
        else:
            short = set(sorted(sentences, key=len)[:3])
            chosen = [s for s in sentences if s in short]
        return ChatResult(generations=[ChatGeneration(message=AIMessage(" ".join(chosen)))])


class State(TypedDict, total=False):
    """A contract, and what is to be known of it before it is signed."""

    contract: str
    summary: str


def model() -> BaseChatModel:
    """The model that summarizes."""
    return Extractor()


def graph(chat: BaseChatModel) -> Any:
    """One node that asks ``chat`` with the prompt that ``prod`` means."""

    def summarize(state: State) -> State:
        messages = chainops.prompt("summarize").messages(contract=state["contract"])
        return {"summary": str(chat.invoke(messages).text)}

    builder = StateGraph(State)
    builder.add_node("summarize", summarize)
    builder.add_edge(START, "summarize")
    return builder.compile(name="legal_summarizer")


def app() -> Any:
    """The graph inside the pipeline of ``chainops.toml``."""
    return App(HERE / "chainops.toml").instrument(graph(model()))


if __name__ == "__main__":
    print(app().invoke({"contract": (HERE / "contract.txt").read_text(encoding="utf-8")})["summary"])
