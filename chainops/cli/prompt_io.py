"""What the prompt commands read and write: references, values, tables, patches."""

from __future__ import annotations

import difflib
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chainops.cli.trace_io import print_json
from chainops.errors import ChainopsError, SetupError, StoreError
from chainops.middleware.prompts.compile import compile_prompt
from chainops.middleware.prompts.content import KIND, Content, mistakes_error
from chainops.middleware.prompts.file import write_prompt
from chainops.middleware.prompts.library import PromptLibrary, partial_of
from chainops.middleware.prompts.slots import AnyPrompt, slot_ref
from chainops.middleware.prompts.splits import live_split
from chainops.store.artifacts import LATEST, Artifacts, ArtifactVersion, LabelMove
from chainops.store.registry import Entry, Registry, View

if TYPE_CHECKING:
    from rich.console import RenderableType

    from chainops.middleware.prompts.folder import Difference

__all__ = [
    "as_file",
    "compiled",
    "difference_line",
    "failed_tests",
    "history_lines",
    "history_rows",
    "look",
    "look_if_there",
    "move_line",
    "patch",
    "prompt_rows",
    "prompt_table",
    "read_values",
    "side_by_side",
    "split_ref",
    "store_file",
    "user",
    "version_line",
    "version_row",
]


def look(db: Path) -> View:
    """The prompts in a file that exists."""
    try:
        return Registry(db, KIND).look()
    except StoreError as error:
        if error.code in ("store.missing", "store.empty"):
            raise StoreError(
                error.message, hint="chainops prompt sync FOLDER makes it; or give --db PATH.", code=error.code
            ) from None
        raise


def look_if_there(db: Path) -> View | None:
    """As :func:`look`; None where there is no file yet."""
    try:
        return look(db)
    except StoreError as error:
        if error.code in ("store.missing", "store.empty"):
            return None
        raise


def user(given: str | None) -> str:
    """Who it is that runs the command."""
    import getpass

    if given:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may run under a number without a name
        return "unknown"


def split_ref(name: str) -> tuple[str, str]:
    """ "greet@prod" as ("greet", "prod"); without @ the newest version."""
    plain, at, ref = name.partition("@")
    return plain, ref if at else LATEST


def compiled(view: View, name: str) -> AnyPrompt:
    """The prompt that NAME@REF means."""
    return PromptLibrary().find(view, *split_ref(name))


def failed_tests(prompt: AnyPrompt, model: str | None = None) -> list[str]:
    """One line per test that fails; ``model`` is what tests that ask one ask. That none can be asked fails them."""
    from chainops.cli.asking import outcomes_of

    try:
        outcomes = outcomes_of([prompt], model)[0]
    except ChainopsError as error:
        return [f"its tests cannot be run: {error}"]
    return [f"{test.name}: {'; '.join(test.problems)}" for test in outcomes if test.problems]


def store_file(db: Path, file: Path, *, author: str, message: str) -> tuple[ArtifactVersion, bool]:
    """A prompt file as a version; its partials are the newest in the database."""
    from chainops.middleware.prompts.folder import read_file

    view = look_if_there(db) or View(KIND, {})

    def newest(name: str) -> str | None:
        return view.resolve(name).sha256 if name in view.entries else None

    found = read_file(file)
    content = found.content(newest)
    if content.slots:
        missing = [
            f"slots.{s}: there is no prompt {slot_ref(n)[0]!r}"
            for s, n in content.slots.items()
            if slot_ref(n)[0] not in view.entries
        ]
        if missing:
            raise mistakes_error(found.name, missing)
    else:
        compile_prompt(found.name, content, partial=partial_of(view))
    return Artifacts(db).add(KIND, found.name, content.plain(), author=author, message=message)


def read_values(file: str | None, pairs: list[str]) -> dict[str, Any]:
    """Values from a JSON file ("-" is stdin), then from NAME=TEXT pairs."""
    import orjson

    values: dict[str, Any] = {}
    if file is not None:
        try:
            data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
            values = orjson.loads(data)
        except (OSError, orjson.JSONDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SetupError(
                f"Cannot read values from {file}: {reason}", hint="Give JSON.", code="setup.vars"
            ) from None
    if not isinstance(values, dict):
        raise SetupError(f"{file} holds no JSON object", hint='Write {"name": value}.', code="setup.vars")
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not (name and equals):
            raise SetupError(f"--var {pair!r} has no =", hint="Write --var name=text.", code="setup.vars")
        values[name] = text
    return values


def as_file(view: View, version: ArtifactVersion) -> str:
    """The version as a prompt file. Partials are pinned in it where ``view`` has newer ones."""

    def newest(name: str) -> str | None:
        return view.resolve(name).sha256 if name in view.entries else None

    return write_prompt(version.name, Content.model_validate(version.value()), current=newest)


def version_row(version: ArtifactVersion) -> dict[str, Any]:
    """A version for scripts, without its content."""
    names = ("name", "version", "sha256", "parent", "author", "message", "created_ns")
    return {name: getattr(version, name) for name in names}


def version_line(version: ArtifactVersion) -> str:
    """A version for people."""
    return f"{version.name}@{version.version} {version.sha256[:12]}"


def move_line(move: LabelMove, as_json: bool) -> None:
    """Print a move, and let the cache forget what used the prompt."""
    from chainops.cli.cache_io import forget

    forget(f"prompt:{move.name}")
    if as_json:
        names = ("name", "label", "from_version", "to_version", "who", "why", "created_ns")
        print_json({name: getattr(move, name) for name in names})
    else:
        before = "nothing" if move.from_version is None else move.from_version
        typer.echo(f"{move.name}: {move.label} {before} → {move.to_version}")


def prompt_rows(view: View, splits: View) -> list[dict[str, Any]]:
    """Every prompt for scripts."""
    rows = []
    for name, entry in sorted(view.entries.items()):
        newest = entry.versions[entry.latest or max(entry.versions)]
        description = newest.value().get("description", "")
        rows.append(
            {
                "name": name,
                "latest": entry.latest,
                "labels": dict(sorted(entry.labels.items())),
                "retired": sorted(entry.retired),
                "splits": {label: arms for label in sorted(entry.labels) if (arms := _arms(splits, name, label))},
                "description": description,
            }
        )
    return rows


def _arms(splits: View, name: str, label: str) -> dict[str, Any]:
    """What a label means that is split; empty where it is not."""
    found = live_split(splits, name, label)
    return found[0].model_dump(mode="json") if found is not None else {}


def _labels(row: dict[str, Any]) -> str:
    parts = []
    for label, version in row["labels"].items():
        split = row["splits"].get(label)
        arms = "/".join(str(arm["version"]) for arm in split["arms"]) if split else ""
        parts.append(
            f"{label}={version}" + (f" (split {arms}{', unseen' if split['shadow'] else ''})" if split else "")
        )
    return " ".join(parts)


def prompt_table(rows: list[dict[str, Any]]) -> RenderableType:
    """Every prompt for people."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for head in ("prompt", "newest", "labels", "description"):
        table.add_column(head, justify="right" if head == "newest" else "left")
    for row in rows:
        table.add_row(*map(Text, (row["name"], str(row["latest"] or "retired"), _labels(row), row["description"])))
    return table


def history_rows(entry: Entry) -> list[dict[str, Any]]:
    """Versions and moves in the order in which they happened, for scripts."""
    rows = [{"event": "version", **version_row(version)} for version in entry.versions.values()]
    names = ("label", "from_version", "to_version", "who", "why", "created_ns")
    rows += [{"event": "move", **{name: getattr(move, name) for name in names}} for move in entry.moves]
    return sorted(rows, key=lambda row: int(row["created_ns"]))


def history_lines(rows: list[dict[str, Any]]) -> list[str]:
    """As :func:`history_rows`, for people."""
    lines = []
    for row in rows:
        when = datetime.fromtimestamp(row["created_ns"] / 1e9).strftime("%Y-%m-%d %H:%M:%S")
        if row["event"] == "version":
            lines.append(f"{when}  version {row['version']} {row['sha256'][:12]} by {row['author']}  {row['message']}")
        else:
            way = f"{row['from_version'] or '-'} → {row['to_version'] or '-'}"
            lines.append(f"{when}  {row['label']} {way} by {row['who']}  {row['why']}")
    return [line.rstrip() for line in lines]


def difference_line(difference: Difference, label: str, *, done: bool) -> str:
    """Where a file and the database differ, in words."""
    name, at = difference.name, difference.labelled
    before = "nothing" if at is None else f"version {at}"
    text = {
        "new": "the database does not have it",
        "changed": f"the file differs from {before}",
        "moved": f"the file is version {difference.version}, the label {label!r} points to {before}",
        "gone": f"there is no file, the label {label!r} points to {before}",
    }[difference.state]
    if done:
        text += f"; {label!r} removed" if difference.state == "gone" else f"; now version {difference.version}"
    return f"{name}: {text}"


def patch(old: str, new: str, old_title: str, new_title: str) -> str:
    """The difference as a patch."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), f"{old_title}", f"{new_title}"
    )
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def side_by_side(old: str, new: str, old_title: str, new_title: str) -> RenderableType:
    """The difference in two columns, what went red and what came green."""
    from rich.table import Table
    from rich.text import Text

    left, right = old.splitlines(), new.splitlines()
    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column(old_title, ratio=1)
    table.add_column(new_title, ratio=1)
    for tag, a, b, c, d in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        for i in range(max(b - a, d - c)):
            was = left[a + i] if a + i < b else ""
            now = right[c + i] if c + i < d else ""
            styles = ("", "") if tag == "equal" else ("red", "green")
            table.add_row(Text(was, style=styles[0]), Text(now, style=styles[1]))
    return table
