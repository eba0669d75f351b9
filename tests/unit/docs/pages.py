"""The documentation as data: pages, fenced blocks, headings, links."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "chainops" / "docs"
LANGUAGES = frozenset({"python", "toml", "console", "text", "sh", "json", "sql"})
FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<info>[^`]*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block. ``line``: of its first line of text. ``output``: what the page says that it prints, or None."""

    language: str
    text: str
    line: int
    output: str | None = None


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self) -> list[Block]:
        return parse(self.text)

    def prose(self) -> str:
        """The text without fenced blocks and inline code."""
        return re.sub(r"`[^`\n]*`", "", "\n".join(line for line, inside in _lines(self.text) if not inside))

    def mentioned(self, pattern: str) -> list[str]:
        """What ``pattern`` finds in the inline code."""
        prose = "\n".join(line for line, inside in _lines(self.text) if not inside)
        return re.findall(f"`{pattern}`", prose)

    def links(self) -> list[str]:
        return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", self.prose())

    def anchors(self) -> set[str]:
        """Anchors of the headings, made as code hosts make them."""
        heads = [line.lstrip("#").strip() for line, inside in _lines(self.text) if not inside and line.startswith("#")]
        return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}

    def section(self, heading: str) -> str | None:
        """The text below a heading, up to the next one, or None."""
        found: list[str] | None = None
        for line, inside in _lines(self.text):
            if not inside and re.match(r"#+ ", line):
                if found is not None:
                    break
                if line.lstrip("#").strip().strip("`") == heading:
                    found = []
            elif found is not None:
                found.append(line)
        return None if found is None else "\n".join(found)


def pages() -> list[Page]:
    """README, everything under chainops/docs, and the README of each recipe."""
    found = [ROOT / "README.md", *DOCS.rglob("*.md"), *(ROOT / "recipes").glob("*/README.md")]
    return [Page(path) for path in sorted(found)]


def _lines(text: str) -> list[tuple[str, bool]]:
    """Each line, and whether it belongs to a fenced block (its fences included)."""
    lines, ticks = [], ""
    for line in text.splitlines():
        fence = FENCE.match(line)
        inside = bool(ticks) or fence is not None
        if fence and not ticks:
            ticks = fence["ticks"]
        elif fence and fence["ticks"].startswith(ticks) and not fence["info"].strip():
            ticks = ""
        lines.append((line, inside))
    if ticks:
        raise ValueError("a fenced block is never closed")
    return lines


def parse(text: str) -> list[Block]:
    """The fenced blocks of a page, in order. Raises ``ValueError`` for one that is never closed."""
    found: list[Block] = []
    open_block: tuple[str, str, int, list[str]] | None = None
    before: list[str] = []  # prose since the last block
    for number, (line, _) in enumerate(_lines(text), 1):
        fence = FENCE.match(line)
        if open_block is None:
            if fence:
                open_block = (fence["info"].strip(), fence["ticks"], number + 1, [])
            elif line.strip():
                before.append(line.strip())
            continue
        language, ticks, first, body = open_block
        if not (fence and fence["ticks"].startswith(ticks) and not fence["info"].strip()):
            body.append(line)
            continue
        block = Block(language, textwrap.dedent("\n".join(body)) + "\n", first)
        if before == ["Output:"] and language == "text" and found and found[-1].language == "python":
            found[-1] = Block("python", found[-1].text, found[-1].line, block.text)
        else:
            found.append(block)
        open_block, before = None, []
    return found
