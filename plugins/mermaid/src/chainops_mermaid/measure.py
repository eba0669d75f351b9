"""What a trace says about the nodes of a graph: how often, how long, and what ran after what."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chainops.store.reader import SpanRow, decode

__all__ = ["END", "START", "Measured", "NodeTimes", "measure"]

START, END = "__start__", "__end__"


@dataclass(slots=True)
class NodeTimes:
    """One node over all runs. Times are milliseconds; tokens are those of the model calls in it, subgraphs included."""

    calls: int = 0
    failed: int = 0
    total_ms: float = 0.0
    tokens: int = 0

    @property
    def mean_ms(self) -> float:
        """Milliseconds of one call; 0 for a node that never ran."""
        return self.total_ms / self.calls if self.calls else 0.0


@dataclass(slots=True)
class Measured:
    """Nodes by their path, and how often one ran after another.

    Args:
        runs: number of runs.
        total_ms: of all runs together.
        nodes: by path ("research/write").
        steps: (path before, path after) to how often; ``__start__`` and ``__end__`` of the level stand for its ends.
        routes: (path, what the conditional edge behind it said) to how often.
    """

    runs: int = 0
    total_ms: float = 0.0
    nodes: dict[str, NodeTimes] = field(default_factory=dict)
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)
    routes: Counter[tuple[str, str]] = field(default_factory=Counter)


def measure(runs: Iterable[Sequence[SpanRow]]) -> Measured:
    """Add up the spans of ``runs``, each in the order in which they began, as ``Reader.spans`` gives them.

    A trace has no edges. Nodes of one level that overlap in time are one step; each node of a step counts as run after
    each of the step before. Branches that are too short to overlap look like one after the other: draw with the graph,
    where it is at hand, and the edges are its own.
    """
    found = Measured()
    for spans in runs:
        found.runs += 1
        found.total_ms += sum(span.duration_ms or 0.0 for span in spans if span.kind == "run" and span.parent is None)
        _add_nodes(found, spans)
        found.routes.update(
            (span.path, said) for span in spans if span.kind == "route" for said in _said(decode(span.output))
        )
        for level in _levels(spans).values():
            _add_steps(found.steps, level)
    return found


def _add_nodes(found: Measured, spans: Sequence[SpanRow]) -> None:
    for span in spans:
        if span.kind == "node":
            node = found.nodes.setdefault(span.path, NodeTimes())
            node.calls += 1
            node.failed += span.status in ("error", "blocked")
            node.total_ms += span.duration_ms or 0.0
    for span in spans:
        if span.kind == "model":
            tokens, path = (span.tokens_in or 0) + (span.tokens_out or 0), span.path
            while path:
                if path in found.nodes:
                    found.nodes[path].tokens += tokens
                path = path.rpartition("/")[0]


def _said(output: object) -> list[str]:
    """The names in what a conditional edge returned: one, a list of them, or anything else that has none."""
    return [each for each in (output if isinstance(output, list) else [output]) if isinstance(each, str)]


def _levels(spans: Sequence[SpanRow]) -> Mapping[int | None, list[SpanRow]]:
    """Nodes by the span around them: the run, or the node that a subgraph is."""
    levels: dict[int | None, list[SpanRow]] = defaultdict(list)
    for span in spans:
        if span.kind == "node" and span.end_ns is not None:
            levels[span.parent].append(span)
    return levels


def _add_steps(steps: Counter[tuple[str, str]], level: list[SpanRow]) -> None:
    above = level[0].path.rpartition("/")[0]
    before, now, until = {_at(above, START)}, set[str](), 0
    for span in level:
        if now and span.start_ns >= until:
            steps.update((one, other) for one in before for other in now)
            before, now = now, set()
        now.add(span.path)
        until = max(until, span.end_ns or 0)
    steps.update((one, other) for one in before for other in now)
    steps.update((one, _at(above, END)) for one in now)


def _at(above: str, name: str) -> str:
    return f"{above}/{name}" if above else name
