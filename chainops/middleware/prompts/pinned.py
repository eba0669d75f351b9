"""What one run gets: the same versions in all of its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from chainops.calls import Call
from chainops.errors import SetupError, StoreError
from chainops.middleware.prompts.asking import BoundPrompt, Found
from chainops.middleware.prompts.choosing import ExampleChooser
from chainops.middleware.prompts.content import KIND
from chainops.middleware.prompts.slots import AnyPrompt
from chainops.middleware.prompts.splits import Exposure, assign, live_split, unit_hash, unit_of
from chainops.middleware.prompts.template import Rendered
from chainops.store.registry import View

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["NothingThere", "Owner", "PinnedPrompts", "asked_of", "setting_of"]

SETTING = "prompts"


class Owner(Protocol):
    """The layer that pins."""

    label: str
    chooser: ExampleChooser | None

    def find(self, view: View, name: str, ref: str | int) -> AnyPrompt:
        """The version that ``ref`` means in ``view``, else the packaged one."""

    def warn_of_arm(self, name: str, number: int, error: StoreError) -> None:
        """Say once that a version of a split cannot be used."""


class NothingThere(View):
    """Stands for a database that cannot be read; it says so to whoever asks. Perhaps nobody does."""

    __slots__ = ("error",)

    def __init__(self, error: StoreError) -> None:
        super().__init__(KIND, {})
        self.error = error

    def resolve(self, name: str, ref: str | int = "latest") -> Any:
        raise self.error


class PinnedPrompts:
    """What ``owner`` gives in one call: the same view for all calls of a run."""

    __slots__ = ("call", "chooser", "made", "noted", "owner", "splits", "view")

    def __init__(self, owner: Owner, view: View, splits: View, call: Call) -> None:
        self.owner, self.view, self.splits, self.call = owner, view, splits, call
        self.chooser = owner.chooser
        self.noted: set[tuple[str, int]] = set()
        self.made: dict[
            int, tuple[BaseMessage, BoundPrompt, Rendered]
        ] = {}  # holds the messages, so that no id is used twice

    @property
    def stamp(self) -> str:
        """Which prompts this run would get: what labels mean, and which versions of splits are its own."""
        if not self.splits.entries:
            return self.view.stamp
        arms = []
        for name in sorted(self.splits.entries):
            found = live_split(self.splits, *name.rsplit("/", 1))
            unit = unit_of(self.call.run, found[0].unit) if found is not None else None
            if found is not None:
                arms.append(f"{name}={assign(found[0], name, unit) if unit is not None else 'label'}")
        return " ".join([self.view.stamp, *arms])

    def find(self, name: str, ref: str | int | None) -> Found:
        if ref is None:
            wanted, label = setting_of(self.call)
            ref = label if label is not None and wanted in (None, name) else self.owner.label
        prompt = self.owner.find(self.view, name, ref)
        found = live_split(self.splits, name, ref) if isinstance(ref, str) and self.splits.entries else None
        if found is None:
            return Found(prompt, ref)
        split, version = found
        unit = unit_of(self.call.run, split.unit)
        number = prompt.version if unit is None else assign(split, version.name, unit)
        hashed = "" if unit is None else unit_hash(split, version.name, unit)
        exposure = Exposure(version.name, version.version, hashed, number, split.shadow)
        if number == prompt.version:
            return Found(prompt, ref, exposure)
        try:
            other = self.owner.find(self.view, name, number)
        except StoreError as error:  # retired meanwhile: who would get it gets what the label means
            self.owner.warn_of_arm(name, number, error)
            return Found(prompt, ref, replace(exposure, version=prompt.version))
        return Found(prompt, ref, exposure, unseen=other) if split.shadow else Found(other, ref, exposure)


def asked_of(pinned: PinnedPrompts, messages: Sequence[BaseMessage]) -> tuple[BoundPrompt | None, Rendered | None]:
    """The prompt that one of the messages was rendered from in this node, and as what; of several the last."""
    for message in reversed(messages):
        found = pinned.made.get(id(message))
        if found is not None and found[0] is message:
            return found[1], found[2]
    return None, None


def setting_of(call: Call) -> tuple[str | None, str | int | None]:
    """Name and label in the settings of the node."""
    given = call.metadata.get(SETTING)
    if given is None:
        return None, None
    if isinstance(given, str):
        return given, None
    if isinstance(given, Mapping) and given.keys() <= {"name", "label"}:
        name, label = given.get("name"), given.get("label")
        if (name is None or isinstance(name, str)) and (label is None or isinstance(label, str | int)):
            return name, label
    raise SetupError(
        f"The setting 'prompts' of {call.path!r} is {given!r}",
        hint='Write "prompts": "answer", or "prompts": {"name": "answer", "label": "canary"}.',
        code="setup.node",
    )
