"""``chainops pii``: look for personal data, measure the search, erase what is kept of somebody."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainops.cli.options import Json
from chainops.cli.trace_io import print_json
from chainops.errors import SetupError

if TYPE_CHECKING:
    from chainops.middleware.pii.evaluate import Score

app = typer.Typer(no_args_is_help=True, help="Personal data: scan, test, erase, purge, key.")

Kinds = Annotated[list[str] | None, typer.Option("--kind", help="A kind to look for; may be repeated. Else all.")]
Vault = Annotated[
    Path, typer.Option("--vault", envvar="CHAINOPS_PII__VAULT", help="The encrypted file; else that of the settings.")
]
DEFAULT_VAULT = Path("chainops-vault.db")


@app.command()
def scan(
    text: Annotated[str, typer.Argument(help="The text, or - for standard input.")],
    kinds: Kinds = None,
    redact: Annotated[bool, typer.Option("--redact", help="Print the text with kinds in place of values.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 where something was found.")] = False,
    as_json: Json = False,
) -> None:
    """Say where personal data and secrets stand in a text."""
    from chainops.middleware.pii import PatternDetector, Scanner

    if text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    found = Scanner([PatternDetector(kinds)]).find(text)
    if redact:
        out, done = "", 0
        for finding in found:
            out, done = out + text[done : finding.start] + f"<{finding.kind}>", finding.end
        out += text[done:]
        if as_json:
            print_json({"text": out, "found": len(found)})
        else:
            typer.echo(out, nl=not out.endswith("\n"))
    elif as_json:
        print_json([{**f._asdict(), "value": text[f.start : f.end]} for f in found])
    else:
        for finding in found:
            place = f"{finding.start}:{finding.end}"
            typer.echo(f"{place:>12}  {finding.kind:<14} {finding.score:.2f}  {text[finding.start : finding.end]}")
        typer.echo(f"{len(found)} found", err=True)
    if check and found:
        raise typer.Exit(1)


@app.command()
def test(
    file: Annotated[Path, typer.Argument(help="Labelled texts, JSON Lines.")],
    kinds: Kinds = None,
    least: Annotated[
        float | None, typer.Option("--check", min=0, max=1, help="Exit with 1 where recall or precision is lower.")
    ] = None,
    misses: Annotated[
        bool, typer.Option("--misses", help="Also print what was missed, and what was found wrongly.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure recall and precision on labelled texts, with 95 % intervals."""
    from chainops.middleware.pii import PatternDetector, Scanner
    from chainops.middleware.pii.evaluate import evaluate, mistakes, read_labelled

    texts = read_labelled(file)
    scanner = Scanner([PatternDetector(kinds)])
    scores = evaluate(scanner, texts, kinds)
    wrong = list(mistakes(scanner, texts, kinds)) if misses else []
    if as_json:
        rows: dict[str, Any] = {"texts": len(texts), "kinds": [score.as_dict() for score in scores]}
        print_json({**rows, "mistakes": wrong} if misses else rows)
    else:
        from rich.console import Console

        Console().print(_table(scores))
        for mistake in wrong:
            typer.echo(f"{mistake['what']:<6} {mistake['kind']:<14} {mistake['value']!r} in {mistake['text']!r}")
        typer.echo(f"{len(texts)} texts", err=True)
    figures = [figure for figure in (scores[-1].recall, scores[-1].precision) if figure is not None]
    if least is not None and (not figures or min(figures) < least):
        raise typer.Exit(1)


def _table(scores: list[Score]) -> Any:
    from rich.table import Table

    from chainops.middleware.pii.evaluate import wilson

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for head in ("kind", "values", "found", "wrong", "recall", "95 %", "precision", "95 %"):
        table.add_column(head, no_wrap=True)
    for score in scores:
        cells = []
        for share, interval in (
            (score.recall, wilson(score.found, score.there)),
            (score.precision, wilson(score.found, score.found + score.wrong)),
        ):
            cells.append("-" if share is None else f"{share:.3f}")
            cells.append("-" if interval is None else f"{interval[0]:.3f}-{interval[1]:.3f}")
        table.add_row(score.kind, str(score.there), str(score.found), str(score.wrong), *cells)
    return table


@app.command()
def erase(
    subject: Annotated[str, typer.Option("--subject", help="The user, or the thread of a run without user.")],
    tenant: Annotated[str, typer.Option("--tenant", help="The tenant, where runs name one.")] = "",
    vault: Vault = DEFAULT_VAULT,
    as_json: Json = False,
) -> None:
    """Forget all values of one subject, in all its threads; they can never be restored."""
    count = _opened(vault).erase(subject, tenant)
    if as_json:
        print_json({"erased": count})
    else:
        typer.echo(f"{count} values erased")


@app.command()
def purge(vault: Vault = DEFAULT_VAULT, as_json: Json = False) -> None:
    """Remove the values that have expired."""
    count = _opened(vault).purge()
    if as_json:
        print_json({"purged": count})
    else:
        typer.echo(f"{count} expired values removed")


@app.command()
def key() -> None:
    """Print a fresh key for a vault. Keep it where you keep secrets: without it nothing can be restored."""
    from chainops.store.vault import new_key

    typer.echo(new_key())


def _opened(path: Path) -> Any:
    from chainops.errors import StoreError
    from chainops.settings import load_settings
    from chainops.store.vault import Keys, Vault

    settings = load_settings().pii
    place = settings.vault if path == DEFAULT_VAULT else path
    if not place.is_file():
        raise StoreError(f"There is no vault at {place}", hint="Give it with --vault.", code="store.no_vault")
    if settings.key is None:
        raise SetupError(
            f"The vault {place} needs its key",
            hint="Set CHAINOPS_PII__KEY to the key of the vault.",
            code="setup.pii_key",
        )
    return Vault(place, Keys(settings.key.get_secret_value()), ttl_s=settings.ttl_s)
