"""Prompts as files: YAML front matter, then a body in which lines such as ``system:`` say who speaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from chainops.middleware.prompts.content import Content, check_content, mistakes_error
from chainops.store.canonical import json_mistakes

__all__ = ["SUFFIX", "PlainLoader", "PromptFile", "front_matter", "parse_prompt", "write_prompt"]

SUFFIX = ".prompt"
"""How the names of prompt files end."""

MAX_FILE = 1_000_000
_ROLE = re.compile(r"(system|user|assistant):[ \t]*")
_ESCAPED = re.compile(r"\\+(?:system|user|assistant):[ \t]*")
_HEAD = {"name", "description", "model", "inputs", "output", "partials", "tests", "few_shot", "reasoning", "slots"}


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A file that was read. ``partials`` are the names that it includes; a hash where the file pins one."""

    name: str
    raw: Mapping[str, Any]
    partials: Mapping[str, str | None]

    def content(self, hash_of: Callable[[str], str | None]) -> Content:
        """What is stored of it. ``hash_of`` a partial is the hash of its version that is in force, or None.

        Raises:
            SetupError: something in it is wrong, or a partial does not exist (``setup.prompt``).
        """
        hashes = {name: pinned or hash_of(name) for name, pinned in self.partials.items()}
        if missing := sorted(name for name, found in hashes.items() if found is None):
            raise mistakes_error(self.name, [f"there is no partial {name!r}" for name in missing])
        return check_content(self.name, {**self.raw, **({"partials": hashes} if hashes else {})})


def parse_prompt(text: str, name: str) -> PromptFile:
    """The prompt in ``text``; ``name`` is its name unless the front matter gives one.

    Raises:
        SetupError: it is no prompt file (``setup.prompt``); the line is named.
    """
    front, body, first = front_matter(text, name)
    if unknown := front.keys() - _HEAD:
        known = ", ".join(sorted(_HEAD))
        raise mistakes_error(
            name, [f"front matter: {key} does not exist (there are: {known})" for key in sorted(unknown)]
        )
    given = front.pop("name", name)
    if type(given) is not str:
        raise mistakes_error(name, [f"front matter: name is {given!r}, not text"])
    partials = _partials(front.pop("partials", []), given)
    if not front.get("slots") or any(line.strip() for line in body):
        front["messages"] = [{"role": role, "template": part} for role, part in _messages(body, given, first)]
    return PromptFile(given, front, partials)


def front_matter(text: str, name: str) -> tuple[dict[str, Any], list[str], int]:
    """The front matter of ``text``, the lines of its body, and the number of the first of them.

    Raises:
        SetupError: it is no plain table, or never ends (``setup.prompt``).
    """
    if len(text) > MAX_FILE:
        raise mistakes_error(name, [f"the file has more than {MAX_FILE:,} characters"])
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    head, body, first = _split(lines, name)
    return _front_matter(head, name), body, first


def _split(lines: list[str], name: str) -> tuple[str, list[str], int]:
    """Front matter, body, and the number of the body's first line."""
    if lines[0].rstrip() != "---":
        return "", lines, 1
    for i, line in enumerate(lines[1:], 1):
        if line.rstrip() == "---":
            return "\n".join(lines[1:i]), lines[i + 1 :], i + 2
    raise mistakes_error(name, ["the front matter that begins in line 1 never ends; close it with a line ---"])


class PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain values only. No aliases, with which ten lines make a billion; no key twice, of which one would be lost."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(problem="aliases (*) are not allowed", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen if isinstance(key.value, str) else False:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} stands here twice", problem_mark=key.start_mark)
            if isinstance(key.value, str):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _front_matter(text: str, name: str) -> dict[str, Any]:
    try:
        front = yaml.load(text, PlainLoader)  # noqa: S506 - a safe loader with less in it
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 2}" if error.problem_mark else ""
        raise mistakes_error(name, [f"front matter{line}: {error.problem}"]) from None
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise mistakes_error(name, [f"front matter: {type(error).__name__}: {str(error).splitlines()[0]}"]) from None
    if front is None:
        return {}
    if type(front) is not dict:
        raise mistakes_error(name, ["the front matter is no table of names and values"])
    if mistakes := json_mistakes(front):
        raise mistakes_error(name, [f"front matter: {mistake} (put it in quotes?)" for mistake in mistakes])
    return front


def _partials(given: Any, name: str) -> dict[str, str | None]:
    if type(given) is list and all(type(item) is str for item in given):
        return dict.fromkeys(given)
    if type(given) is dict and all(type(v) is str and re.fullmatch("[0-9a-f]{64}", v) for v in given.values()):
        return given
    raise mistakes_error(name, ["front matter: partials is no list of names, nor a table of names and sha256 hashes"])


def _messages(lines: list[str], name: str, first: int) -> Iterator[tuple[str, str]]:
    if not any(_ROLE.fullmatch(line) for line in lines):
        yield "user", "\n".join(map(_unescape, lines))
        return
    role, part = "", list[str]()
    for number, line in enumerate(lines, first):
        if found := _ROLE.fullmatch(line):
            if role:
                yield role, "\n".join(part)
            role, part = found[1], []
        elif role:
            part.append(_unescape(line))
        elif line.strip():
            raise mistakes_error(name, [f"line {number} stands before the first role (system:, user: or assistant:)"])
    yield role, "\n".join(part)


def _unescape(line: str) -> str:
    return line[1:] if _ESCAPED.fullmatch(line) else line


def _escape(line: str) -> str:
    return f"\\{line}" if _ROLE.fullmatch(line) or _ESCAPED.fullmatch(line) else line


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """As PyYAML's own, but text with odd line ends is escaped: plain, it would not be read back as it was."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> Any:
    odd = not text.isascii() and any(c in "\x85\u2028\u2029\ufeff" for c in text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if odd else None)


_Dumper.add_representer(str, _represent_text)


def write_prompt(name: str, content: Content, *, current: Callable[[str], str | None] = lambda name: None) -> str:
    """The file of a prompt; reading it gives the same content.

    ``current`` is the hash that the name of a partial means to whoever reads the file; others are pinned in it.
    """
    plain = content.plain()
    plain.pop("messages", None)
    partials = plain.pop("partials", {})
    front = {"name": name, **plain}
    if partials:
        exact = any(current(partial) != sha for partial, sha in partials.items())
        front["partials"] = partials if exact else list(partials)
    head = yaml.dump(front, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    body = [
        f"{message.role}:\n" + "\n".join(map(_escape, message.template.split("\n"))) for message in content.messages
    ]
    return f"---\n{head}---\n" + "\n\n".join(body) + "\n"
