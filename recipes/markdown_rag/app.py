"""Questions about a folder of Markdown: sections are found by meaning, and answers say where they come from.

The embedder is real and runs in the process. The model is no language model: the small one that chainops ships has
learnt to run a support desk and cannot read notes. ``Quoter`` answers with the sentence of the sections that is nearest
to the question. Put yours in its place: ``graph(chat, retriever)`` takes any chat model.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.retrievers import BaseRetriever
from langgraph.graph import END, START, StateGraph

from chainops import App, SetupError
from chainops.engines.embeddings import embedder

HERE = Path(__file__).resolve().parent
LIKE = 0.35
"""Sections less like the question than this are none: then the answer is that the notes do not say."""


class Sections(BaseRetriever):
    """The sections of all Markdown files of a folder, nearest to the question first.

    Args:
        folder: with ``.md`` files. A section begins at each heading and knows those above it.
        count: so many sections at most.
        like: smallest cosine between question and section.
    """

    folder: Path
    count: int = 2
    like: float = LIKE
    _sections: list[Document] | None = None
    _vectors: Any = None

    async def _load(self) -> list[Document]:
        if self._sections is None:
            found = [section for file in sorted(self.folder.rglob("*.md")) for section in self.split(file)]
            self._vectors = await embedder().embed([section.page_content for section in found])
            self._sections = found
        return self._sections

    def split(self, file: Path) -> list[Document]:
        """The sections of one file; each text begins with its headings, so that it can stand alone."""
        above: list[str] = []
        found: list[Document] = []
        body: list[str] = []

        def end() -> None:
            text = "\n".join(body).strip()
            if text:
                where = f"{file.relative_to(self.folder).as_posix()}#{above[-1] if above else ''}"
                found.append(Document(f"{' > '.join(above)}\n{text}", metadata={"source": where}))
            body.clear()

        for line in file.read_text(encoding="utf-8").splitlines():
            heading = re.match(r"(#+) (.*)", line)
            if heading is None:
                body.append(line)
                continue
            end()
            above[len(heading[1]) - 1 :] = [heading[2].strip()]
        end()
        return found

    async def nearest(self, query: str) -> list[Document]:
        """The sections for a question, each with its likeness."""
        sections = await self._load()
        if not sections:
            return []
        likeness = self._vectors @ (await embedder().embed([query]))[0]
        best = np.argsort(-likeness)[: self.count]
        return [
            Document(
                sections[i].page_content, metadata={**sections[i].metadata, "likeness": round(float(likeness[i]), 2)}
            )
            for i in best
            if likeness[i] >= self.like
        ]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        return await self.nearest(query)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return asyncio.run(self.nearest(query))


class Quoter(BaseChatModel):
    """Answers with the sentence of what it was given that is nearest to the question."""

    @property
    def _llm_type(self) -> str:
        return "quotes"

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        notes, question = str(messages[0].text), str(messages[-1].text)
        lines = [line for line in notes.splitlines() if line.endswith(".")]
        sentences = [s for line in lines for s in re.findall(r"[^.]+\.", line)]
        vectors = await embedder().embed([question, *sentences])
        nearest = sentences[int(np.argmax(vectors[1:] @ vectors[0]))].strip()
        return ChatResult(generations=[ChatGeneration(message=AIMessage(nearest))])

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return asyncio.run(self._agenerate(messages))


class Asked(TypedDict, total=False):
    """A question, the sections for it, and the answer."""

    question: str
    sections: list[Document]
    answer: str


def graph(chat: BaseChatModel, retriever: BaseRetriever) -> Any:
    """Find sections, then answer from them, or say that there are none."""

    async def find(state: Asked) -> Asked:
        return {"sections": await retriever.ainvoke(state["question"])}

    async def answer(state: Asked) -> Asked:
        notes = "\n\n".join(section.page_content for section in state["sections"])
        asked = [SystemMessage(f"Answer from these notes only.\n\n{notes}"), HumanMessage(state["question"])]
        said = await chat.ainvoke(asked)
        return {"answer": f"{said.text}\n  ({', '.join(s.metadata['source'] for s in state['sections'])})"}

    def not_found(state: Asked) -> Asked:
        return {"answer": "The notes do not say."}

    builder = StateGraph(Asked)
    builder.add_node("find", find)
    builder.add_node("answer", answer)
    builder.add_node("not_found", not_found)
    builder.add_edge(START, "find")
    builder.add_conditional_edges(
        "find", lambda state: "answer" if state["sections"] else "not_found", ["answer", "not_found"]
    )
    builder.add_edge("answer", END)
    builder.add_edge("not_found", END)
    return builder.compile(name="notes")


async def main(questions: list[str]) -> None:
    """Answer each question."""
    with App(HERE / "chainops.toml") as app:
        asked = app.instrument(graph(Quoter(), Sections(folder=HERE / "notes")))
        for question in questions:
            print((await asked.ainvoke({"question": question}))["answer"])


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1:]))
    except SetupError as error:  # there is no embedder: it says how to make one
        raise SystemExit(f"error: {error}") from None
