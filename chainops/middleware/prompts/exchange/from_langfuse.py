"""Langfuse's JSON: a text or a chat, ``{{name}}`` for variables."""

from __future__ import annotations

from typing import Any

from chainops.middleware.prompts.exchange.imports import Draft, Imported, finish
from chainops.middleware.prompts.exchange.syntax import from_mustache

__all__ = ["read_langfuse"]

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def read_langfuse(found: Any, draft: Draft) -> Imported:
    """The prompt in what ``GET /api/public/v2/prompts/NAME`` answers, or an export of it."""
    if not isinstance(found, dict):
        draft.mistakes.append("it is no JSON object")
        return finish(draft)
    draft.name = str(found.get("name") or draft.name)
    body = found.get("prompt")
    if isinstance(body, str):
        draft.say("user", *from_mustache(body, "prompt", draft.mistakes))
    elif isinstance(body, list):
        for i, message in enumerate(body):
            _message(message, f"prompt[{i}]", draft, last=i == len(body) - 1)
    else:
        draft.mistakes.append("prompt is neither a text nor a list of messages")
    config = found.get("config")
    if isinstance(config, dict) and config:
        draft.more["model"] = config
    if message := found.get("commitMessage"):
        draft.more["description"] = str(message)
    for key in ("labels", "tags"):
        if found.get(key):
            draft.notes.append(f"{key} {found[key]} stay out: move labels with chainops prompt promote")
    return finish(draft)


def _message(message: Any, place: str, draft: Draft, *, last: bool) -> None:
    if not isinstance(message, dict):
        draft.mistakes.append(f"{place} is no message")
    elif message.get("type") == "placeholder":
        draft.placeholder(str(message.get("name", "")), place, last=last)
    elif message.get("role") not in ROLES or not isinstance(message.get("content"), str):
        draft.mistakes.append(
            f"{place}: a message has a role (system, user, assistant) and a text, this has {message!r}"
        )
    else:
        draft.say(ROLES[message["role"]], *from_mustache(message["content"], place, draft.mistakes))
