"""Prompty files: YAML front matter, then a body with roles, as ours; other words in the front matter."""

from __future__ import annotations

import re
from typing import Any

from chainops.middleware.prompts.exchange.imports import Draft, Imported, finish
from chainops.middleware.prompts.exchange.syntax import from_jinja, from_mustache
from chainops.middleware.prompts.file import front_matter
from chainops.store.canonical import json_mistakes

__all__ = ["read_prompty"]

_ROLE = re.compile(r"[ \t]*#?[ \t]*(system|developer|user|assistant):[ \t]*", re.IGNORECASE)
_TYPES = {"string", "number", "integer", "boolean", "array", "object"}
_STAYS_OUT = ("authors", "tags", "version", "tools", "metadata", "base", "environment", "thread")


def read_prompty(text: str, name: str) -> Imported:
    """The prompt in a Prompty file, version 1 or 2."""
    front, body, first = front_matter(text, name)
    draft = Draft(str(front.get("name") or name).replace(" ", "-"))
    if "description" in front:
        draft.more["description"] = str(front["description"])
    _model(front.get("model"), draft)
    template = front.get("template")
    kind = template.get("format", template.get("type")) if isinstance(template, dict) else template
    read = {"jinja2": from_jinja, "mustache": from_mustache, None: from_jinja}.get(_kind(kind))
    if read is None:
        draft.mistakes.append(f"template: {kind!r} is neither jinja2 nor mustache")
    else:
        for role, part, line in _messages(body, first):
            if part.strip():
                draft.say(role, *read(part.strip("\n"), f"line {line} ({role})", draft.mistakes))
    _inputs(front, draft)
    outputs = front.get("outputs", front.get("outputSchema"))
    if isinstance(outputs, dict) and outputs:
        whole = "type" in outputs or "properties" in outputs
        draft.more["output"] = outputs if whole else {"type": "object", "properties": _properties(outputs)}
    draft.notes += [f"{key} stays out" for key in _STAYS_OUT if front.get(key)]
    return finish(draft)


def _kind(kind: Any) -> Any:
    return kind.get("kind") if isinstance(kind, dict) else kind


def _messages(lines: list[str], first: int) -> list[tuple[str, str, int]]:
    found: list[tuple[str, list[str], int]] = [("system", [], first)]
    for number, line in enumerate(lines, first):
        if match := _ROLE.fullmatch(line):
            role = match[1].lower()
            found.append(("system" if role == "developer" else role, [], number + 1))
        else:
            found[-1][1].append(line)
    return [(role, "\n".join(part), number) for role, part, number in found]


def _model(model: Any, draft: Draft) -> None:
    if isinstance(model, str):
        draft.more["model"] = {"model": model}
    if not isinstance(model, dict):
        return
    options = model.get("parameters", model.get("options"))
    if isinstance(options, dict) and options:
        draft.more["model"] = options
    for key in ("configuration", "connection", "api"):
        if model.get(key):
            draft.notes.append(f"model.{key} stays out: which model is called is said where it is made")


def _properties(given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in given.items():
        schema: dict[str, Any] = {}
        if isinstance(value, dict):
            kind = value.get("type", value.get("kind"))
            schema = {k: value[k] for k in ("description", "default", "enum") if k in value}
            if kind in _TYPES:
                schema["type"] = kind
        found[name] = schema
    return found


def _inputs(front: dict[str, Any], draft: Draft) -> None:
    given = front.get("inputs")
    if isinstance(given, list):
        given = {str(item["name"]): item for item in given if isinstance(item, dict) and "name" in item}
    if isinstance(given, dict) and isinstance(given.get("properties"), dict):
        given = given["properties"]
    known = _properties(given) if isinstance(given, dict) else {}
    for name, schema in known.items():
        draft.variables[name] = {**draft.variables.get(name, {}), **schema}
    sample = front.get("sample")
    samples = (
        {k: v["sample"] for k, v in given.items() if isinstance(v, dict) and "sample" in v}
        if isinstance(given, dict)
        else {}
    )
    sample = sample if isinstance(sample, dict) else samples
    if isinstance(front.get("sample"), str):
        draft.notes.append(f"sample: the file {front['sample']} was not read")
    if sample and not json_mistakes(sample):
        draft.more["tests"] = [{"name": "the sample renders", "inputs": sample}]
