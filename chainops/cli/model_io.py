"""What the model commands read and how they print it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainops.engines.llama.registered import KIND, Verdict
from chainops.errors import StoreError
from chainops.store.artifacts import ArtifactVersion
from chainops.store.registry import Registry, View

if TYPE_CHECKING:
    from chainops.engines.llama.fit import Fit

__all__ = [
    "detail_lines",
    "fit_table",
    "hashing",
    "human_size",
    "look",
    "model_rows",
    "model_table",
    "verdict_line",
    "version_line",
    "version_row",
]

CHUNK = 1 << 22


def look(db: Path) -> View:
    """The models in a file that exists."""
    try:
        return Registry(db, KIND).look()
    except StoreError as error:
        if error.code in ("store.missing", "store.empty"):
            raise StoreError(
                error.message, hint="chainops model add NAME FILE makes it; or give --db PATH.", code=error.code
            ) from None
        raise


@contextmanager
def hashing() -> Iterator[Callable[[Sequence[Path]], str]]:
    """SHA-256 of the parts of a model, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("hashing {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:

        def hashed(parts: Sequence[Path]) -> str:
            digest = hashlib.sha256()
            task = bar.add_task(parts[0].name, total=sum(part.stat().st_size for part in parts))
            for part in parts:
                with part.open("rb") as file:
                    while chunk := file.read(CHUNK):
                        digest.update(chunk)
                        bar.advance(task, len(chunk))
            return digest.hexdigest()

        yield hashed


def human_size(count: float) -> str:
    """Bytes for people, in powers of 1024."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def version_row(version: ArtifactVersion) -> dict[str, Any]:
    """A version with its content, as one object."""
    made = {"author": version.author, "message": version.message, "created_ns": version.created_ns}
    content = version.value()
    there = Path(content["path"]).is_file()
    return {"name": version.name, "version": version.version, **made, "there": there, **content}


def version_line(version: ArtifactVersion) -> str:
    """A version in one line."""
    content = version.value()
    what = content.get("quantisation") or f"adapter of rank {content['rank']}"
    size = human_size(content["bytes"])
    return f"{version.name}@{version.version}  {content['architecture']} {what}, {size}, {content['sha256'][:12]}"


def model_rows(view: View) -> list[dict[str, Any]]:
    """The newest version of each name that is in use."""
    rows = []
    for name, entry in sorted(view.entries.items()):
        if entry.latest is not None:
            rows.append({**version_row(entry.versions[entry.latest]), "labels": dict(entry.labels), "name": name})
    return rows


def model_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The rows as a table."""
    from rich.table import Table

    table = Table("name", "version", "type", "architecture", "quantisation", "parameters", "size", "context", box=None)
    for column in ("licence", "sha256", "file"):
        table.add_column(column)
    for row in rows:
        size, there = human_size(row["bytes"]), "there" if row["there"] else "MISSING"
        shape = (row["type"], row["architecture"], row.get("quantisation", f"rank {row.get('rank')}"))
        tail = (str(row.get("context", "-")), row["licence"] or "not named", row["sha256"][:12], there)
        table.add_row(row["name"], str(row["version"]), *shape, f"{row['parameters']:,}", size, *tail)
    return table


def detail_lines(row: Mapping[str, Any]) -> list[str]:
    """One line for each thing that is known."""
    shown = {**row, "bytes": f"{row['bytes']:,} ({human_size(row['bytes'])})", "parameters": f"{row['parameters']:,}"}
    shown["created"] = datetime.fromtimestamp(row["created_ns"] / 1e9).isoformat(" ", "seconds")
    del shown["created_ns"]
    width = max(map(len, shown))
    return [f"{key:<{width}}  {value if value != '' else '-'}" for key, value in shown.items()]


def verdict_line(verdict: Verdict) -> str:
    """A verdict in one line."""
    ends = {
        "ok": "ok",
        "missing": f"MISSING: {verdict.path}",
        "changed": f"CHANGED: {verdict.path} has {verdict.found[:12] or 'no readable header'}",
    }
    return f"{verdict.name}@{verdict.version}  {verdict.sha256[:12]}  {ends[verdict.state]}"


def fit_table(found: Fit) -> Any:
    """What is needed, what there is, and what to expect."""
    from rich.table import Table

    def size(count: int | None) -> str:
        return "not known" if count is None else human_size(count)

    rate = "not measured" if found.bandwidth is None else f"{found.bandwidth / 1e9:.1f} GB/s"
    layers = f"{found.gpu_layers} of {found.layers}, {size(found.on_gpu)}" if found.gpu is not None else "no GPU"
    room = "the memory could not be read" if found.ram is None else f"{size(found.ram)} free"
    table = Table(show_header=False, box=None)
    rows = [
        ("weights", size(found.weights)),
        ("cache", f"{size(found.kv)}: {found.n_ctx} tokens x {found.sequences} x {found.kv_per_token:,} bytes"),
        ("buffers", f"{size(found.compute)} at most"),
        ("together", size(found.need)),
        ("on the GPU", layers),
        ("in memory", f"{size(found.in_ram)}, {room}: {'fits' if found.fits else 'DOES NOT FIT'}"),
        ("largest context", f"{found.largest_ctx:,} tokens (trained with {found.trained_ctx:,})"),
        ("bandwidth", rate),
    ]
    if found.limit_tps is not None and found.expected_tps is not None:
        rows.append(
            ("speed", f"about {found.expected_tps:.0f} tokens/s for one call, {found.limit_tps:.0f} at the very most")
        )
    for row in rows:
        table.add_row(*row)
    return table
