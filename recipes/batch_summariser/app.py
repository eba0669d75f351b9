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


async def main(folder: Path, out: Path, at_once: int) -> int:
    """Write one summary per text into ``out``; returns how many failed. What failed is tried again by the next run."""
    files = sorted(folder.glob("*.txt"))
    failed = 0
    with App(HERE / "chainops.toml") as app:
        summariser, places = app.instrument(graph(model())), asyncio.Semaphore(at_once)

        async def one(file: Path) -> Text:
            async with places:
                return await summariser.ainvoke({"name": file.name, "text": file.read_text(encoding="utf-8")})

        done = await asyncio.gather(*map(one, files), return_exceptions=True)
    lines = []
    for file, result in zip(files, done, strict=True):
        if isinstance(result, BaseException):
            failed += 1
            print(f"{file.name}: {type(result).__name__}: {result}")
        else:
            lines.append(f"{file.stem}: {result['summary']}\n")
    out.write_text("".join(lines), encoding="utf-8")
    print(f"{len(lines)} summaries in {out}, {failed} failed")
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("summaries.txt"))
    parser.add_argument("--at-once", type=int, default=4, help="texts at the same time")
    given = parser.parse_args()
    raise SystemExit(bool(asyncio.run(main(given.folder, given.out, given.at_once))))
