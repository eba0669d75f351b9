"""Prompts from and to LangChain, LangSmith, Langfuse and Prompty."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.load import dumps, load
from langchain_core.prompts import (
    ChatPromptTemplate,
    FewShotChatMessagePromptTemplate,
    FewShotPromptTemplate,
    MessagesPlaceholder,
    PromptTemplate,
)

from chainops.errors import SetupError
from chainops.middleware.prompts.compile import compile_prompt
from chainops.middleware.prompts.content import Content, check_content
from chainops.middleware.prompts.exchange import Imported, from_langchain, import_prompt, to_langchain
from chainops.middleware.prompts.file import parse_prompt, write_prompt


def imported(data: Any, form: Any = "auto", **options: Any) -> Imported:
    text = data if isinstance(data, str) else json.dumps(data)
    return import_prompt(text.encode(), "p", form, **options)


def refused(data: Any, form: Any = "auto") -> str:
    with pytest.raises(SetupError) as caught:
        imported(data, form)
    return caught.value.message


def rendered(found: Imported, **values: Any) -> list[tuple[str, str]]:
    return [(m.role, m.text) for m in compile_prompt("p", found.content).render(values).messages]


def theirs(template: Any, **values: Any) -> list[tuple[str, str]]:
    roles = {"system": "system", "human": "user", "ai": "assistant"}
    return [(roles[m.type], str(m.text)) for m in template.invoke(values).to_messages()]


PIECES = [*"{}%#\\'\" \nab-_", "{{", "}}", "{%", "%}", "{#", "é"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@settings(max_examples=300, deadline=None)
@given(TEXT, TEXT, TEXT)
def test_an_fstring_template_says_here_what_it_says_in_langchain(before: str, after: str, value: str) -> None:
    source = before.replace("{", "{{").replace("}", "}}") + "{x}" + after.replace("{", "{{").replace("}", "}}")
    template = ChatPromptTemplate.from_messages([("human", source)])
    assert rendered(from_langchain(template, "p"), x=value) == theirs(template, x=value)


def test_a_chat_template_of_every_role_and_language_comes_over() -> None:
    template = ChatPromptTemplate.from_messages(
        [("system", "You are {tone}."), ("human", "{q}"), ("ai", "Yes {{really}}"), MessagesPlaceholder("history")]
    ).partial(tone="kind")
    found = from_langchain(template, "p")
    assert rendered(found, q="1") == [("system", "You are kind."), ("user", "1"), ("assistant", "Yes {really}")]
    assert found.content.inputs["required"] == ["q"]
    assert "placeholder 'history' stays out" in found.notes[0]
    again = imported(json.loads(dumps(template)))
    assert again.content == found.content


@pytest.mark.parametrize(
    ("source", "engine", "values"),
    [
        ("Hi {{name}}, {{{name}}} {{! not said }}!", "mustache", {"name": "Ann"}),
        ("Hi {{user.name}} {% literal", "mustache", {"user": {"name": "Ann"}}),
        ("{% if name %}\n  Hi {{ name }}\n{% endif %}\nBye", "jinja2", {"name": "Ann"}),
        ("{% for n in names -%}\n{{ n }},\n{% endfor %}x\n", "jinja2", {"names": ["a", "b"]}),
    ],
)
def test_mustache_and_jinja_templates_say_the_same_here(source: str, engine: Any, values: dict[str, Any]) -> None:
    template = ChatPromptTemplate.from_messages([("human", source)], template_format=engine)
    assert rendered(from_langchain(template, "p"), **values) == theirs(template, **values)


def test_a_few_shot_template_keeps_its_examples() -> None:
    template = FewShotPromptTemplate(
        examples=[{"q": "France?", "a": "Paris"}, {"q": "Germany?", "a": "Berlin"}],
        example_prompt=PromptTemplate.from_template("Q: {q}\nA: {a}"),
        prefix="Name the capital.",
        suffix="Q: {question}\nA:",
        input_variables=["question"],
    )
    found = from_langchain(template, "p")
    assert found.content.few_shot is not None and len(found.content.few_shot.examples) == 2
    assert rendered(found, question="Italy?")[0][1] == template.invoke({"question": "Italy?"}).to_string()
    assert imported(json.loads(json.dumps(template.asdict()))).content == found.content


def test_a_langsmith_prompt_brings_its_model_settings_along() -> None:
    chat = json.loads(dumps(ChatPromptTemplate.from_messages([("system", "Be kind."), ("human", "{q}")])))
    model = {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "ChatX"],
        "kwargs": {"model": "m", "temperature": 0.5, "key": "k"},
    }
    sequence = {
        "lc": 1,
        "type": "constructor",
        "id": ["x", "RunnableSequence"],
        "kwargs": {"first": chat, "last": model},
    }
    found = imported({"repo_handle": "greet", "commit_hash": "abc", "manifest": sequence})
    assert (found.name, found.content.model) == ("greet", {"model": "m", "temperature": 0.5})
    assert found.notes == ("ChatX: key stays out",)


def test_a_langfuse_prompt_comes_over() -> None:
    chat = [{"role": "system", "content": "Be {{tone}}."}, {"type": "placeholder", "name": "h"}]
    found = imported(
        {"name": "greet", "type": "chat", "prompt": chat, "config": {"temperature": 0}, "labels": ["production"]}
    )
    assert (found.name, found.content.model) == ("greet", {"temperature": 0})
    assert rendered(found, tone="{{ kind }}") == [("system", "Be {{ kind }}.")]
    assert len(found.notes) == 2
    assert rendered(imported({"prompt": "Hi {{x}}", "type": "text"}), x="you") == [("user", "Hi you")]


PROMPTY = """\
---
name: Basic Prompt
description: answers
authors: [ann]
model:
  api: chat
  configuration: {type: azure_openai}
  parameters: {temperature: 0.2}
inputs:
  question: {type: string, sample: "why?"}
---
system:
You help.

user:
{% if question %}
{{ question }}
{% endif %}
"""


def test_a_prompty_file_comes_over() -> None:
    found = imported(PROMPTY)
    assert (found.name, found.content.description, found.content.model) == (
        "Basic-Prompt",
        "answers",
        {"temperature": 0.2},
    )
    assert rendered(found, question="x")[1] == ("user", "\nx\n")
    assert [test.inputs for test in found.content.tests] == [{"question": "why?"}]
    assert len(found.notes) == 3


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"_type": "prompt", "template": "{x:>10}"}, "template: {x} has a format"),
        ({"_type": "prompt", "template": "{x"}, "template: expected '}'"),
        ({"_type": "prompt", "template": "{a.b}"}, "template: 'a.b' is no name"),
        ({"_type": "prompt", "template": "{{#a}}x{{/a}}", "template_format": "mustache"}, "{{#a}} is a section"),
        ({"_type": "prompt", "template": "{{ a.__class__() }}", "template_format": "jinja2"}, "Call is not allowed"),
        ({"_type": "prompt", "template": "x", "template_format": "pickle"}, "the form 'pickle' is not known"),
        ({"_type": "llm"}, "a llm cannot be read"),
        ({"lc": 1, "id": ["ChatPromptTemplate"], "kwargs": {"messages": [7]}}, "messages[0] is no message"),
        ({"prompt": [{"role": "tool", "content": "x"}]}, "prompt[0]: a message has a role"),
        ({"prompt": 7}, "prompt is neither a text nor a list"),
        ({"prompt": [{"type": "placeholder", "name": "h"}, {"role": "user", "content": "x"}]}, "'h' stands between"),
        ({"nothing": 1}, "Whose form of prompt this is cannot be told"),
        ("[1, 2", "neither JSON"),
        ("---\nname: x\ntemplate: {format: pug}\n---\nuser:\nx", "'pug' is neither jinja2 nor mustache"),
    ],
)
def test_what_has_no_form_here_is_said_with_its_place(data: Any, problem: str) -> None:
    assert problem in refused(data)


def test_what_langchain_itself_cannot_write_down_is_said() -> None:
    shots = FewShotChatMessagePromptTemplate(
        examples=[{"i": "2", "o": "4"}],
        example_prompt=ChatPromptTemplate.from_messages([("human", "{i}"), ("ai", "{o}")]),
    )
    with pytest.raises(SetupError, match=r"messages\[0\]: LangChain cannot write a FewShotChatMessagePromptTemplate"):
        from_langchain(ChatPromptTemplate.from_messages([shots, ("human", "{q}")]), "p")


def test_placeholders_between_messages_can_be_left_out() -> None:
    chat = [{"type": "placeholder", "name": "h"}, {"role": "user", "content": "x"}]
    assert rendered(imported({"prompt": chat}, drop_placeholders=True)) == [("user", "x")]


# export


def content(text: str) -> Content:
    return parse_prompt(text, "p").content(lambda partial: None)


RICH = """\
---
description: d
model: {temperature: 0}
inputs: {properties: {q: {type: string}, n: {type: integer, default: 3}}, required: [q]}
few_shot: {examples: [{user: 'a {x}', assistant: b}]}
reasoning: {}
tests: [{name: t, inputs: {q: x}, contains: [x]}]
---
system:
{{ reasoning }} {'a'} {{ n }}
  {% if n > 2 %}
many
  {% endif %}
user:
{{ q }}
"""


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_an_exported_prompt_says_in_langchain_what_it_says_here() -> None:
    template = to_langchain("p", content(RICH))
    assert theirs(template, q="why {y}") == rendered(Imported("p", content(RICH)), q="why {y}")
    read = load(json.loads(dumps(template)), allowed_objects="core", init_validator=lambda *_: None)
    assert theirs(read, q="?") == rendered(Imported("p", content(RICH)), q="?")


SIMILAR = """\
---
inputs: {properties: {q: {type: string}}}
few_shot: {examples: [{user: a, assistant: b}], choose: similar, k: 1, like: q}
---
{{ q }}
"""
LINES = st.lists(TEXT | st.sampled_from(["{{ q }}", "{% if q %}\n", "{% endif %}\n", "\n"]), max_size=5).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), LINES), min_size=1, max_size=3), TEXT)
def test_what_is_exported_to_langchain_comes_back_as_the_same_prompt(parts: list[tuple[str, str]], value: str) -> None:
    raw = {
        "messages": [{"role": role, "template": text} for role, text in parts],
        "inputs": {"properties": {"q": {"type": "string"}}},
    }
    try:
        made = check_content("p", raw)
        prompt = compile_prompt("p", made)
    except SetupError:
        return  # no template
    template = to_langchain("p", made)
    again = from_langchain(template, "other")
    assert (again.name, again.content) == ("p", made)
    text = write_prompt(again.name, again.content)
    assert parse_prompt(text, "x").content(lambda partial: None) == made
    assert theirs(template, q=value) == [(m.role, m.text) for m in prompt.render({"q": value}).messages]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("---\nslots: {user: other}\n---\n", "slots"),
        (f"---\npartials: {{tone: '{'a' * 64}'}}\n---\n{{% include 'tone' %}}", "partials"),
        (SIMILAR, "chosen by likeness"),
    ],
)
def test_what_only_chainops_does_is_not_exported(text: str, what: str) -> None:
    with pytest.raises(SetupError, match=what) as caught:
        to_langchain("p", content(text))
    assert caught.value.code == "setup.prompt_form"
