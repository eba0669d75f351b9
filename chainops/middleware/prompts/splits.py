"""A label that means several versions, each for its share of users or threads, and always the same for the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chainops.calls import RunContext
from chainops.errors import SetupError, StoreError
from chainops.store.artifacts import Artifacts, ArtifactVersion, LabelMove
from chainops.store.registry import Registry, View

__all__ = ["KIND", "LIVE", "Arm", "Exposure", "Split", "assign", "kill", "live_split", "start", "unit_hash", "unit_of"]

KIND = "split"
"""The kind under which splits stand among the artifacts, named PROMPT/LABEL."""

LIVE = "live"
"""The label of the split that is in force; where it points to nothing there is none."""

SPACE = 2**64


class Arm(BaseModel):
    """One of the versions, and its weight: its share is the weight over the sum of all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(gt=0)
    weight: float = Field(ge=0, le=1e9, allow_inf_nan=False)


class Split(BaseModel):
    """Which versions a label means, for whom.

    Args:
        arms: the versions; in shadow mode the label's own version answers, and the others answer unseen.
        unit: what is assigned: the run's user (``metadata["user"]`` or ``["user_id"]``) or its thread.
        salt: another salt assigns everybody anew.
        shadow: nobody sees the other versions; their answers are stored.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    arms: tuple[Arm, ...] = Field(min_length=1, max_length=100)
    unit: Literal["user", "thread"] = "user"
    salt: str = Field(default="", max_length=200)
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one run was assigned. ``unit`` is a keyed hash, so that nobody is named; "" where there was none."""

    split: str
    number: int
    unit: str
    version: int
    shadow: bool

    def plain(self) -> dict[str, Any]:
        """For the span."""
        return {
            "split": self.split,
            "split_version": self.number,
            "unit": self.unit,
            "version": self.version,
            "shadow": self.shadow,
        }


def unit_of(run: RunContext, kind: Literal["user", "thread"]) -> str | None:
    """Who or what a run is assigned by; None where it does not say."""
    if kind == "thread":
        return run.thread_id
    found = run.metadata.get("user", run.metadata.get("user_id"))
    return None if found is None else str(found)


def _position(name: str, salt: str, unit: str) -> int:
    """Where a unit stands in [0, 2**64): a keyed hash, equal on every machine."""
    key = hashlib.blake2b(f"{name}\0{salt}".encode(), digest_size=32).digest()
    return int.from_bytes(hashlib.blake2b(unit.encode(errors="surrogatepass"), key=key, digest_size=8).digest(), "big")


def unit_hash(split: Split, name: str, unit: str) -> str:
    """Sixteen digits that stand for a unit in one split, and tell nobody who it is who does not know the unit."""
    return f"{_position(name, split.salt, unit):016x}"


def assign(split: Split, name: str, unit: str) -> int:
    """The version that ``unit`` gets. It stays as long as arms, weights and salt do.

    Each arm has an interval of [0, 1) as long as its share, in the order of the list; a unit stands at a fixed place
    in it. So when weights change only units between the old and the new borders move.
    """
    total = sum(arm.weight for arm in split.arms)
    at = _position(name, split.salt, unit) / SPACE * total
    border = 0.0
    for arm in split.arms:
        border += arm.weight
        if at < border:
            return arm.version
    return next(arm.version for arm in reversed(split.arms) if arm.weight > 0)


def live_split(view: View, prompt: str, label: str) -> tuple[Split, ArtifactVersion] | None:
    """The split of a prompt's label that is in force, and its own version."""
    entry = view.entries.get(f"{prompt}/{label}")
    # one that was ended is over for runs that are held to it as well: that is what the kill switch is for
    alive = entry is not None and LIVE in entry.labels
    number = view.label(f"{prompt}/{label}", LIVE) if alive else None
    version = entry.versions.get(number) if entry is not None and number is not None else None
    if version is None:
        return None
    return Split.model_validate(version.value()), version


def start(
    path: Any, prompt: str, label: str, raw: Mapping[str, Any], *, who: str, why: str = ""
) -> tuple[Split, ArtifactVersion]:
    """Let ``label`` of ``prompt`` mean the versions of a split from now on.

    Raises:
        SetupError: the split is wrong (``setup.split``).
        StoreError: there is no such prompt, label or version, or it is retired.
    """
    try:
        split = Split.model_validate(dict(raw))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise _wrong(problems) from None
    versions = [arm.version for arm in split.arms]
    if len(set(versions)) != len(versions):
        raise _wrong("a version stands in it twice")
    if not sum(arm.weight for arm in split.arms):
        raise _wrong("all weights are 0")
    view = Registry(path, "prompt").look()
    control = view.resolve(prompt, label)
    for version in versions:
        view.resolve(prompt, version)
    if not split.shadow and control.version not in versions:
        raise _wrong(f"the label {label!r} points to version {control.version}, which is none of its arms")
    store = Artifacts(path)
    name = f"{prompt}/{label}"
    stored, _ = store.add(KIND, name, split.model_dump(mode="json"), author=who, message=why)
    store.move(KIND, name, LIVE, stored.version, who=who, why=why)
    return split, stored


def kill(path: Any, prompt: str, label: str, *, who: str, why: str) -> LabelMove:
    """End the split of a label at once: everybody gets the version that the label points to.

    Raises:
        StoreError: there is none (``store.no_split``).
    """
    name = f"{prompt}/{label}"
    if live_split(Registry(path, KIND).look(), prompt, label) is None:
        raise StoreError(
            f"The label {label!r} of prompt {prompt!r} is not split",
            hint="Nothing is to be done.",
            code="store.no_split",
        )
    return Artifacts(path).move(KIND, name, LIVE, None, who=who, why=why)


def _wrong(problem: str) -> SetupError:
    return SetupError(
        f"The split is wrong: {problem}", hint="Write it as VERSION=WEIGHT, for example 3=90 4=10.", code="setup.split"
    )
