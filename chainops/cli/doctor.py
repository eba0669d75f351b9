"""``chainops doctor``: what works here, and how to mend what does not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chainops.app.doctor import Finding

__all__ = ["app"]

app = typer.Typer(add_completion=False)
MARKS = {
    "ok": "[green]ok[/]     ",
    "absent": "[dim]-[/]      ",
    "warning": "[yellow]warning[/]",
    "broken": "[red]BROKEN[/] ",
}


@app.command()
def doctor(
    settings: Annotated[Path | None, typer.Option("--settings", help="The settings file; else chainops.toml.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what works here, and how to mend what does not. Exit code 1 when something is broken.

    Changes nothing. What is optional and not there is no fault.
    """
    from chainops.app.doctor import examine
    from chainops.cli.trace_io import print_json

    if as_json:
        findings = list(examine(settings))
        rows = [{key: getattr(f, key) for key in ("group", "name", "state", "detail", "fix")} for f in findings]
        print_json({"ok": not _broken(findings), "findings": rows})
    else:
        findings = _shown(settings)
    if _broken(findings):
        raise typer.Exit(1)


def _shown(settings: Path | None) -> list[Finding]:
    from rich.console import Console
    from rich.markup import escape

    from chainops.app.doctor import examine

    out, group, found = Console(highlight=False, soft_wrap=True), "", []
    for finding in examine(settings):
        found.append(finding)
        if finding.group != group:
            group = finding.group
            out.print(f"[bold]{group}[/]")
        out.print(f"  {MARKS[finding.state]}  {escape(finding.name)}: {escape(finding.detail)}")
        if finding.fix and finding.state != "ok":
            out.print(f"           [dim]→ {escape(finding.fix)}[/]")
    broken = len(_broken(found))
    out.print(f"\n{broken} of {len(found)} broken" if broken else f"\nAll {len(found)} fine or optional")
    return found


def _broken(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.state == "broken"]
