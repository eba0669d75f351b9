"""What the cache commands read and how they print it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import typer

from chainops.cli.cache_semantic import semantic_file
from chainops.errors import ChainopsError, StoreError
from chainops.store.cache.files import FileStore

__all__ = ["entry_rows", "entry_table", "explain_lines", "forget", "opened", "refusal_table", "stats_view"]

BAR = 30


@contextmanager
def opened(directory: Path) -> Iterator[FileStore]:
    """The store in ``directory``, which must be there."""
    if not (directory / "cache.db").is_file():
        raise StoreError(
            f"There is no cache in {directory}",
            hint="Give its directory with --dir; an application with the layer 'cache' makes it.",
            code="cache.missing",
        )
    with closing(FileStore(directory)) as store:
        yield store


def forget(tag: str) -> None:
    """Forget what has ``tag`` in the cache of the settings, if there is one. A failure is only talked about."""
    from chainops.settings import load_settings

    try:
        settings = load_settings()
        with semantic_file(settings.semantic_cache.directory) as meanings:
            gone = meanings.invalidate([tag]) if meanings is not None else 0
        directory = settings.cache.directory
        if (directory / "cache.db").is_file():
            with opened(directory) as store:
                gone += store.invalidate([tag])
        if gone:
            typer.echo(f"{gone} cached answers with the tag {tag} forgotten", err=True)
    except ChainopsError as error:
        typer.echo(f"warning: cached answers were not looked at: {error}", err=True)


def entry_rows(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Entries without their answers, with their age."""
    now = time.time()
    names = ("key", "kind", "node", "ms", "tokens", "micro", "bytes", "tags")
    return [
        {
            **{name: row[name] for name in names},
            "age_s": round(now - row["created"], 1),
            "ttl_s": None if row["expires"] is None else round(row["expires"] - now, 1),
        }
        for row in found
    ]


def entry_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Entries as a table."""
    from rich.table import Table

    table = Table("key", "kind", "node", "age", "left", "took ms", "tokens", "bytes", box=None, pad_edge=False)
    for row in rows:
        left = "ever" if row["ttl_s"] is None else _seconds(row["ttl_s"])
        cells = (row["key"][:12], row["kind"], row["node"], _seconds(row["age_s"]), left)
        table.add_row(*cells, f"{row['ms']:.1f}", str(row["tokens"]), f"{row['bytes']:,}")
    return table


def refusal_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Calls that were not kept, as a table."""
    from rich.table import Table

    table = Table("when", "kind", "node", "key", "why", box=None, pad_edge=False)
    for row in rows:
        when = time.strftime("%m-%d %H:%M:%S", time.localtime(row["at"]))
        table.add_row(when, row["kind"], row["node"], row["key"][:12] or "-", row["why"])
    return table


def _seconds(value: float) -> str:
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if abs(value) >= size:
            return f"{value / size:.1f} {name}"
    return f"{value:.1f} s"


def stats_view(found: Mapping[str, Any]) -> Any:
    """The figures as a table, and a bar for each of the last hours."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("", "hit ratio", "hits", "joined", "misses", "not cacheable", "saved", "tokens", "cost", box=None)
    for name, figures in (*found["kinds"].items(), ("all", found["total"])):
        ratio = figures["hit_ratio"]
        table.add_row(
            name,
            "-" if ratio is None else f"{ratio:.1%}",
            *(f"{figures[key]:,}" for key in ("hits", "joined", "misses", "not_cacheable")),
            _seconds(figures["saved_ms"] / 1000),
            f"{figures['saved_tokens']:,}",
            f"{figures['saved_micro'] / 1e6:.4f}",
        )
    parts: list[Any] = [f"{found['entries']:,} entries, {found['bytes']:,} bytes", table]
    hours = found["hours"][-24:]
    most = max((hour["hits"] + hour["misses"] for hour in hours), default=0)
    for hour in hours:
        hits, misses = (round(hour[what] / most * BAR) for what in ("hits", "misses"))
        line = Text(time.strftime("%m-%d %H:00 ", time.localtime(hour["hour"])))
        line.append("█" * hits, style="green").append("░" * misses, style="yellow")
        parts.append(line.append(f" {hour['hits']:.0f} of {hour['hits'] + hour['misses']:.0f}"))
    return Group(*parts)


def explain_lines(found: Mapping[str, Any]) -> list[str]:
    """An explanation as text."""
    lines = [f"{found['key']}  {found['kind']} call at node {found['node']!r}"]
    if found["state"] == "cached":
        age = _seconds(time.time() - found["created"])
        left = "" if found["expires"] is None else f", for {_seconds(found['expires'] - time.time())} more"
        lines.append(f"cached: made {age} ago in {found['ms']:.1f} ms{left}")
        lines.append(f"tags: {', '.join(found['tags'])}")
    else:
        lines.append(f"not kept: {found['why']}")
    nearest = found["nearest"]
    if nearest is None:
        return [*lines, "there is no other entry of this kind"]
    lines.append(f"nearest entry: {nearest['key']}, which differs in")
    if not nearest["differs"]:
        lines.append("  nothing that is kept: a long part has the same hash")
    for part, (mine, theirs) in nearest["differs"].items():
        lines += [f"  {part}", f"    here:  {_short(mine)}", f"    there: {_short(theirs)}"]
    return lines


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:199] + "…"
