"""Bundles at a site: apply one, go back, and a journal of both. Either all of a bundle is in force, or nothing of it.

Below ``bundles/`` of the data directory: a folder for each applied bundle, ``current`` (a link that is moved in one
step), and ``journal.jsonl``. Prompts become versions in the trace file and their label moves, which can be undone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainops.errors import ChainopsError, SetupError
from chainops.ops.bundle import Bundle, open_bundle
from chainops.store.artifacts import Artifacts

__all__ = ["CURRENT", "Site"]

CURRENT = "current"
JOURNAL = "journal.jsonl"
PROMPT = "prompt"
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Site:
    """An installation. ``data``: its data directory; ``db``: the file with prompts and models; ``who`` acts."""

    data: Path
    db: Path
    who: str

    @property
    def folder(self) -> Path:
        """Where bundles are."""
        return self.data / "bundles"

    def trusted(self) -> list[Path]:
        """Public keys that the site trusts: ``trusted/*.pem``."""
        return sorted((self.data / "trusted").glob("*.pem"))

    def journal(self) -> list[Record]:
        """What was done, oldest first. Each record names the hash of the one before it.

        Raises:
            SetupError: it was changed (``setup.bundle_journal``).
        """
        lines = self._lines()
        before = ""
        for number, line in enumerate(lines, 1):
            try:
                known = json.loads(line)["before"] == before
            except (ValueError, KeyError, TypeError):
                known = False
            if not known:
                raise SetupError(
                    f"{self.folder / JOURNAL} was changed: line {number} does not follow from the one before",
                    hint="Compare it with a backup. Nothing was done.",
                    code="setup.bundle_journal",
                )
            before = hashlib.sha256(line).hexdigest()
        return [json.loads(line) for line in lines]

    def _lines(self) -> list[bytes]:
        """Whole lines of the journal: half of one was left by a crash, and what it says was not done."""
        try:
            return (self.folder / JOURNAL).read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []

    def current(self) -> str | None:
        """The folder of the bundle in force."""
        link = self.folder / CURRENT
        return os.readlink(link) if link.is_symlink() else None  # noqa: PTH115 - the text of the link is meant

    def apply(self, file: Path, trusted: list[Path], *, older: bool = False) -> Bundle:
        """Check a bundle as a whole, then put it into force.

        Args:
            older: also one that was made before the one in force: somebody may have kept an old one with a known flaw.

        Raises:
            SetupError: as :func:`~chainops.ops.bundle.open_bundle`; its contents are wrong (``setup.bundle``), or it is
                older (``setup.bundle_older``).
        """
        with self._alone():
            self._recover()
            part = self.folder / f".{os.getpid()}.part"
            shutil.rmtree(part, ignore_errors=True)
            try:
                bundle = open_bundle(file, trusted, part)
                self._check_age(bundle, older=older)
                _check_contents(part)
                place = self.folder / bundle.folder
                if not place.is_dir():
                    part.rename(place)
            finally:
                shutil.rmtree(part, ignore_errors=True)
            if self.current() == bundle.folder:
                return bundle
            about = {"bundle": bundle.folder, "id": bundle.id, "key": bundle.key, "label": bundle.label}
            self._write({"did": "begun", **about, "from": self.current(), "created_ns": bundle.created_ns})
            self._finish(self.journal()[-1])
            return bundle

    def rollback(self) -> tuple[str, str | None]:
        """Go back to what was in force before the last bundle; the folders (left, now in force).

        Raises:
            SetupError: no bundle is in force (``setup.bundle_none``).
        """
        with self._alone():
            self._recover()
            now = self.current()
            done = [each for each in self.journal() if each["did"] == "applied" and each["bundle"] == now]
            if not done:
                raise SetupError("No bundle is in force", hint="chainops bundle apply FILE", code="setup.bundle_none")
            last = done[-1]
            store = Artifacts(self.db)
            for move in last["moves"]:
                store.move(PROMPT, move["name"], last["label"], move["from"], who=self.who, why=f"rollback of {now}")
            self._point(last["from"])
            self._write({"did": "rolled_back", "bundle": last["bundle"], "to": last["from"]})
            return last["bundle"], last["from"]

    def _finish(self, begun: Record) -> None:
        """Everything after the check. Doing it twice is doing it once, so that a start after a crash can finish it."""
        place = self.folder / begun["bundle"]
        self._register_models(place)
        moves = self._put_prompts(place, begun["label"], f"bundle {begun['bundle']}")
        self._point(begun["bundle"])
        self._write(
            {
                **{k: v for k, v in begun.items() if k not in ("before", "at_ns", "who")},
                "did": "applied",
                "moves": moves,
            }
        )

    def _recover(self) -> None:
        records = self.journal()
        if records and records[-1]["did"] == "begun":
            self._finish(records[-1])

    def _put_prompts(self, place: Path, label: str, why: str) -> list[Record]:
        if not (place / "prompts").is_dir():
            return []
        from chainops.middleware.prompts.folder import read_folder
        from chainops.store.artifacts import settled

        store, moves = Artifacts(self.db), []
        for name, content in read_folder(place / "prompts").items():
            version = store.add(PROMPT, name, content.plain(), author=self.who, message=why)[0].version
            known = store.moves(PROMPT, name)
            labels, _ = settled(known)
            past = [move for move in known if move.label == label and move.why == why]
            # finished after a crash: the label has moved already, and came from where that move says
            before = past[-1].from_version if past and labels.get(label) == version else labels.get(label)
            if labels.get(label) != version:
                store.move(PROMPT, name, label, version, who=self.who, why=why)
            moves.append({"name": name, "from": before, "to": version})
        return moves

    def _register_models(self, place: Path) -> None:
        from chainops.engines.llama.registered import add_file

        for file in sorted((place / "models").glob("*.gguf")):
            add_file(self.db, file.stem, file, probe=False, author=self.who, message=f"bundle {place.name}")

    def _point(self, to: str | None) -> None:
        link, new = self.folder / CURRENT, self.folder / f".{CURRENT}.{os.getpid()}"
        if to is None:
            link.unlink(missing_ok=True)
        else:
            new.unlink(missing_ok=True)
            new.symlink_to(to)
            new.replace(link)
        _sync(self.folder)

    def _check_age(self, bundle: Bundle, *, older: bool) -> None:
        newest = max((r["created_ns"] for r in self.journal() if r["did"] == "applied"), default=0)
        if bundle.created_ns < newest and not older:
            raise SetupError(
                f"The bundle {bundle.name} {bundle.version} was made before one that was applied here already",
                hint="chainops bundle rollback goes back; --older applies it all the same.",
                code="setup.bundle_older",
            )

    def _write(self, record: Record) -> None:
        lines = self._lines()
        before = hashlib.sha256(lines[-1]).hexdigest() if lines else ""
        line = json.dumps({**record, "who": self.who, "at_ns": time.time_ns(), "before": before}, sort_keys=True)
        with (self.folder / JOURNAL).open("ab") as file:
            file.truncate(sum(len(each) + 1 for each in lines))
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise SetupError(
                f"Cannot write in {self.folder}: {error.strerror}", hint="Check folder and disk.", code="setup.output"
            ) from error


def _check_contents(folder: Path) -> None:
    """Prompts, settings and models of an unpacked bundle, before anything of it is used."""
    try:
        if (folder / "prompts").is_dir():
            from chainops.middleware.prompts.folder import read_folder

            read_folder(folder / "prompts")
        for file in sorted((folder / "settings").glob("*.toml")):
            from chainops.settings import load_settings

            load_settings(file, environ={})
        for file in sorted((folder / "models").glob("*.gguf")):
            from chainops.engines.llama.model_file import check_model_file

            check_model_file(file)
    except ChainopsError as error:
        raise SetupError(
            f"What the bundle holds is wrong: {error.message}",
            hint="Get another one. Nothing was changed.",
            code="setup.bundle",
        ) from error


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
