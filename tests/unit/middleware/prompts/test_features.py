"""Zero-shot, few-shot, reasoning, slots and output schemas, on the seed documents' own examples."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

import chainops
from chainops import CallError, Pipeline, SetupError, instrument
from chainops.middleware.prompts import Prompts
from chainops.middleware.prompts.answering import WrongOutput
from chainops.middleware.prompts.compile import compile_prompt
from chainops.middleware.prompts.content import Reasoning
from chainops.middleware.prompts.file import parse_prompt
from chainops.middleware.prompts.reasoning import ReasoningSplitter, split_reasoning
from chainops.middleware.prompts.template import CompiledPrompt
from chainops.middleware.trace import Trace
from chainops.store.artifacts import Artifacts
from chainops.testing import ScriptedModel

CAPITALS = """\
---
inputs: {properties: {question: {type: string}}, required: [question]}
few_shot:
  examples:
    - {q: 'What is the capital of France?', a: Paris}
    - {q: 'What is the capital of Germany?', a: Berlin}
---
{% for shot in examples -%}
Q: {{ shot.q }}
A: {{ shot.a }}
{% endfor -%}
Q: {{ question }}
A:
"""
WHEELS = """\
---
inputs: {properties: {question: {type: string}}, required: [question]}
reasoning: {open: "", close: "Answer:", ask: Let's think step by step.}
---
Q: {{ question }}
A: {{ reasoning }}
"""
SAID = "There are 3 cars. Each car has 4 wheels.\nSo, 3 \u00d7 4 = 12 wheels.\nAnswer: 12"


def compiled(text: str, name: str = "p") -> CompiledPrompt:
    return compile_prompt(name, parse_prompt(text, name).content(lambda partial: None))


def refused(text: str) -> str:
    with pytest.raises(SetupError) as caught:
        compiled(text)
    return caught.value.message


# zero-shot and few-shot


def test_zero_shot_is_a_prompt_without_examples() -> None:
    prompt = compiled(
        "---\ninputs: {properties: {input: {type: string}}}\n---\nSummarize this paragraph.\n\n{{ input }}"
    )
    assert prompt.render({"input": "A chunk of text."}).text == "Summarize this paragraph.\n\nA chunk of text."


def test_few_shot_gives_the_text_of_the_seed_document() -> None:
    text = compiled(CAPITALS).render({"question": "What is the capital of Italy?"}).text
    assert text == (
        "Q: What is the capital of France?\nA: Paris\nQ: What is the capital of Germany?\nA: Berlin\n"
        "Q: What is the capital of Italy?\nA:"
    )


def test_examples_that_no_template_uses_become_turns_before_the_last_question() -> None:
    shots = "[{user: 'France?', assistant: Paris}, {user: 'Germany?', assistant: Berlin}]"
    prompt = compiled(f"---\nfew_shot: {{examples: {shots}}}\n---\nsystem:\nName the capital.\nuser:\nItaly?")
    assert [(m.role, m.text) for m in prompt.render({}).messages] == [
        ("system", "Name the capital."),
        ("user", "France?"),
        ("assistant", "Paris"),
        ("user", "Germany?"),
        ("assistant", "Berlin"),
        ("user", "Italy?"),
    ]


def test_an_example_is_never_looked_at_as_a_template() -> None:
    shots = "[{user: '{{ 7 * 7 }}', assistant: '{% for %}'}]"
    prompt = compiled(f"---\nfew_shot: {{examples: {shots}}}\n---\nItaly?")
    assert [m.text for m in prompt.render({}).messages] == ["{{ 7 * 7 }}", "{% for %}", "Italy?"]


@pytest.mark.parametrize(
    ("front", "problem"),
    [
        ("few_shot: {examples: []}", "few_shot.examples: list should have at least 1"),
        ("few_shot: {examples: [{a: x}]}", "each needs exactly the keys user and assistant"),
        ("few_shot: {examples: [{user: x, assistant: y}, {user: x}]}", "examples[1] has other keys"),
        ("few_shot: {examples: [{user: x, assistant: 1}]}", "user and assistant of an example are texts"),
        ("few_shot: {examples: [{user: x, assistant: y}], k: 2}", "need choose: similar"),
        ("few_shot: {examples: [{user: x, assistant: y}], choose: similar}", "needs k and like"),
        (
            "few_shot: {examples: [{user: x, assistant: y}], choose: similar, k: 1, like: q}",
            "'q' is not among the inputs",
        ),
        (
            "few_shot: {examples: [{user: x, assistant: y}]}\ninputs: {properties: {examples: {}}}",
            "a meaning of its own",
        ),
        ("reasoning: {}", "no message asks for it"),
        ("slots: {user: other}", "messages or slots, one of the two"),
        ("output: {type: text}", "output.type is 'text'"),
        ("tests: [{name: t, answer: {matches: '('}}]", "tests[0].answer.matches"),
        ("tests: [{name: t, answer: {fits_output: true}}]", "the prompt has no output schema"),
    ],
)
def test_a_feature_that_is_used_wrongly_is_refused_with_its_place(front: str, problem: str) -> None:
    assert problem in refused(f"---\n{front}\n---\nItaly?")


def test_a_prompt_that_chooses_its_examples_says_so_where_there_is_no_embedder() -> None:
    prompt = compiled(
        CAPITALS.replace("few_shot:\n", "few_shot:\n  choose: similar\n  k: 1\n  like: question\n")
        .replace("{q:", "{question:")
        .replace("shot.q", "shot.question")
    )
    with pytest.raises(CallError, match="needs an embedder") as caught:
        prompt.render({"question": "Rome?"})
    assert caught.value.code == "prompt.examples"
    assert "What is the capital of Germany?" in prompt.render({"question": "Rome?"}, {"p": [1]}).text


async def test_the_examples_most_like_the_question_are_chosen_and_noted(embedder: Any, tmp_path: Path) -> None:
    text = """\
---
inputs: {properties: {question: {type: string}}, required: [question]}
few_shot:
  choose: similar
  k: 2
  like: question
  examples:
    - {user: "What is the capital of France?", assistant: Paris}
    - {user: "How many cents has a euro?", assistant: "100"}
    - {user: "What is the capital of Germany?", assistant: Berlin}
    - {user: "Who wrote Faust?", assistant: Goethe}
---
{{ question }}
"""
    shop = Shop(tmp_path / "prompts.db")
    shop.put("capital", text)
    model = ScriptedModel(["Rome"], repeat=True)
    trace = Trace(shop.path)
    made = shop.graph(model, "capital", layers=[trace], embedder=embedder)
    asked = {"messages": [HumanMessage("What is the capital of Italy?")]}
    await made.ainvoke(asked)
    turns = [message.text for message in model.calls[0]]
    assert sorted(turns[1:4:2]) == ["Berlin", "Paris"] and turns[4] == "What is the capital of Italy?"
    await made.ainvoke(asked)
    assert [m.text for m in model.calls[1]] == turns
    trace.close()
    with closing(sqlite3.connect(shop.path)) as db:
        rows = db.execute("SELECT attributes FROM span WHERE kind = 'node'").fetchall()
    assert sorted(json.loads(rows[0][0])["prompts"]["capital"]["examples"]["capital"]) == [0, 2]


def test_a_synchronous_node_may_choose_examples_too(embedder: Any, tmp_path: Path) -> None:
    shop = Shop(tmp_path / "prompts.db")
    similar = "few_shot:\n  choose: similar\n  k: 1\n  like: question\n"
    shop.put(
        "capital",
        CAPITALS.replace("few_shot:\n", similar).replace("{q:", "{question:").replace("shot.q", "shot.question"),
    )

    def answer(state: MessagesState) -> dict[str, Any]:
        text = chainops.prompt("capital").render(question="Which city is the capital of Germany?").text
        return {"messages": [("ai", text)]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    made = instrument(builder.compile(), Pipeline([Prompts(shop.path, embedder=embedder)]))
    text = made.invoke({"messages": []})["messages"][-1].text
    assert "Berlin" in text and "Paris" not in text


# reasoning


def test_the_reasoning_of_the_seed_document_is_kept_apart_from_its_answer() -> None:
    prompt = compiled(WHEELS)
    asked = prompt.render({"question": "If there are 3 cars and each car has 4 wheels, how many wheels are there?"})
    assert asked.text.endswith("A: Let's think step by step.")
    assert prompt.content.reasoning is not None
    assert split_reasoning(SAID, prompt.content.reasoning) == ("12", SAID.partition("\nAnswer:")[0], "closed")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("12", ("12", "", "missing")),
        ("<thinking>3 x 4</thinking>12", ("12", "3 x 4", "closed")),
        ("Well. <thinking>\n3 x 4\n</thinking>\n\n12\n", ("Well. 12\n", "3 x 4", "closed")),
        ("<thinking>3 x", ("", "3 x", "open")),
        ("<thinking></thinking>12", ("12", "", "closed")),
        ("a <think b", ("a <think b", "", "missing")),
        ("<thinking>a</thinking>b<thinking>c", ("b<thinking>c", "a", "closed")),
    ],
)
def test_no_text_is_lost_whatever_marks_a_model_writes(text: str, parts: tuple[str, str, str]) -> None:
    assert split_reasoning(text, Reasoning()) == parts


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["<thinking>", "</thinking>", "<", "th", "</thi", " ", "\n", "a", "Answer:"]), max_size=12
    ),
    st.data(),
)
@pytest.mark.parametrize("marks", [Reasoning(), Reasoning(open="", close="Answer:")])
def test_a_stream_is_split_as_the_whole_text_wherever_its_chunks_end(
    marks: Reasoning, words: list[str], data: Any
) -> None:
    text = "".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    splitter = ReasoningSplitter(marks)
    parts = [splitter.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    parts.append(splitter.finish())
    answer, reasoning = ("".join(part[i] for part in parts) for i in (0, 1))
    assert (answer, reasoning, splitter.state) == split_reasoning(text, marks)
    assert marks.close not in reasoning


# in a graph


class Shop:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Artifacts(path)

    def put(self, name: str, text: str, label: str | None = "prod") -> int:
        content = parse_prompt(text, name).content(lambda partial: None)
        version = self.store.add("prompt", name, content.plain(), author="ann")[0].version
        if label:
            self.store.move("prompt", name, label, version, who="ann")
        return version

    def graph(self, model: ScriptedModel, prompt: str, layers: Any = (), **options: Any) -> Any:
        async def answer(state: MessagesState) -> dict[str, Any]:
            asked = chainops.prompt(prompt)
            messages = await asked.amessages(question=state["messages"][-1].text)
            return {"messages": [await model.ainvoke(messages)]}

        builder = StateGraph(MessagesState)
        builder.add_node("answer", answer)
        builder.add_edge(START, "answer")
        return instrument(builder.compile(), Pipeline([*layers, Prompts(self.path, max_age_s=0, **options)]))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "prompts.db")


ASKED = {"messages": [HumanMessage("How many wheels have 3 cars?")]}


async def test_an_answer_carries_its_reasoning_beside_its_text(shop: Shop) -> None:
    shop.put("wheels", WHEELS)
    made = shop.graph(ScriptedModel([SAID]), "wheels")
    message = (await made.ainvoke(ASKED))["messages"][-1]
    assert message.text == "12"
    assert message.additional_kwargs["reasoning_content"].endswith("= 12 wheels.")


async def test_a_stream_carries_only_the_answer_as_text(shop: Shop) -> None:
    shop.put("wheels", WHEELS)
    made = shop.graph(ScriptedModel(["There are 12 of them. Answer: 12 wheels"]), "wheels")
    seen = [
        chunk async for chunk, _ in made.astream(ASKED, stream_mode="messages") if isinstance(chunk, AIMessageChunk)
    ]
    assert "".join(str(chunk.text) for chunk in seen) == "12 wheels"
    assert "".join(chunk.additional_kwargs.get("reasoning_content", "") for chunk in seen) == "There are 12 of them."


async def test_a_message_of_another_prompt_is_left_as_it_is(shop: Shop) -> None:
    shop.put("wheels", WHEELS)
    model = ScriptedModel(["x Answer: y"])

    async def answer(state: MessagesState) -> dict[str, Any]:
        chainops.prompt("wheels").messages(question="?")
        return {"messages": [await model.ainvoke([HumanMessage("another")])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    made = instrument(builder.compile(), Pipeline([Prompts(shop.path)]))
    assert (await made.ainvoke(ASKED))["messages"][-1].text == "x Answer: y"


JSON_PROMPT = """\
---
inputs: {properties: {question: {type: string}}}
output: {type: object, properties: {city: {type: string}}, required: [city]}
---
{{ question }}
"""


async def test_an_answer_that_does_not_fit_the_output_schema_is_an_error(shop: Shop) -> None:
    shop.put("city", JSON_PROMPT)
    assert (await shop.graph(ScriptedModel(['{"city": "Rome"}']), "city").ainvoke(ASKED))["messages"][-1].text
    for wrong, problem in [("Rome", "it is no JSON"), ('{"city": 1}', "city is an integer, not text")]:
        with pytest.raises(WrongOutput, match=problem) as caught:
            await shop.graph(ScriptedModel([wrong]), "city").ainvoke(ASKED)
        assert (caught.value.code, caught.value.retryable) == ("prompt.output", True)


async def test_or_only_a_score_where_that_is_wanted(shop: Shop) -> None:
    shop.put("city", JSON_PROMPT)
    made = shop.graph(ScriptedModel(["Rome"]), "city", on_wrong_output="score")
    assert (await made.ainvoke(ASKED))["messages"][-1].text == "Rome"


async def test_an_answer_that_calls_a_tool_is_no_wrong_output(shop: Shop) -> None:
    shop.put("city", JSON_PROMPT)
    call = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}])
    assert (await shop.graph(ScriptedModel([call]), "city").ainvoke(ASKED))["messages"][-1].tool_calls


# slots


def slots(shop: Shop) -> None:
    shop.put("desk/tone", "Be kind.")
    shop.put("desk/role", "You are the desk.")
    shop.put("desk/facts", "---\ninputs: {properties: {facts: {type: string, default: none}}}\n---\nFacts: {{ facts }}")
    shop.put("desk/ask", "---\ninputs: {properties: {question: {type: string}}}\n---\n{{ question }}")
    shop.put(
        "desk",
        "---\nslots: {conditioning: desk/tone, system: desk/role, context: desk/facts, user: desk/ask}\n---\n",
    )


async def test_each_slot_has_versions_of_its_own_and_a_label_moves_only_one(shop: Shop) -> None:
    slots(shop)
    model = ScriptedModel(["a", "b"])
    made = shop.graph(model, "desk")
    await made.ainvoke(ASKED)
    shop.put("desk/tone", "Be brief.")
    await made.ainvoke(ASKED)
    texts = [[m.text for m in call] for call in model.calls]
    assert texts[0] == ["Be kind.\n\nYou are the desk.\n\nFacts: none", "How many wheels have 3 cars?"]
    assert texts[1] == ["Be brief.\n\nYou are the desk.\n\nFacts: none", "How many wheels have 3 cars?"]


async def test_a_slot_can_name_a_label_and_its_values_are_told_apart(shop: Shop) -> None:
    slots(shop)
    shop.put("desk/tone", "Be short.", label="short")
    shop.put("short", "---\nslots: {system: desk/tone@short, user: desk/ask}\n---\n")
    model = ScriptedModel(["a"])
    await shop.graph(model, "short").ainvoke(ASKED)
    assert model.calls[0][0].text == "Be short."
    with pytest.raises(CallError, match="facts, nobody is no variable"):
        prompts = Prompts(shop.path)
        prompts.find(await prompts.registry.view(), "short", "prod").render({"question": "", "facts": "", "nobody": 1})


async def test_what_cannot_stand_in_a_slot_is_refused(shop: Shop) -> None:
    slots(shop)
    shop.put("two", "system:\na\nuser:\nb")
    shop.put("bad", "---\nslots: {user: two}\n---\n")
    shop.put("deep", "---\nslots: {user: desk}\n---\n")
    for name, what in [("bad", "2 messages"), ("deep", "slots itself")]:
        with pytest.raises(CallError, match=what) as caught:
            await shop.graph(ScriptedModel(["a"]), name).ainvoke(ASKED)
        assert caught.value.code == "prompt.slot"
