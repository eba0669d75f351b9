"""``chainops bundle``: signed updates for sites without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from chainops.cli.options import DEFAULT_DB, Json, Who
from chainops.cli.trace_io import print_json

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Signed updates: keys, create, verify, apply, rollback, log."
)

Db = Annotated[Path, typer.Option("--db", envvar="CHAINOPS_TRACE__PATH", help="The file with prompts and models.")]
Data = Annotated[Path, typer.Option("--data", help="The data directory; else the working directory.")]
Trust = Annotated[
    list[Path] | None, typer.Option("--trust", help="A public key; else those in trusted/ of the data directory.")
]
File = Annotated[Path, typer.Argument(help="The bundle.")]


@app.command()
def keys(
    private: Annotated[Path, typer.Argument(help="Where the private key goes; it stays with who signs.")],
    public: Annotated[Path, typer.Argument(help="Where the public key goes; sites put it into trusted/.")],
) -> None:
    """Make a pair of keys."""
    from chainops.ops.signing import make_keys

    typer.echo(f"{public}: key {make_keys(private, public)}")


@app.command()
def create(
    folder: Annotated[Path, typer.Argument(help="Holds prompts/, models/, adapters/, rails/, settings/ or files/.")],
    target: Annotated[Path, typer.Argument(help="The file to write.")],
    key: Annotated[Path, typer.Option("--key", help="The private key.")],
    name: Annotated[str, typer.Option("--name", help="What it is called.")],
    version: Annotated[str, typer.Option("--version", help="Its version.")],
    label: Annotated[
        str, typer.Option("--label", help="The label of prompts that shall point to its versions.")
    ] = "prod",
    message: Annotated[str, typer.Option("--message", "-m", help="What changes.")] = "",
    as_json: Json = False,
) -> None:
    """Put a folder into one signed file."""
    from chainops.ops.bundle import create as make

    _say(make(folder, target, key, name=name, version=version, label=label, message=message), "created", as_json)


@app.command()
def verify(file: File, trust: Trust = None, data: Data = Path(), as_json: Json = False) -> None:
    """Check the signature and every hash; change nothing. Exit code 1 when it is not right."""
    from chainops.errors import SetupError
    from chainops.ops.bundle import open_bundle

    try:
        bundle = open_bundle(file, _trusted(trust, data))
    except SetupError as error:
        if error.code not in ("setup.bundle", "setup.bundle_signature"):
            raise
        typer.echo(str(error))
        raise typer.Exit(1) from None
    _say(bundle, "right", as_json)


@app.command()
def apply(
    file: File,
    trust: Trust = None,
    data: Data = Path(),
    db: Db = DEFAULT_DB,
    older: Annotated[bool, typer.Option("--older", help="Also one made before the one in force.")] = False,
    author: Who = None,
    as_json: Json = False,
) -> None:
    """Check a bundle as a whole, then put it into force: all of it, or nothing."""
    bundle = _site(data, db, author).apply(file, _trusted(trust, data), older=older)
    _say(bundle, "applied", as_json)


@app.command()
def rollback(data: Data = Path(), db: Db = DEFAULT_DB, author: Who = None, as_json: Json = False) -> None:
    """Go back to what was in force before the last bundle."""
    left, now = _site(data, db, author).rollback()
    if as_json:
        print_json({"left": left, "current": now})
    else:
        typer.echo(f"left {left}; in force: {now or 'no bundle'}")


@app.command("log")
def show_log(data: Data = Path(), as_json: Json = False) -> None:
    """What was applied and rolled back, when and by whom. The journal is checked on the way."""
    from datetime import datetime

    site = _site(data, DEFAULT_DB, "")
    records = site.journal()
    if as_json:
        print_json({"current": site.current(), "records": records})
        return
    for each in records:
        when = datetime.fromtimestamp(each["at_ns"] / 1e9).isoformat(" ", "seconds")
        typer.echo(f"{when}  {each['did']:<11}  {each['bundle']}  {each['who']}")
    typer.echo(f"in force: {site.current() or 'no bundle'}", err=True)


def _site(data: Path, db: Path, author: str | None) -> Any:
    from chainops.cli.prompt_io import user
    from chainops.ops.site import Site

    return Site(data, db, user(author))


def _trusted(trust: list[Path] | None, data: Path) -> list[Path]:
    from chainops.errors import SetupError
    from chainops.ops.site import Site

    found = trust or Site(data, DEFAULT_DB, "").trusted()
    if not found:
        raise SetupError(
            f"No key is trusted here: {data / 'trusted'} holds no .pem file",
            hint="Put the public key of who signs there, or give it with --trust.",
            code="setup.bundle_key",
        )
    return found


def _say(bundle: Any, what: str, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json(asdict(bundle))
        return
    for each in bundle.files:
        typer.echo(f"{each.path}  {each.bytes:,} bytes  {each.sha256[:12]}")
    typer.echo(
        f"{bundle.name} {bundle.version}: {what}, {len(bundle.files)} files, signed by key {bundle.key}", err=True
    )
