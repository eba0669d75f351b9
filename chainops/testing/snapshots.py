"""Snapshots of prompts: what a model was asked, kept as a file that a person can read and review."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["PromptSnapshot", "prompt_text"]

UPDATE = "CHAINOPS_UPDATE_SNAPSHOTS"


def prompt_text(messages: Sequence[Any]) -> str:
    """Messages as text: a line with the role for each, tool calls as JSON, in an order that never changes."""
    import orjson

    lines: list[str] = []
    for message in messages:
        fields = message if isinstance(message, dict) else _fields(message)
        lines.append(f"--- {fields['type']}")
        content = fields.get("content")
        if content:
            lines.append(content if isinstance(content, str) else _json(orjson, content))
        lines += [f"→ {call['name']} {_json(orjson, call['args'])}" for call in fields.get("tool_calls") or ()]
    return "\n".join(lines) + "\n"


def _json(orjson: Any, value: Any) -> str:
    return str(orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str).decode())


def _fields(message: Any) -> dict[str, Any]:
    calls = getattr(message, "tool_calls", None)
    return {"type": message.type.removesuffix("Chunk"), "content": message.content, "tool_calls": calls}


class PromptSnapshot:
    """Compares prompts with files in ``folder``; a new one is written, a changed one fails with the difference.

    ``pytest --update-prompts``, or the variable ``CHAINOPS_UPDATE_SNAPSHOTS=1``, writes what changed. On a build
    machine (``CI`` is set) a missing file is a failure: a snapshot that nobody looked at proves nothing.
    """

    def __init__(self, folder: str | Path, *, update: bool = False) -> None:
        self.folder, self.update = Path(folder), update or os.environ.get(UPDATE) == "1"

    def check(self, name: str, messages: Sequence[Any]) -> None:
        """Assert that ``messages`` are what ``<name>.txt`` says.

        Raises:
            AssertionError: they differ, or there is no such file on a build machine.
        """
        file, found = self.folder / f"{name}.txt", prompt_text(messages)
        there = file.read_text(encoding="utf-8") if file.is_file() else None
        if there == found:
            return
        if there is None and os.environ.get("CI") and not self.update:
            raise AssertionError(f"there is no snapshot {file}: make it where you develop, and look at it")
        if there is None or self.update:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(found, encoding="utf-8")
            return
        lines = difflib.unified_diff(there.splitlines(), found.splitlines(), str(file), "asked now", lineterm="")
        raise AssertionError("the prompt changed; pytest --update-prompts accepts it:\n" + "\n".join(lines))
