"""Summarises every text of a folder, several at once, and asks only about those that are new or were changed.

The model is no language model: the small one that chainops ships has learnt to run a support desk and cannot summarise.
``Leading`` picks the two sentences whose words the text uses most. Put yours in place of ``model()``.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections import Counter
from pathlib import Path
from typing import Any, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import START, StateGraph

from chainops import App

HERE = Path(__file__).resolve().parent


class Leading(BaseChatModel):
    """The two sentences with the most common words of the text, in their order (Luhn 1958)."""

    temperature: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "leading sentences"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": "leading-2", "temperature": self.temperature}

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        sentences = [s.strip() for s in re.findall(r"[^.]+\.", str(messages[-1].text))]
        words = Counter(w for s in sentences for w in re.findall(r"[a-z]{4,}", s.lower()))

        def weight(sentence: str) -> float:
            own = re.findall(r"[a-z]{4,}", sentence.lower())
            return sum(words[w] for w in own) / max(len(own), 1)

        best = sorted(sorted(range(len(sentences)), key=lambda i: (-weight(sentences[i]), i))[:2])
        answer = AIMessage(" ".join(sentences[i] for i in best))
        return ChatResult(generations=[ChatGeneration(message=answer)])


class Text(TypedDict, total=False):
    """One text and its summary."""

    name: str
    text: str
    summary: str


def model() -> BaseChatModel:
    """The model that summarises."""
    return Leading()


def graph(chat: BaseChatModel) -> Any:
    """One node that asks ``chat``."""

    async def summarise(state: Text) -> Text:
        asked = [SystemMessage("Summarise the text in two sentences."), HumanMessage(state["text"])]
        return {"summary": str((await chat.ainvoke(asked)).text)}

    builder = StateGraph(Text)
    builder.add_node("summarise", summarise)
    builder.add_edge(START, "summarise")
    return builder.compile(name="summariser")


async def summaries(texts: dict[str, str], at_once: int) -> dict[str, str | BaseException]:
    """The summary of each text, by its name, or why there is none."""
    places = asyncio.Semaphore(at_once)
    with App(HERE / "chainops.toml") as app:
        summariser = app.instrument(graph(model()))

        async def one(name: str) -> str:
            async with places:
                done = await summariser.ainvoke({"name": name, "text": texts[name]})
            return str(done["summary"])

        return dict(zip(texts, await asyncio.gather(*map(one, texts), return_exceptions=True), strict=True))


def main(folder: Path, out: Path, at_once: int) -> int:
    """Write one summary per text into ``out``; returns how many failed. What failed is tried again by the next run."""
    texts = {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.txt"))}
    done = asyncio.run(summaries(texts, at_once))
    failed = {name: result for name, result in done.items() if isinstance(result, BaseException)}
    for name, error in failed.items():
        print(f"{name}: {type(error).__name__}: {error}")
    out.write_text("".join(f"{name}: {result}\n" for name, result in done.items() if name not in failed), "utf-8")
    print(f"{len(done) - len(failed)} summaries in {out}, {len(failed)} failed")
    return len(failed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("summaries.txt"))
    parser.add_argument("--at-once", type=int, default=4, help="texts at the same time")
    given = parser.parse_args()
    raise SystemExit(bool(main(given.folder, given.out, given.at_once)))
