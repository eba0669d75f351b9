"""What compression did, side by side: in the terminal, and as a page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chainops.middleware.compress.extract import Piece
    from chainops.middleware.compress.text import ShortText

__all__ = ["page", "show"]


def pieces_of(short: ShortText) -> list[Piece]:
    """What became of each piece; where nothing was extracted, the whole text is one."""
    from chainops.middleware.compress.extract import Piece

    if short.extract is not None:
        return short.extract.pieces
    return [Piece(short.text, short.text, "fits", 0.0)]


def show(short: ShortText) -> None:
    """As a table: the text, what is left of it, and why."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("text", "left", "why", "score", show_lines=False, expand=True, row_styles=["", "on grey7"])
    table.columns[0].ratio = table.columns[1].ratio = 5
    for piece in pieces_of(short):
        style = "green" if piece.shown == piece.text else "yellow" if piece.shown else "red"
        before = Text(piece.text.strip(), style="" if piece.shown else "strike dim")
        table.add_row(
            before, Text(piece.shown.strip(), style=style), Text(piece.why, style=style), f"{piece.score:.2f}"
        )
    Console().print(table)


_STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.4rem;text-align:left;
vertical-align:top;white-space:pre-wrap}.kept{background:#e6f4e6}.clipped{background:#fff3d6}.dropped td:first-child
{color:#777;text-decoration:line-through}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}
.kept{background:#173317}.clipped{background:#3a2f10}td,th{border-color:#444}}"""


def page(short: ShortText, query: str, budget: int, counted_by: str) -> str:
    """A page of its own, without scripts, that shows the same."""
    rows = []
    for piece in pieces_of(short):
        kind = "kept" if piece.shown == piece.text else "clipped" if piece.shown else "dropped"
        cells = (piece.text.strip(), piece.shown.strip(), piece.why, f"{piece.score:.2f}")
        rows.append(f'<tr class="{kind}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    stages = "".join(
        f"<tr><td>{escape(ran.stage)}</td><td>{ran.before}</td><td>{ran.after}</td><td>{ran.ms:.1f}</td></tr>"
        for ran in short.stages
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Compression</title>'
        f"<style>{_STYLE}</style></head><body><h1>{short.before} → {short.after} tokens</h1>"
        f"<p>Allowed: {budget}. Counted by {escape(counted_by)}. Asked: {escape(query) or 'nothing'}.</p>"
        "<table><thead><tr><th>stage</th><th>before</th><th>after</th><th>ms</th></tr></thead>"
        f"<tbody>{stages}</tbody></table><h2>Sentence by sentence</h2>"
        "<table><thead><tr><th>text</th><th>left</th><th>why</th><th>score</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></body></html>\n"
    )
