"""What the trace commands write: to stdout, to files, to collectors; and what they say meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer

__all__ = ["otlp_target", "output_file", "picture", "print_json", "print_rich", "progress", "size_in_bytes"]


@contextmanager
def output_file(name: str) -> Iterator[Any]:
    """stdout for "-", else a file that appears under its name only when it is whole."""
    import sys

    from chainops.errors import SetupError

    if name == "-":
        yield sys.stdout
        return
    wanted = Path(name)
    part = wanted.with_name(wanted.name + ".part")
    try:
        with part.open("w", encoding="utf-8") as out:
            yield out
        part.replace(wanted)
    except OSError as error:
        raise SetupError(
            f"Cannot write {wanted}: {error.strerror}", hint="Give a path in a folder that exists.", code="setup.output"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def otlp_target(target: str, headers: list[str]) -> Iterator[Callable[[bytes], int]]:
    """A ``send`` for ``store.export.export_otlp``: to a collector, or to a file with one request per line."""
    from chainops.errors import SetupError
    from chainops.store.export import post_otlp

    if "://" in target:
        pairs = [header.partition(":") for header in headers]
        if bad := [header for header, (name, colon, _) in zip(headers, pairs, strict=True) if not (name and colon)]:
            raise SetupError(f"--header {bad[0]!r} has no colon", hint='Write "name: value".', code="setup.header")
        yield post_otlp(target, headers={name.strip(): value.strip() for name, _, value in pairs})
        return
    with output_file(target) as out:

        def send(body: bytes) -> int:
            out.write(body.decode() + "\n")
            return 0

        yield send


def size_in_bytes(text: str) -> int:
    """ "500M" as a number; K, M and G are powers of 1024."""
    from chainops.errors import SetupError

    units = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
    number = text.upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:] in ("K", "M", "G") else ""
    try:
        return int(float(number.removesuffix(unit)) * units[unit])
    except ValueError:
        raise SetupError(f"--bytes {text!r} is no size", hint="For example 500M or 2G.", code="setup.size") from None


@contextmanager
def progress(what: str) -> Iterator[Callable[..., None]]:
    """A line on stderr, on a terminal only, once it has taken a second."""
    import time

    from rich.console import Console

    console = Console(stderr=True)
    started = time.monotonic()
    with console.status(what) as status:
        if not console.is_terminal:
            status.stop()

        def step(done: int, total: int | None = None) -> None:
            if time.monotonic() - started > 1:
                status.update(f"{what}: {done}" + ("" if total is None else f" of {total}"))

        yield step


def print_rich(renderable: Any) -> None:
    """To the terminal's width; wide, where the reader is a file or another program."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 240
    console.print(renderable)


def picture(renderable: Any, title: str) -> str:
    """An SVG of what a terminal would show. It asks no server for a font."""
    import io
    import re

    from rich.console import Console

    wide = Console(record=True, width=240, file=io.StringIO(), force_terminal=True)
    wide.print(renderable)
    width = max(len(line.rstrip()) for line in wide.export_text().splitlines())
    console = Console(record=True, width=width + 1, file=io.StringIO(), force_terminal=True)
    console.print(renderable)
    svg = console.export_svg(title=title, unique_id="chainops-trace")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def print_json(value: Any) -> None:
    """One line of JSON on stdout."""
    import orjson

    typer.echo(orjson.dumps(value, None, orjson.OPT_NON_STR_KEYS).decode())
