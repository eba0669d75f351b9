"""``chainops cost prices``: price books."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from chainops.cli.options import DEFAULT_DB, Json, Who
from chainops.cli.trace_io import print_json, print_rich

app = typer.Typer(no_args_is_help=True, help="Price books: list, show, import, add.")

Db = Annotated[Path, typer.Option("--db", envvar="CHAINOPS_TRACE__PATH", help="The file with the price books.")]


@app.command("list")
def list_books(
    glob: Annotated[str, typer.Argument(help="Models with such names; without one: the books.")] = "",
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """The price books; or the models in them whose names fit a glob."""
    from chainops.cli.cost_prices_io import book_rows, book_table, model_rows, model_table

    rows = model_rows(db, glob) if glob else book_rows(db)
    if as_json:
        print_json(rows)
    elif rows:
        print_rich(model_table(rows) if glob else book_table(rows))
    else:
        hint = "No model fits." if glob else "There is no price book yet. hint: chainops cost prices import"
        typer.echo(hint, err=True)


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="A name of a model, as it stands in traces.")],
    db: Db = DEFAULT_DB,
    provider: Annotated[str | None, typer.Option(help="Who sells it; else whoever's models have such names.")] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="DATE", help="At another time than now.")] = None,
    as_json: Json = False,
) -> None:
    """What a model costs, by which book, and since when. Exit code 1 where no book knows it."""
    from chainops.cli.cost_prices_io import price_lines, price_of, price_row

    price = price_of(db, model, provider, at)
    if price is None:
        typer.echo(f"No price book knows {model!r}. hint: chainops cost prices add {model} --input ...", err=True)
        raise typer.Exit(1)
    print_json(price_row(price)) if as_json else typer.echo("\n".join(price_lines(price)))


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="genai-prices, or a file: .toml or .json.")] = "genai-prices",
    db: Db = DEFAULT_DB,
    book: Annotated[str | None, typer.Option("--book", help="The book; else own, or genai-prices.")] = None,
    author: Who = None,
    as_json: Json = False,
) -> None:
    """A whole price book as a new version: the snapshot in the installed genai-prices, or a file of yours."""
    from chainops.cli.prompt_io import user
    from chainops.store.prices import OWN, SNAPSHOT, import_book, read_book, snapshot

    packaged = source == SNAPSHOT
    content = snapshot() if packaged else read_book(Path(source))
    version, new = import_book(db, book or (SNAPSHOT if packaged else OWN), content, author=user(author))
    if as_json:
        print_json({"book": version.name, "version": version.version, "models": len(content["models"]), "new": new})
    else:
        said = f"{len(content['models'])} models" if new else "says nothing new"
        typer.echo(f"{version.name}@{version.version}: {said}")


@app.command()
def add(
    model: Annotated[str, typer.Argument(help="The name of the model, deployment or alias.")],
    source: Annotated[str, typer.Option("--source", help="Who says so: a contract, a page, a bill.")],
    db: Db = DEFAULT_DB,
    input_: Annotated[str | None, typer.Option("--input", help="Per million tokens read.")] = None,
    output: Annotated[str | None, typer.Option("--output", help="Per million tokens written.")] = None,
    cached_input: Annotated[str | None, typer.Option(help="Per million tokens read from the cache.")] = None,
    cache_write: Annotated[str | None, typer.Option(help="Per million tokens written into the cache.")] = None,
    reasoning: Annotated[str | None, typer.Option(help="Per million tokens of reasoning.")] = None,
    hour: Annotated[str | None, typer.Option(help="Per hour of work of the machine.")] = None,
    second: Annotated[str | None, typer.Option(help="Per second of work of the machine.")] = None,
    kwh: Annotated[str | None, typer.Option(help="Per kWh, with --watts.")] = None,
    watts: Annotated[int | None, typer.Option(min=1, help="What the machine draws while it works.")] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="So many calls share the machine.")] = None,
    thousand_calls: Annotated[str | None, typer.Option(help="Per 1,000 calls.")] = None,
    currency: Annotated[str, typer.Option(help="Of the amounts.")] = "USD",
    since: Annotated[str | None, typer.Option("--from", metavar="DATE", help="From when; else it always held.")] = None,
    provider: Annotated[str, typer.Option(help="Who sells it; nothing for a model of your own.")] = "",
    book: Annotated[str, typer.Option("--book", help="The book.")] = "own",
    author: Who = None,
    as_json: Json = False,
) -> None:
    """A price of your own: a new version of the book, with this price beside what it had."""
    from chainops.cli.prompt_io import user
    from chainops.costing.money import check_currency
    from chainops.store.prices import add_price, entry_of

    given: dict[str, Any] = {
        **{"input": input_, "output": output, "cached_input": cached_input, "cache_write": cache_write},
        **{"reasoning": reasoning, "hour": hour, "second": second, "kwh": kwh, "watts": watts, "slots": slots},
        **{"thousand_calls": thousand_calls, "from": since},
    }
    given = {key: value for key, value in given.items() if value is not None}
    entry = entry_of(model, provider=provider, source=source, **given)
    made = add_price(db, book, entry, currency=check_currency(currency), source=source, author=user(author))
    if as_json:
        print_json({"book": made.name, "version": made.version, "model": model})
    else:
        typer.echo(f"{made.name}@{made.version}: {model}")
