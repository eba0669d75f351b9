"""A folder of prompt files and the database: read the files, say where the two differ, bring the database up to them.

The files are the truth. A label (``files``) points to the version that each file has, so that a file which goes back
to an earlier text takes the label back to that version.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chainops.errors import SetupError, StoreError
from chainops.middleware.prompts.compile import compile_prompt
from chainops.middleware.prompts.content import FILES, KIND, Content, mistakes_error
from chainops.middleware.prompts.file import SUFFIX, PromptFile, parse_prompt, write_prompt
from chainops.middleware.prompts.library import partial_of
from chainops.middleware.prompts.slots import AnyPrompt, put_together, slot_ref
from chainops.store.artifacts import Artifacts, check_name
from chainops.store.canonical import canonical, fingerprint
from chainops.store.registry import View

__all__ = [
    "FILES",
    "Difference",
    "compare",
    "compile_folder",
    "read_file",
    "read_folder",
    "sync",
    "write_file",
    "write_folder",
    "write_langchain",
]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a file and the database differ, or not.

    ``new``: the database lacks the prompt. ``changed``: the file has another text. ``moved``: the text is that of
    another version than the label points to. ``gone``: there is no file. ``same``. ``version`` is the number that the
    text of the file has in the database, None where it has none yet.
    """

    name: str
    state: Literal["new", "changed", "moved", "gone", "same"]
    labelled: int | None
    version: int | None


def read_file(path: Path, name: str | None = None) -> PromptFile:
    """The prompt in a file.

    Raises:
        SetupError: it cannot be read (``setup.prompt_file``), or is wrong (``setup.prompt``).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise SetupError(
            f"Cannot read the prompt {path}: {reason}", hint="Check the path.", code="setup.prompt_file"
        ) from None
    return parse_prompt(text, name or path.name.removesuffix(SUFFIX))


def read_folder(folder: Path, view: View | None = None) -> dict[str, Content]:
    """Every prompt in ``folder`` and below by its name, checked. Partials come from the files, else from ``view``.

    Raises:
        SetupError: the folder is none, or files in it are wrong; all of them are named.
    """
    if not folder.is_dir():
        raise SetupError(f"There is no folder {folder}", hint="Check the path.", code="setup.prompt_file")
    files: dict[str, tuple[Path, PromptFile]] = {}
    wrong: list[str] = []
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        place = path.relative_to(folder).as_posix()
        try:
            found = read_file(path, place.removesuffix(SUFFIX))
            check_name(found.name)
        except SetupError as error:
            wrong.append(f"{place}: {error.message}")
            continue
        if found.name in files:
            wrong.append(f"{place}: the name {found.name!r} is that of {files[found.name][0].relative_to(folder)} too")
        files[found.name] = (path, found)
    contents = _Resolver({name: file for name, (_, file) in files.items()}, view, wrong).all()
    if wrong:
        raise SetupError(
            f"Prompts in {folder} have mistakes: {'; '.join(wrong)}", hint="Mend them.", code="setup.prompt"
        )
    return contents


class _Resolver:
    """Partials before the prompts that include them, since a prompt holds the hashes of its partials."""

    def __init__(self, files: Mapping[str, PromptFile], view: View | None, wrong: list[str]) -> None:
        self.files, self.view, self.wrong = files, view, wrong
        self.done: dict[str, Content] = {}
        self.open: list[str] = []
        self.bad: set[str] = set()

    def all(self) -> dict[str, Content]:
        for name in self.files:
            self._hash(name)
        return {name: self.done[name] for name in self.files if name in self.done}

    def _hash(self, name: str) -> str | None:
        if name in self.open:
            self.bad.update(self.open)
            self.wrong.append(f"partials go round in a circle: {' → '.join([*self.open, name])}")
            return None
        if name not in self.files:
            return _in_force(self.view, name)
        if name not in self.done and name not in self.bad:
            self.open.append(name)
            try:
                content = self.files[name].content(self._hash)
                if content.slots:
                    self._check_slots(name, content)
                else:
                    compile_prompt(name, content, partial=self._partial)
                self.done[name] = content
            except (SetupError, StoreError) as error:
                if name not in self.bad:
                    self.wrong.append(error.message)
                self.bad.add(name)
            finally:
                self.open.pop()
        return None if name not in self.done else fingerprint(canonical(self.done[name].plain()))

    def _check_slots(self, name: str, content: Content) -> None:
        """What stands in slots is looked up when the prompt is used; that it exists is looked up now."""
        entries = self.view.entries if self.view is not None else {}
        wanted = {slot: slot_ref(text)[0] for slot, text in content.slots.items()}
        missing = [
            f"slots.{s}: there is no prompt {n!r}" for s, n in wanted.items() if n not in {*self.files, *entries}
        ]
        if missing:
            raise mistakes_error(name, missing)

    def _partial(self, name: str, sha256: str) -> Content:
        if name in self.done and self._hash(name) == sha256:
            return self.done[name]
        if self.view is None:
            raise SetupError(f"There is no partial {name!r} with the hash {sha256[:12]}…", code="setup.prompt")
        return partial_of(self.view)(name, sha256)


def _in_force(view: View | None, name: str) -> str | None:
    if view is None or name not in view.entries:
        return None
    entry = view.entries[name]
    number = entry.labels.get(FILES, entry.latest)
    return None if number is None else entry.versions[number].sha256


def compare(contents: Mapping[str, Content], view: View | None, label: str = FILES) -> list[Difference]:
    """What :func:`sync` would have to do, by name; ``view`` None stands for an empty database."""
    entries = view.entries if view is not None else {}
    found: list[Difference] = []
    for name, content in sorted(contents.items()):
        entry = entries.get(name)
        if entry is None:
            found.append(Difference(name, "new", None, None))
            continue
        labelled = entry.labels.get(label)
        version = entry.hashes.get(fingerprint(canonical(content.plain())))
        if version is None:
            found.append(Difference(name, "changed", labelled, None))
        else:
            found.append(Difference(name, "same" if version == labelled else "moved", labelled, version))
    gone = [name for name, entry in entries.items() if label in entry.labels and name not in contents]
    return found + [Difference(name, "gone", entries[name].labels[label], None) for name in sorted(gone)]


def sync(
    store: Artifacts, contents: Mapping[str, Content], view: View | None, *, who: str, why: str, label: str = FILES
) -> list[Difference]:
    """Bring the database up to the files: add versions, move the label. What was done, with the numbers now given."""
    done: list[Difference] = []
    for difference in compare(contents, view, label):
        name, version = difference.name, difference.version
        if difference.state == "gone":
            store.move(KIND, name, label, None, who=who, why=why)
        elif difference.state != "same":
            version = store.add(KIND, name, contents[name].plain(), author=who, message=why)[0].version
            store.move(KIND, name, label, version, who=who, why=why)
        done.append(Difference(name, difference.state, difference.labelled, version))
    return done


def write_folder(folder: Path, view: View, ref: str) -> list[Path]:
    """A file for every prompt that has ``ref``; what is written reads back as the same content.

    Raises:
        SetupError: a file cannot be written (``setup.output``).
    """
    chosen = dict(_having(view, ref))
    hashes = {name: view.resolve(name, version).sha256 for name, version in chosen.items()}
    written: list[Path] = []
    for name, number in chosen.items():
        path = folder / f"{name}{SUFFIX}"
        text = write_prompt(name, Content.model_validate(view.resolve(name, number).value()), current=hashes.get)
        write_file(path, text)
        written.append(path)
    return written


def write_langchain(folder: Path, view: View, ref: str) -> list[Path]:
    """A JSON file with a LangChain template for every prompt that has ``ref``; ``langchain_core.load.load`` reads it.

    Raises:
        SetupError: a prompt needs what only chainops does (``setup.prompt_form``), or a file cannot be written.
    """
    from langchain_core.load import dumps

    from chainops.middleware.prompts.exchange.to_langchain import to_langchain

    chosen = dict(_having(view, ref))
    templates = {
        name: to_langchain(name, Content.model_validate(view.resolve(name, number).value()))
        for name, number in chosen.items()
    }
    written = [folder / f"{name}.json" for name in templates]
    for path, template in zip(written, templates.values(), strict=True):
        write_file(path, dumps(template, pretty=True) + "\n")
    return written


def write_file(path: Path, text: str) -> None:
    """Write a file that appears under its name only when it is whole; its folder is made.

    Raises:
        SetupError: it cannot be written (``setup.output``).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        raise SetupError(
            f"Cannot write {path}: {error.strerror}", hint="Give another folder.", code="setup.output"
        ) from None


def _having(view: View, ref: str) -> Iterator[tuple[str, int]]:
    for name, entry in sorted(view.entries.items()):
        try:
            yield name, view.resolve(name, ref).version
        except StoreError:
            if entry.labels.get(ref) is not None:
                raise


def compile_folder(folder: Path) -> dict[str, AnyPrompt]:
    """Every prompt in ``folder``, compiled, as version 0: what a package brings along.

    Raises:
        SetupError: as :func:`read_folder`.
        CallError: something stands in a slot that cannot (``prompt.slot``).
    """
    contents = read_folder(folder)
    made: dict[str, AnyPrompt] = {}

    def partial(name: str, sha256: str) -> Content:
        return contents[name]

    def fill(name: str, label: str | None) -> tuple[AnyPrompt, str | int]:
        if name not in made:
            raise mistakes_error(name, ["it stands in a slot and has slots itself"])
        return made[name], label or 0

    for name, content in sorted(contents.items(), key=lambda item: bool(item[1].slots)):
        sha256 = fingerprint(canonical(content.plain()))
        if content.slots:
            made[name] = put_together(name, 0, sha256, content, fill)
        else:
            made[name] = compile_prompt(name, content, sha256=sha256, partial=partial)
    return made
