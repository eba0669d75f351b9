"""The chain middleware: which version of the whole chain a run runs on, and that a thread goes on with its own."""

from __future__ import annotations

import asyncio
import logging
import re
import weakref
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from chainops.calls import Kind, ModelCall, ModelNext, ModelResult, NodeCall, NodeNext
from chainops.errors import CallError
from chainops.held import Versions
from chainops.identity import identity_of
from chainops.middleware.chain.difference import differences
from chainops.pipeline import Middleware
from chainops.store.artifacts import Artifacts
from chainops.store.canonical import canonical, fingerprint
from chainops.store.pins import pin_thread
from chainops.store.registry import Registry

__all__ = ["KIND", "Chain", "ChainVersion", "chain_name", "content_of"]

log = logging.getLogger("chainops")
KIND = "chain"
"""The kind under which versions of chains stand among the artifacts."""


@dataclass(frozen=True, slots=True)
class ChainVersion:
    """The version that a run runs on."""

    name: str
    number: int
    sha256: str


_RUNS_ON: ContextVar[ChainVersion | None] = ContextVar("chainops_chain", default=None)


def chain_name(graph: str) -> str:
    """The name under which the versions of a graph's chain stand."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", graph).strip("-._") or "graph"


def content_of(described: Mapping[str, Any], versions: Versions) -> dict[str, Any]:
    """What a version of a chain is made of: what it is, and what the labels in it mean."""
    return {**described, "versions": {kind: dict(sorted(found.items())) for kind, found in versions.items() if found}}


class Chain(Middleware):
    """Names on every run, and on every model call in it, the version of the whole chain.

    One hash stands for topology, code of the nodes, layers with their settings, model files, and what the labels of
    prompts mean. A version that is new is stored as an artifact of kind ``chain`` under the graph's name. During a run
    labels mean what its version says.

    Args:
        path: the database; the one of ``Trace``.
        pin_threads: a thread goes on with the versions of prompts with which it began, whatever is promoted
            meanwhile, in every process.
        on_drift: what happens where the code, the layers or the models of a pinned thread are others by now, which
            nobody can turn back: "warn" says so on the span and in the log, "error" refuses the run.

    Raises (from calls):
        CallError: code ``chain.drift``.
        StoreError: ``pin_threads``, and the database cannot be read or written.
    """

    name: ClassVar[str] = "chain"
    inside: ClassVar[tuple[str, ...]] = ("trace",)
    outside: ClassVar[tuple[str, ...]] = (
        "access",
        "limits",
        "experiment",
        "prompts",
        "compress",
        "rails",
        "pii",
        "semantic_cache",
        "cache",
        "route",
        "retry",
    )
    kinds: ClassVar[frozenset[Kind]] = frozenset({"run", "model"})

    def __init__(
        self,
        path: str | Path = "chainops.db",
        *,
        pin_threads: bool = False,
        on_drift: Literal["warn", "error"] = "warn",
    ) -> None:
        self.path = Path(path)
        self.pin_threads = pin_threads
        self.on_drift = on_drift
        self._registry = Registry(path, KIND)
        self._described: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()
        self._known: dict[tuple[int, int], tuple[Any, ChainVersion]] = {}
        self._models: dict[int, tuple[Any, str]] = {}
        self._warned: set[str] = set()

    def describe(self) -> Mapping[str, Any]:
        """Its settings."""
        return {"pin_threads": self.pin_threads, "on_drift": self.on_drift}

    async def wrap_node_call(self, call: NodeCall, call_next: NodeNext) -> Any:
        """Find the version that the run runs on, note it, and hold the run to it."""
        if call.parent is not None or not hasattr(call.runnable, "chainops_chain"):
            return await call_next(call)
        try:
            version, held = await self._version(call)
        except CallError:
            raise
        except Exception as error:  # an observer never breaks a call; who pins threads relies on it
            if self.pin_threads:
                raise
            self._warn("unknown", "Runs do not name the version of their chain: %s: %s", type(error).__name__, error)
            return await call_next(call)
        call.recorder.artifact(KIND, version.name, str(version.number))
        call.annotate(self.name, version=version.number, sha256=version.sha256)
        token = _RUNS_ON.set(version)
        try:
            return await call_next(call.replace(run=replace(call.run, held=held)))
        finally:
            _RUNS_ON.reset(token)

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Note the run's version and the model's file on the model's own span."""
        version = _RUNS_ON.get()
        if version is not None:
            call.recorder.artifact(KIND, version.name, str(version.number))
            call.annotate(self.name, version=version.number, sha256=version.sha256)
        if call.model is not None and (sha256 := await self._model(call.model)):
            call.recorder.artifact("model", call.name, sha256)
        return await call_next(call)

    async def _version(self, call: NodeCall) -> tuple[ChainVersion, Versions]:
        graph = call.runnable
        described = self._described.get(graph)
        if described is None:
            described = self._described[graph] = await asyncio.to_thread(graph.chainops_chain)
        versions: Versions | None = call.run.held
        if versions is None:
            merged: dict[str, Mapping[str, int]] = {}
            for layer in graph.chainops_pipeline.middleware:
                merged.update(await layer.in_force())
            versions = merged
        version = await self._stored(described, versions)
        if self.pin_threads and call.thread is not None and call.run.held is None:
            return await self._pinned(call, version, described, versions)
        return version, versions

    async def _stored(self, described: dict[str, Any], versions: Versions) -> ChainVersion:
        parts = (described, *versions.values())  # equal parts are the same objects as long as nothing is promoted
        key = id(described), hash(tuple(map(id, parts)))
        found = self._known.get(key)
        if found is not None and all(a is b for a, b in zip(found[0], parts, strict=True)):
            return found[1]
        version = await asyncio.to_thread(self._store, described, versions)
        if len(self._known) > 1000:
            self._known.clear()
        self._known[key] = parts, version
        return version

    def _store(self, described: dict[str, Any], versions: Versions) -> ChainVersion:
        content = content_of(described, versions)
        name = chain_name(str(described["graph"]))
        stored, _ = Artifacts(self.path).add(KIND, name, content, author="chainops", message="seen in a run")
        return ChainVersion(name, stored.version, fingerprint(canonical(content)))

    async def _pinned(
        self, call: NodeCall, now: ChainVersion, described: dict[str, Any], versions: Versions
    ) -> tuple[ChainVersion, Versions]:
        assert call.thread is not None
        number = await asyncio.to_thread(pin_thread, self.path, now.name, call.thread, now.number)
        if number == now.number:
            return now, versions
        view = await asyncio.to_thread(self._registry.look, force=True)
        pinned = view.resolve(now.name, number)
        content = pinned.value()
        held: Versions = content.get("versions", {})
        drift = differences(content, content_of(described, held))
        if drift:
            self._drifted(call, now, number, drift)
            return await self._stored(described, held), held
        return ChainVersion(now.name, number, pinned.sha256), held

    def _drifted(self, call: NodeCall, now: ChainVersion, number: int, drift: list[str]) -> None:
        if self.on_drift == "error":
            raise CallError(
                f"Thread {call.thread!r} began with version {number} of the chain {now.name!r}, but {'; '.join(drift)}",
                hint="Run it on the code that it began with, or set Chain(on_drift='warn').",
                code="chain.drift",
            )
        call.annotate(self.name, drift=drift, pinned=number)
        said = f"{now.name}@{number}: {'; '.join(drift)}"
        self._warn(said, "A thread goes on with another chain than it began with: %s", said)

    async def _model(self, model: Any) -> str:
        """The hash of the model's file; "" where it has none."""
        found = self._models.get(id(model))
        if found is not None and found[0]() is model:
            return found[1]
        identity = await asyncio.to_thread(identity_of, model)
        own = identity.get("identity")
        sha256 = str(own.get("model_sha256", "")) if isinstance(own, Mapping) else ""
        with suppress(TypeError):  # not every object can be referred to weakly
            self._models[id(model)] = weakref.ref(model), sha256
        if len(self._models) > 1000:
            self._models.clear()
        return sha256

    def _warn(self, key: str, text: str, *values: object) -> None:
        if key not in self._warned:
            self._warned.add(key)
            log.warning(text, *values)
