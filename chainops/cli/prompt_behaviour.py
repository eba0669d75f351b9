"""What a change of a prompt changes in the answers: both versions on the prompt's own tests, side by side."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import typer

from chainops.cli.asking import outcomes_of
from chainops.cli.prompt_io import compiled
from chainops.errors import ChainopsError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from chainops.middleware.prompts.content import PromptTest
    from chainops.middleware.prompts.trial import Outcome
    from chainops.store.registry import View

__all__ = ["behaviour", "behaviour_lines", "behaviour_table"]


def behaviour(view: View, name: str, old: int, new: int, model: str | None) -> list[dict[str, Any]]:
    """One row per test: what was answered to either version, how it scored, how alike the answers are (0 to 1).

    The tests are the new version's, then those that only the old one has. Where no model can be asked, there are no
    rows, and stderr says why.
    """
    before, after = compiled(view, f"{name}@{old}"), compiled(view, f"{name}@{new}")
    tests: dict[str, PromptTest] = {test.name: test for test in [*before.content.tests, *after.content.tests]}
    if not tests:
        typer.echo(f"behaviour not compared: {name} has no tests", err=True)
        return []
    try:
        outcomes = outcomes_of([before, after], model, tests=lambda prompt: list(tests.values()), every=True)
    except ChainopsError as error:
        typer.echo(f"behaviour not compared: {error}", err=True)
        return []
    return [
        {"test": was.name, "old": _side(was), "new": _side(now), "alike": _alike(was, now)}
        for was, now in zip(*outcomes, strict=True)
    ]


def _side(outcome: Outcome) -> dict[str, Any]:
    return {"answer": outcome.answer, "score": round(outcome.score, 3), "problems": list(outcome.problems)}


def _alike(was: Outcome, now: Outcome) -> float | None:
    if was.answer is None or now.answer is None:
        return None
    return round(difflib.SequenceMatcher(None, was.answer, now.answer, autojunk=False).ratio(), 3)


def behaviour_lines(rows: list[dict[str, Any]], old: str, new: str) -> list[str]:
    """The rows as plain text."""
    lines = []
    for row in rows:
        lines += ["", f"test: {row['test']}"]
        for title, side in ((old, row["old"]), (new, row["new"])):
            lines.append(f"  {title} scores {side['score']:g}: {_answer(side)}")
            lines += [f"    {problem}" for problem in side["problems"]]
    return lines


def behaviour_table(rows: list[dict[str, Any]], old: str, new: str) -> RenderableType:
    """The rows in two columns; a lower score is red, a higher one green."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, expand=True, title="what the model answers", title_justify="left")
    table.add_column("test", ratio=1)
    table.add_column(f"to {old}", ratio=2)
    table.add_column(f"to {new}", ratio=2)
    for row in rows:
        was, now = row["old"]["score"], row["new"]["score"]
        style = "red" if now < was else "green" if now > was else ""
        cells = [
            Text("\n".join([f"{side['score']:g}  {_answer(side)}", *side["problems"]]), style=color)
            for side, color in ((row["old"], ""), (row["new"], style))
        ]
        table.add_row(Text(row["test"]), *cells)
    return table


def _answer(side: dict[str, Any]) -> str:
    return "no answer" if side["answer"] is None else repr(side["answer"])
