"""Answers survive: questions made by program and questions of a public set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from chainops import Pipeline, SetupError
from chainops.middleware.compress import Compress, compress_text
from chainops.middleware.compress.bench.measure import Row, measure
from chainops.middleware.compress.bench.methods import methods
from chainops.middleware.compress.bench.questions import Question, made, read
from chainops.middleware.compress.bench.styles import STYLES, styled
from chainops.middleware.compress.counting import Counts, TableCounter
from chainops.testing import ScriptedModel, model_call

DATA = Path(__file__).parents[3] / "data" / "qa_small.jsonl"
COUNTS = Counts(TableCounter("o200k"))
COUNT = COUNTS.text


async def table(questions: list[Question]) -> dict[tuple[str, float], Row]:
    rows = await measure(questions, methods(), (0.2, 0.1), COUNT)
    return {(row.method, row.budget): row for row in rows}


@pytest.mark.parametrize(
    ("questions", "tight"),
    # 36 questions of HaluEval are too few for a bound of .90 (one of them is .03); the benchmark takes them all
    [(made(60), 0.90), (read(DATA), 0.86)],
    ids=["made by program", "HaluEval"],
)
async def test_the_answer_is_kept_and_no_other_method_keeps_more(questions: list[Question], tight: float) -> None:
    rows = await table(questions)
    assert rows["ours", 0.2].sentence >= 0.95
    assert rows["ours", 0.1].sentence >= tight and rows["ours", 0.1].answer >= 0.90
    for (method, budget), row in rows.items():
        assert row.sentence <= rows["ours", budget].sentence, method
        assert row.kept <= budget + 0.02, method


@pytest.mark.parametrize("style", STYLES)
async def test_questions_of_other_forms_keep_their_answers(style: str) -> None:
    rows = await measure(styled(style, 30), {"ours": methods()["ours"]}, (0.2, 0.1), COUNT)
    assert rows[0].sentence >= 0.95 and rows[1].sentence >= 0.90
    assert all(row.kept <= row.budget for row in rows)


FORMS: dict[str, Callable[[int, str], str]] = {
    "one per line": lambda number, text: f"{text}\n",
    "numbered": lambda number, text: f"[{number}] {text}\n",
    "in a list": lambda number, text: f"- {text}\n",
    "with titles": lambda number, text: f"Document {number}:\n{text}\n",
    "in tags": lambda number, text: f"<doc id={number}>\n{text}\n</doc>\n",
}


@pytest.mark.parametrize("form", FORMS)
async def test_passages_may_be_written_one_below_the_other_in_many_forms(form: str) -> None:
    for share, least in ((0.2, 0.95), (0.1, 0.90)):
        questions, kept = made(40), 0
        for question in questions:
            text = "".join(FORMS[form](number, passage) for number, passage in enumerate(question.passages))
            short = await compress_text(text, int(COUNT(text) * share), count=COUNT, query=question.text)
            kept += any(sentence in short.text for sentence in question.sentences())
        assert kept >= least * len(questions)


@pytest.mark.parametrize("shape", ["in the question", "result of a tool"])
async def test_the_layer_keeps_what_the_text_alone_keeps(shape: str) -> None:
    model, kept = ScriptedModel(["ok"], repeat=True, model_name="gpt-4o"), 0
    questions = [*made(20), *read(DATA, 20)]
    for question in questions:
        messages: list[BaseMessage] = [HumanMessage(f"{question.context}\n\nQuestion: {question.text}")]
        if shape == "result of a tool":
            call = {"name": "search", "args": {"query": question.text}, "id": "1"}
            result = ToolMessage(question.context, tool_call_id="1")
            messages = [HumanMessage(question.text), AIMessage("", tool_calls=[call]), result]
        whole, context = COUNTS.messages(messages), COUNTS.text(question.context)
        layer = Compress(target_tokens=whole - context + context // 5)
        await Pipeline([layer]).around_model(model)(model_call(messages=tuple(messages), model=model, name="gpt-4o"))
        sent = model.calls[-1]
        assert COUNTS.messages(sent) <= whole - context + context // 5
        text = " ".join(" ".join(str(message.text) for message in sent).split())
        kept += any(" ".join(sentence.split()) in text for sentence in question.sentences())
    assert kept >= 0.95 * len(questions)


def test_made_questions_have_their_answer_in_one_passage_and_their_name_in_no_other() -> None:
    for question in made(50):
        assert question.sentences()
        name = next(word for word in question.text.strip("?").split() if word.isdigit())
        assert [name in passage for passage in question.passages].count(True) >= 1
    assert made(5) == made(5) and made(5) != made(5, seed=8)


def test_a_file_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"question": 1}\n', encoding="utf-8")
    with pytest.raises(SetupError, match="Line 1"):
        read(tmp_path / "q.jsonl")
    with pytest.raises(SetupError, match="Cannot read"):
        read(tmp_path / "none.jsonl")
