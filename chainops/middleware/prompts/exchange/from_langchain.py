"""LangChain's prompt templates, as objects or as JSON (LangSmith's too). Nothing in the JSON is executed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainops.middleware.prompts.content import check_content
from chainops.middleware.prompts.exchange.imports import Draft, Imported, finish
from chainops.middleware.prompts.exchange.syntax import Template, from_fstring, from_jinja, from_mustache, literal
from chainops.store.canonical import json_mistakes

if TYPE_CHECKING:
    from langchain_core.prompts import BasePromptTemplate

__all__ = ["MARK", "from_langchain", "read_langchain"]

MARK = "chainops"
"""Where a template that we exported carries what LangChain has no place for, among its metadata."""

Reader = Callable[[str, str, list[str]], Template]
_ENGINES: dict[str, Reader] = {"f-string": from_fstring, "mustache": from_mustache, "jinja2": from_jinja}
_ROLES = {
    "SystemMessagePromptTemplate": "system",
    "SystemMessage": "system",
    "HumanMessagePromptTemplate": "user",
    "HumanMessage": "user",
    "AIMessagePromptTemplate": "assistant",
    "AIMessage": "assistant",
}


def from_langchain(template: BasePromptTemplate[Any], name: str, *, drop_placeholders: bool = False) -> Imported:
    """A LangChain prompt template as one of ours.

    Raises:
        SetupError: something in it has no form here (``setup.prompt``); all of it is named, with its place.
    """
    from langchain_core.load import dumpd
    from langchain_core.prompts import FewShotPromptTemplate

    plain = template.asdict() if isinstance(template, FewShotPromptTemplate) else dumpd(template)
    return read_langchain(plain, Draft(name, drop_placeholders=drop_placeholders))


def read_langchain(found: Any, draft: Draft) -> Imported:
    """The prompt in JSON that ``langchain_core.load.dumps``, ``prompt.save`` or LangSmith wrote."""
    if isinstance(found, dict) and isinstance(found.get("manifest"), dict):
        draft.name = str(found.get("repo_handle") or found.get("name") or draft.name)
        found = found["manifest"]
    found = _prompt_of(found, draft)
    if found is None:
        draft.mistakes.append("there is no prompt template in it")
        return finish(draft)
    kind, fields = _kind(found), found.get("kwargs", found)
    metadata = fields.get("metadata")
    if isinstance(metadata, dict) and isinstance(metadata.get(MARK), dict):
        return _our_own(metadata[MARK], draft)
    if kind == "few_shot":
        _few_shot(fields, draft)
    elif kind in ("prompt", "PromptTemplate"):
        draft.say("user", *_template(found, "template", draft))
    elif isinstance(fields.get("messages"), list):
        for i, message in enumerate(fields["messages"]):
            _message(message, f"messages[{i}]", draft, last=i == len(fields["messages"]) - 1)
    else:
        draft.mistakes.append(f"a {kind} cannot be read; of what LangChain has, prompt and chat templates can")
    _partials(fields, draft)
    return finish(draft)


def _our_own(carried: dict[str, Any], draft: Draft) -> Imported:
    """What we exported comes back as it was."""
    name = str(carried.get("name", draft.name))
    return Imported(name, check_content(name, carried.get("content", {})))


def _kind(found: dict[str, Any]) -> str:
    parts = found.get("id")
    return str(parts[-1]) if isinstance(parts, list) and parts else str(found.get("_type", "thing"))


def _prompt_of(found: Any, draft: Draft) -> dict[str, Any] | None:
    """The prompt template in a sequence "prompt | model", whose settings are taken too."""
    if not isinstance(found, dict):
        return None
    if _kind(found) != "RunnableSequence":
        return found
    fields = found.get("kwargs", {})
    steps = [fields.get("first"), *fields.get("middle", []), fields.get("last")]
    for step in steps[1:]:
        if isinstance(step, dict):
            _settings(step, draft)
    return steps[0] if isinstance(steps[0], dict) else None


def _settings(step: dict[str, Any], draft: Draft) -> None:
    fields = step.get("kwargs", {})
    if isinstance(fields.get("bound"), dict):
        _settings(fields["bound"], draft)
        fields = fields.get("kwargs", {})
    wanted = {"model": "model", "model_name": "model", "temperature": "temperature", "max_tokens": "max_tokens"}
    kept = {wanted[k]: v for k, v in fields.items() if k in wanted and not json_mistakes(v)}
    if kept:
        draft.more["model"] = {**draft.more.get("model", {}), **kept}
    left = sorted(k for k in fields if k not in wanted and k != "bound")
    if left:
        draft.notes.append(f"{_kind(step)}: {', '.join(left)} stays out")


def _template(found: Any, place: str, draft: Draft) -> Template:
    if not isinstance(found, dict) or found.get("type") == "not_implemented":
        draft.mistakes.append(f"{place}: LangChain could not write it down; import the object with from_langchain()")
        return "", {}
    fields = found.get("kwargs", found)
    engine = fields.get("template_format", "f-string")
    text = fields.get("template")
    if engine not in _ENGINES or not isinstance(text, str):
        draft.mistakes.append(f"{place}: a template of the form {engine!r} is not known here")
        return "", {}
    template = _ENGINES[engine](text, place, draft.mistakes)
    _partials(fields, draft)
    return template


def _partials(fields: dict[str, Any], draft: Draft) -> None:
    partials = fields.get("partial_variables")
    for name, value in partials.items() if isinstance(partials, dict) else ():
        if json_mistakes(value) or (isinstance(value, dict) and "lc" in value):
            draft.mistakes.append(f"partial_variables.{name} is code or an object, not a value")
        elif name in draft.variables or fields.get("template") is None:
            draft.variables[name] = {**draft.variables.get(name, {}), "default": value}
        else:
            draft.variables[name] = {"default": value}


def _message(found: Any, place: str, draft: Draft, *, last: bool) -> None:
    if not isinstance(found, dict):
        draft.mistakes.append(f"{place} is no message")
        return
    kind, fields = _kind(found), found.get("kwargs", found)
    if found.get("type") == "not_implemented":
        draft.mistakes.append(f"{place}: LangChain cannot write a {kind} down; put its examples into few_shot by hand")
    elif kind == "MessagesPlaceholder":
        draft.placeholder(str(fields.get("variable_name")), place, last=last)
    elif kind == "ChatMessagePromptTemplate" and fields.get("role") in ("system", "user", "assistant"):
        draft.say(fields["role"], *_template(fields.get("prompt"), place, draft))
    elif kind not in _ROLES:
        draft.mistakes.append(f"{place}: a {kind} has no place in a prompt here")
    elif "prompt" in fields:
        if isinstance(fields["prompt"], list):
            draft.mistakes.append(f"{place}: a message of several parts (images) has no place in a prompt here")
        else:
            draft.say(_ROLES[kind], *_template(fields["prompt"], place, draft))
    elif isinstance(fields.get("content"), str):
        draft.say(_ROLES[kind], literal(fields["content"]), {})
    else:
        draft.mistakes.append(f"{place}: its content is no text")


def _few_shot(fields: dict[str, Any], draft: Draft) -> None:
    """``FewShotPromptTemplate``: prefix, examples and suffix, joined by a separator."""
    examples, inner = fields.get("examples"), fields.get("example_prompt")
    if not isinstance(examples, list) or not examples or fields.get("example_selector") is not None:
        draft.mistakes.append("examples: they must be a list; a selector of examples cannot be read")
        return
    engine = _ENGINES.get(fields.get("template_format", "f-string"))
    if engine is None or not isinstance(inner, dict):
        draft.mistakes.append("example_prompt: its form is not known here")
        return
    example = Draft(draft.name)
    shown, keys = _template(inner, "example_prompt", example)
    draft.mistakes += example.mistakes
    for key in keys:
        shown = shown.replace(f"{{{{ {key} }}}}", f"{{{{ example.{key} }}}}")
    separator = literal(str(fields.get("example_separator", "\n\n")))
    parts = [f"{{% for example in examples %}}{{% if not loop.first %}}{separator}{{% endif %}}{shown}{{% endfor %}}"]
    variables: dict[str, dict[str, Any]] = {}
    for place in ("prefix", "suffix"):
        text = fields.get(place)
        if text:
            template, found = engine(str(text), place, draft.mistakes)
            variables.update(found)
            parts = [template, *parts] if place == "prefix" else [*parts, template]
    draft.more["few_shot"] = {"examples": examples}
    draft.say("user", separator.join(parts), variables)
