"""``chainops docs``: the documentation that ships with the package, in the terminal, offline."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from chainops.errors import SetupError

__all__ = ["app"]

app = typer.Typer(add_completion=False)
ROOT = Path(__file__).resolve().parent.parent / "docs"
HITS = 20
LISTS = ("changelog", "index", "reference/generated/")
"""Pages that name everything and explain little."""


@app.command()
def docs(
    topic: Annotated[
        list[str] | None, typer.Argument(help="A page (howto/traces, or traces), or words to look for. Else the list.")
    ] = None,
    search: Annotated[
        bool, typer.Option("--search", "-s", help="Look for the words, also where a page has the name.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The page as Markdown, not rendered.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The list, the page's text, or the hits, as JSON.")] = False,
) -> None:
    """Read the documentation offline: a page, or the places where words stand."""
    pages = {p.relative_to(ROOT).with_suffix("").as_posix(): p for p in sorted(ROOT.rglob("*.md"))}
    wanted = " ".join(topic or [])
    if not wanted:
        _list(pages, as_json)
        return
    name = None if search else _page(wanted, pages)
    if name is not None:
        _show(name, pages[name].read_text("utf-8"), raw, as_json)
        return
    hits = _search(wanted.lower().split(), pages)
    if not hits:
        import difflib

        close = difflib.get_close_matches(wanted, [*pages, *(p.rpartition("/")[2] for p in pages)], n=1, cutoff=0.4)
        hint = f"Did you mean {close[0]!r}?" if close else "Run `chainops docs` for the list."
        raise SetupError(f"There is no page {wanted!r}, and no page has these words", hint=hint, code="setup.docs")
    _show_hits(hits, wanted, as_json)


def _page(wanted: str, pages: dict[str, Path]) -> str | None:
    if wanted in pages:
        return wanted
    tails = [name for name in pages if name.rpartition("/")[2] == wanted]
    return tails[0] if len(tails) == 1 else None


def _list(pages: dict[str, Path], as_json: bool) -> None:
    if as_json:
        _print_json(list(pages))
        return
    for name, path in pages.items():
        typer.echo(f"{name:<32} {_title(path)}")


def _show(name: str, text: str, raw: bool, as_json: bool) -> None:
    if as_json:
        _print_json({"page": name, "text": text})
    elif raw:
        typer.echo(text, nl=False)
    else:
        from contextlib import nullcontext

        from rich.console import Console
        from rich.markdown import Markdown

        out = Console()
        tall = out.is_terminal and sys.stdin.isatty() and text.count("\n") > out.height
        with out.pager(styles=True) if tall else nullcontext():
            out.print(Markdown(text))


def _search(words: list[str], pages: dict[str, Path]) -> list[dict[str, Any]]:
    """Sections that have all words: those with the words in their heading first, pages that list everything last."""
    found = []
    for name, path in pages.items():
        for heading, line, body in _sections(path.read_text("utf-8")):
            low, head = body.lower(), f"{heading} {name}".lower()
            if all(word in low or word in head for word in words):
                lists = name.startswith(LISTS)
                rank = (lists, -sum(word in head for word in words), -sum(low.count(word) for word in words))
                text = next((t.strip() for t in body.splitlines() if words[0] in t.lower()), "")
                found.append((rank, {"page": name, "heading": heading, "line": line, "text": text}))
    return [hit for _, hit in sorted(found, key=lambda pair: pair[0])[:HITS]]


def _sections(text: str) -> list[tuple[str, int, str]]:
    """Heading, its line (from 1) and the text below it; headings inside code blocks are none."""
    sections: list[tuple[str, int, list[str]]] = []
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        if not fenced and re.match(r"#+ ", line):
            sections.append((line.lstrip("# "), number, []))
        elif sections:
            sections[-1][2].append(line)
    return [(heading, number, "\n".join(body)) for heading, number, body in sections]


def _show_hits(hits: list[dict[str, Any]], wanted: str, as_json: bool) -> None:
    if as_json:
        _print_json(hits)
        return
    for hit in hits:
        typer.echo(f"{hit['page']}: {hit['heading']}")
        if hit["text"]:
            typer.echo(f"    {hit['text'][:110]}")
    typer.echo(f"{len(hits)} places with {wanted!r}; chainops docs PAGE shows one.", err=True)


def _title(path: Path) -> str:
    first = path.read_text("utf-8").lstrip().splitlines()
    return first[0].lstrip("# ") if first else ""


def _print_json(value: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(value).decode())
