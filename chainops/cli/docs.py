"""``chainops docs``: the documentation that ships with the package, in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainops.errors import SetupError

__all__ = ["app"]

app = typer.Typer(add_completion=False)
ROOT = Path(__file__).resolve().parent.parent / "docs"


@app.command()
def docs(
    page: Annotated[str, typer.Argument(help="A page, for example howto/traces. Without one: the list.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The list, or the page's text, as JSON.")] = False,
) -> None:
    """Read the documentation offline."""
    pages = {p.relative_to(ROOT).with_suffix("").as_posix(): p for p in sorted(ROOT.rglob("*.md"))}
    if page and page not in pages:
        import difflib

        close = difflib.get_close_matches(page, pages, n=1, cutoff=0.4)
        hint = f"Did you mean {close[0]!r}?" if close else "Run `chainops docs` for the list."
        raise SetupError(f"There is no page {page!r}", hint=hint, code="setup.docs")
    if as_json:
        import orjson

        typer.echo(
            orjson.dumps({"page": page, "text": pages[page].read_text("utf-8")} if page else list(pages)).decode()
        )
    elif page:
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(pages[page].read_text("utf-8")))
    else:
        for name, path in pages.items():
            typer.echo(f"{name:<32} {_title(path)}")


def _title(path: Path) -> str:
    first = path.read_text("utf-8").lstrip().splitlines()
    return first[0].lstrip("# ") if first else ""
