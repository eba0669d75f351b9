"""Labels that mean several versions, each for its share of users or threads."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from chainops.cli.options import DEFAULT_DB, Json, PromptsDb, Who
from chainops.cli.trace_io import print_json

__all__ = ["kill", "split"]


class Unit(StrEnum):
    """What is assigned to a version."""

    user = "user"
    thread = "thread"


def split(
    name: Annotated[str, typer.Argument(help="The prompt.")],
    label: Annotated[str, typer.Argument(help="The label that shall mean several versions.")],
    arms: Annotated[list[str], typer.Argument(help="VERSION=WEIGHT, for example 3=90 4=10.")],
    db: PromptsDb = DEFAULT_DB,
    by: Annotated[Unit, typer.Option("--by", help="What is assigned.")] = Unit.user,
    salt: Annotated[str, typer.Option("--salt", help="Another text assigns everybody anew.")] = "",
    shadow: Annotated[bool, typer.Option("--shadow", help="The others answer unseen, and are stored.")] = False,
    why: Annotated[str, typer.Option("--why", help="The reason, kept with it.")] = "",
    author: Who = None,
    as_json: Json = False,
) -> None:
    """Let a label mean several versions, each for its share of users or threads, always the same for the same one."""
    from chainops.cli.prompt_io import look, user
    from chainops.middleware.prompts.splits import start

    look(db)
    raw = {"arms": [_arm(text) for text in arms], "unit": by.value, "salt": salt, "shadow": shadow}
    made, version = start(db, name, label, raw, who=user(author), why=why)
    if as_json:
        print_json({"name": version.name, "version": version.version, **made.model_dump(mode="json")})
        return
    total = sum(arm.weight for arm in made.arms)
    shares = ", ".join(f"version {arm.version} for {arm.weight / total:.1%}" for arm in made.arms)
    typer.echo(f"{name}: {label} means {shares} of {by.value}s{' (unseen)' if shadow else ''}")


def kill(
    name: Annotated[str, typer.Argument(help="The prompt.")],
    label: Annotated[str, typer.Argument(help="The label that shall mean one version again.")],
    why: Annotated[str, typer.Option("--why", help="The reason, kept with it.")],
    db: PromptsDb = DEFAULT_DB,
    author: Who = None,
    as_json: Json = False,
) -> None:
    """End the split of a label at once: everybody gets the version that it points to."""
    from chainops.cli.prompt_io import look, user
    from chainops.middleware.prompts.splits import kill as end

    view = look(db)
    end(db, name, label, who=user(author), why=why)
    version = view.resolve(name, label).version
    if as_json:
        print_json({"name": name, "label": label, "version": version})
    else:
        typer.echo(f"{name}: {label} means version {version} for everybody")


def _arm(text: str) -> dict[str, object]:
    from chainops.errors import SetupError

    version, equals, weight = text.removeprefix("v").partition("=")
    try:
        return {"version": int(version), "weight": float(weight if equals else "x")}
    except ValueError:
        raise SetupError(
            f"{text!r} is no version with its weight", hint="Write VERSION=WEIGHT: 3=90 4=10.", code="setup.split"
        ) from None
