"""``chainops compress``: what compression leaves of a file, and why; and how well it keeps answers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainops.cli.trace_io import print_json
from chainops.errors import SetupError

if TYPE_CHECKING:
    from chainops.embedding import Embedder
    from chainops.middleware.compress.text import ShortText

app = typer.Typer(add_completion=False)

STRATEGIES = ("lossless", "balanced", "aggressive")


@app.command()
def compress(
    file: Annotated[str, typer.Argument(help="A text; `-`: standard input; `bench`: the benchmark.")],
    budget: Annotated[str, typer.Option("--budget", help="Tokens, or a share such as 20%.")] = "50%",
    query: Annotated[str, typer.Option("--query", help="What the text is for.")] = "",
    strategy: Annotated[str, typer.Option("--strategy", help="lossless, balanced or aggressive.")] = "balanced",
    model: Annotated[str, typer.Option("--model", help="A GGUF file, or a name as gpt-4o: who counts tokens.")] = "",
    meaning: Annotated[bool, typer.Option("--meaning/--words", help="Also compare by meaning (the embedder).")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show side by side what was kept, dropped, and why.")
    ] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write the explanation to this file.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Of bench: questions (JSON lines); else made ones.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Of bench: at most so many questions.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a text shorter and print it; with `bench` in place of a file, measure whether answers survive."""
    count, name = counter(model)
    if file == "bench" and not Path(file).exists():
        _bench(count, name, data, limit, _embedder(meaning), as_json)
        return
    if strategy not in STRATEGIES:
        raise SetupError(
            f"There is no strategy {strategy!r}", hint=f"One of {', '.join(STRATEGIES)}.", code="setup.compress"
        )
    text = _read(file)
    allowed = tokens_of(budget, count(text))
    from chainops.middleware.compress.text import compress_text

    embedder = _embedder(meaning)
    short = asyncio.run(
        compress_text(text, allowed, count=count, query=query, strategy=strategy, embedder=embedder)  # type: ignore[arg-type]
    )
    if html is not None:
        from chainops.cli.compress_view import page

        html.write_text(page(short, query, allowed, name), encoding="utf-8")
    _print(short, explain, as_json)
    percent = f"{short.after / short.before:.0%}" if short.before else "-"
    stages = ", ".join(f"{ran.stage} {ran.before} → {ran.after}" for ran in short.stages)
    typer.echo(f"{short.before} → {short.after} tokens ({percent}) by {name}{': ' if stages else ''}{stages}", err=True)
    if short.after > allowed:
        typer.echo(f"more than the {allowed} allowed: {strategy} leaves nothing out", err=True)


def counter(model: str) -> tuple[Callable[[str], int], str]:
    """Counts tokens, and the name of who does: the vocabulary of a file, or the table that fits a name."""
    if model.endswith(".gguf"):
        from chainops.engines.llama.vocabulary import vocabulary

        found = vocabulary(model)
        return found.count, found.name
    from chainops.middleware.compress.counting import Counts, TableCounter
    from chainops.middleware.compress.token_tables import table_for

    table = TableCounter(table_for(model or "gpt-4o"))
    return Counts(table).text, f"{table.name}, up to {table.error:.0%} too few"


def tokens_of(budget: str, whole: int) -> int:
    """Tokens from ``"300"`` or ``"20%"`` of ``whole``."""
    number, percent = budget.removesuffix("%"), budget.endswith("%")
    try:
        found = int(whole * float(number) / 100) if percent else int(number)
    except ValueError:
        found = 0
    if found <= 0:
        raise SetupError(f"--budget {budget} is no number of tokens", hint="Write 300, or 20%.", code="setup.compress")
    return found


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise SetupError(f"Cannot read {file}: {why}", hint="Give a text file.", code="setup.compress") from None


def _embedder(wanted: bool) -> Embedder | None:
    if not wanted:
        return None
    from chainops.engines.embeddings import embedder

    return embedder()


def _print(short: ShortText, explain: bool, as_json: bool) -> None:
    if as_json:
        row: dict[str, Any] = {"text": short.text, "tokens_before": short.before, "tokens_after": short.after}
        row["stages"] = [asdict(ran) for ran in short.stages]
        if explain:
            row["pieces"] = [asdict(piece) for piece in short.extract.pieces] if short.extract else []
        print_json(row)
    elif explain:
        from chainops.cli.compress_view import show

        show(short)
    else:
        typer.echo(short.text)


def _bench(
    count: Callable[[str], int], name: str, data: Path | None, limit: int, embedder: Embedder | None, as_json: bool
) -> None:
    from chainops.middleware.compress.bench.measure import lines, measure
    from chainops.middleware.compress.bench.methods import methods
    from chainops.middleware.compress.bench.questions import made, read

    questions = made(limit) if data is None else read(data, limit)
    if not questions:
        raise SetupError(f"{data} has no questions", hint="One JSON object per line.", code="setup.compress")
    typer.echo(f"{len(questions)} questions; tokens by {name}", err=True)
    rows = asyncio.run(measure(questions, methods(embedder), (0.5, 0.2, 0.1, 0.05), count))
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    for line in lines(rows):
        typer.echo(line)
