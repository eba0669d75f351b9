"""A stored run once more, on the versions that it ran on."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainops.errors import StoreError
from chainops.held import HELD
from chainops.middleware.chain.difference import differences
from chainops.middleware.chain.middleware import KIND, content_of
from chainops.store.encode import plain
from chainops.store.reader import Reader, RunRow, SpanRow, decode
from chainops.store.registry import Registry

__all__ = ["Reproduction", "chain_of_run", "reproduce"]

TAG = "reproduce"
"""Of runs that are other ones once more."""
_VOLATILE = frozenset({"id", "tool_call_id", "response_metadata", "usage_metadata"})


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What came of running a run again.

    ``changed``: what differs between its chain and the code at hand. ``notes``: what could not be done as it was.
    """

    run_id: str
    chain: str
    same: bool
    recorded: Any
    now: Any
    changed: list[str]
    notes: list[str]


def chain_of_run(path: Path, wanted: str) -> tuple[RunRow, SpanRow, str, int, dict[str, Any]]:
    """A run, its outermost span, and name, number and content of the version of its chain.

    "last" is the newest run that is not itself one that was run again.

    Raises:
        StoreError: there is no such run, or it names no version of a chain (``store.no_chain``).
    """
    with Reader(path) as reader:
        run = reader.find_run(wanted)
        if wanted == "last" and _was_again(run):
            run = next((other for other in reader.runs(limit=10_000) if not _was_again(other)), run)
        root = next((span for span in reader.spans(run.id) if span.parent is None), None)
    named = [a for a in (decode(root.artifacts) or [] if root else []) if a.get("kind") == KIND]
    if root is None or not named:
        raise StoreError(
            f"Run {run.run_id} names no version of a chain",
            hint="Put Chain() into the pipeline, after Trace().",
            code="store.no_chain",
        )
    name, number = str(named[0]["name"]), int(named[0]["version"])
    return run, root, name, number, Registry(path, KIND).look().resolve(name, number).value()


async def reproduce(path: Path, wanted: str, graph: Any) -> Reproduction:
    """Run a stored run again, on the versions of prompts that it ran on, and compare what comes out.

    Messages are compared without their ids, timings and token counts. A run of a thread is run after the earlier runs
    of that thread, in a thread of its own.

    Args:
        graph: the instrumented graph.

    Raises:
        StoreError: the run is unknown, names no version of a chain, or its input is not recorded
            (``store.not_recorded``).
    """
    run, root, name, number, content = chain_of_run(path, wanted)
    held = content.get("versions", {})
    changed = differences(content, content_of(graph.chainops_chain(), held))
    notes: list[str] = []
    config: dict[str, Any] = {"tags": [TAG], "metadata": decode(run.meta) or {}}
    inputs = [_input(root)]
    if getattr(graph, "checkpointer", None):
        config["configurable"] = {"thread_id": f"reproduce-{uuid.uuid4()}"}
        inputs = [*_earlier(path, run, notes), *inputs]
    token = HELD.set(held)
    try:
        for given in inputs:
            now = await graph.ainvoke(given, config)
    finally:
        HELD.reset(token)
    if root.output is None:
        notes.append("the recorded run has no output on its span (content off, failed, or streamed without values)")
    recorded, came = _steady(decode(root.output)), _steady(plain(now))
    same = root.output is not None and recorded == came
    return Reproduction(run.run_id, f"{name}@{number}", same, recorded, came, changed, notes)


def _was_again(run: RunRow) -> bool:
    return TAG in (decode(run.tags) or [])


def _input(root: SpanRow) -> Any:
    """The input of a run, as a graph takes it.

    Raises:
        StoreError: it is not there, was cut, or is no state (``store.not_recorded``).
    """
    value = decode(root.input)
    if isinstance(value, Mapping) and not _is_command(value):
        return dict(value)
    why = "is not recorded" if root.input is None else "was cut, or is no state of a graph"
    raise StoreError(
        f"The input of run span {root.id} {why}",
        hint="Runs can be run again that were traced with content and began with a state.",
        code="store.not_recorded",
    )


def _is_command(value: Mapping[str, Any]) -> bool:
    return "resume" in value and "goto" in value


def _earlier(path: Path, run: RunRow, notes: list[str]) -> Iterator[Any]:
    """The inputs of the earlier runs of the thread, oldest first."""
    if run.thread is None:
        return
    with Reader(path) as reader:
        before = [r for r in reader.runs(limit=10_000, graph=run.graph, thread=run.thread) if r.id < run.id]
        for earlier in reversed(before):
            if _was_again(earlier):
                continue
            root = next((span for span in reader.spans(earlier.id) if span.parent is None), None)
            try:
                yield _input(root) if root is not None else _nothing(earlier)
            except StoreError as error:
                notes.append(f"the earlier run {earlier.run_id} is left out: {error.message}")


def _nothing(run: RunRow) -> Any:
    raise StoreError(f"run {run.run_id} has no span", code="store.not_recorded")


def _steady(value: Any) -> Any:
    """Without what differs between two runs that say the same."""
    if isinstance(value, Mapping):
        message = any(key in value for key in ("content", "args", "value"))
        return {k: _steady(v) for k, v in value.items() if not (message and k in _VOLATILE)}
    return [_steady(item) for item in value] if isinstance(value, list) else value
