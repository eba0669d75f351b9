"""The figures of benchmarks that show many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """One number of a script's JSON, or a list of them: one for each repetition.

    Args:
        path: keys, joined by " > "; a number picks from a list.
        label: what it is.
        unit: "x" for a ratio.
        aim: from the project's issues; None: there is none.
        better: which way is better.
        other: path of the same by the other clock, shown beside it: ("wall", PATH) or ("CPU", PATH).
    """

    path: str
    label: str
    unit: str = "x"
    aim: float | None = None
    better: Literal["lower", "higher", "equal"] = "lower"
    other: tuple[str, str] | None = None


PIPELINE = tuple(
    Figure(f"{name} > cpu_ratios", label, aim=aim, other=("wall", f"{name} > wall_ratios"))
    for name, label, aim in (
        ("5 layers", "five layers / bare graph", 1.05),
        ("trace", "full tracing / bare graph", 1.10),
        ("null callback handler (async)", "LangChain callback handler that does nothing, async / bare", None),
        ("null callback handler (sync)", "the same, sync / bare", None),
    )
)
INTERCEPTION = (
    *(
        Figure(
            f"graph > {name} > cpu",
            f"ten nodes, {what} / bare graph",
            "x",
            aim,
            other=("wall", f"graph > {name} > wall"),
        )
        for name, what, aim in (
            ("0 layers", "an empty pipeline", None),
            ("1 layers", "1 layer", None),
            ("5 layers", "5 layers", 1.05),
            ("10 layers", "10 layers", None),
            ("a callback handler, async", "a callback handler, async", None),
            ("a callback handler, sync", "a callback handler, sync", None),
        )
    ),
    *(
        Figure(
            f"agent > {n} {who} > cpu",
            f"create_agent, {n} {what} / bare agent",
            other=("wall", f"agent > {n} {who} > wall"),
        )
        for n in (1, 5, 10)
        for who, what in (
            ("layers", "of our layers"),
            ("LangChain, wrap hook", "of LangChain's middleware, wrap hook"),
            ("LangChain, node hook", "of LangChain's middleware, node hook"),
        )
    ),
)
TRACERS = tuple(
    Figure(f"{name} > {key}", f"{name}: {what}", unit)
    for key, what, unit in (
        ("cpu / ours", "CPU per span / ours", "x"),
        ("rate", "spans per second", "1/s"),
        ("bytes", "bytes per span, stored or sent", "B"),
        ("survived", "share that survives kill -9", ""),
    )
    for name in ("chainops", "opentelemetry", "langfuse", "langsmith", "mlflow", "phoenix")
    if key != "survived" or name in ("chainops", "mlflow", "phoenix")
)
_WORK = {"unique": "unique", "cold": "agent cold", "warm": "agent warm"}
_CELLS = [(calls, "unique") for calls in (1, 4, 8, 16, 32)] + [(calls, "cold") for calls in (1, 8, 32)] + [(32, "warm")]
_ONE_BY_ONE = ((1, "unique"), (8, "cold"), (16, "unique"))
_TO_LOCK = {(1, "unique"): 0.98, (8, "cold"): 1.5, (32, "cold"): 1.5}
_TO_SERVER = {(8, "cold"): 2.5, (32, "cold"): 2.5, (32, "warm"): 1.5, (16, "unique"): 0.95}
_FIRST = ((32, "unique"), (32, "cold"))


def _calls(number: int) -> str:
    return "1 call" if number == 1 else f"{number} calls"


def _tokens(cell: tuple[int, str], side: str, other: str, shown: str, aim: float | None) -> Figure:
    calls, work = cell
    path = f"{calls} {work} > {side} / {other}, tokens_per"
    label = f"{_calls(calls)}, {_WORK[work]}: tokens/s, {shown}"
    return Figure(f"{path}_s", label, "x", aim, "higher", ("CPU", f"{path}_cpu_s"))


def _first(cell: tuple[int, str], side: str, other: str, shown: str, aim: float | None) -> Figure:
    calls, work = cell
    label = f"{_calls(calls)}, {_WORK[work]}: first token after, {shown}"
    return Figure(f"{calls} {work} > {side} / {other}, first_ms", label, "x", aim)


ENGINE = (
    *(_tokens(cell, "ours", "lock", "ours / lock", _TO_LOCK.get(cell)) for cell in _CELLS),
    *(_tokens(cell, "llama-server", "lock", "llama-server / lock", None) for cell in _CELLS),
    *(_tokens(cell, "llama_cpp.server", "lock", "llama_cpp.server / lock", None) for cell in _ONE_BY_ONE),
    *(_tokens(cell, "ours", "llama-server", "ours / llama-server", aim) for cell, aim in _TO_SERVER.items()),
    *(_first(cell, "ours", "lock", "ours / lock", 0.25 if cell in _FIRST else None) for cell in _CELLS),
    *(_first(cell, "llama-server", "lock", "llama-server / lock", None) for cell in _CELLS),
    *(_first(cell, "llama_cpp.server", "lock", "llama_cpp.server / lock", None) for cell in _ONE_BY_ONE),
    *(_first(cell, "ours", "llama-server", "ours / llama-server", 1.0) for cell in _FIRST),
    Figure("1 unique > ours, python_share", "1 call: share of CPU outside llama.cpp", "", 0.03),
    Figure("16 unique > ours, python_share", "16 calls, unique: share of CPU outside llama.cpp", "", 0.03),
    Figure("32 cold > ours, python_share", "32 calls, agent cold: share of CPU outside llama.cpp", "", 0.03),
    Figure(
        "bandwidth > share of the limit",
        "one stream, 130 MB: share of what the memory's bandwidth allows",
        "",
        0.6,
        "higher",
    ),
    Figure("bandwidth > tokens per second", "the same: tokens per second", "1/s", None, "higher"),
    Figure(
        "bandwidth > GB/s that a core reads",
        "the same: bandwidth of one core, measured beside it",
        "GB/s",
        None,
        "higher",
    ),
)
_READS = ("list", "list of one thread", "show", "totals of a run")
GROWTH = (
    *(Figure(f"largest > {name}", f"largest file: {name}", "ms", 50) for name in _READS),
    *(
        Figure(f"largest > search, {name}", f"largest file: search, {name}", "ms", 300)
        for name in ("rare word", "common word", "two words")
    ),
    Figure("largest > spans", "largest file: spans in it", "", None, "higher"),
)
FOOTPRINT = (
    *(
        Figure(f"{name} > cpu_ms", f"{label}: time", "ms", other=("wall", f"{name} > wall_ms"))
        for name, label in (
            ("import chainops", "import chainops"),
            ("import langgraph.graph", "import langgraph.graph"),
            ("chainops.instrument, first use", "chainops.instrument, first use (loads LangGraph)"),
            ("App with trace, cache, limits, route, retry", "an App with trace, cache, limits, route, retry"),
            ("chainops demo --yes", "chainops demo --yes, the whole command"),
        )
    ),
    *(
        Figure(f"{name} > mib", f"{name}: peak memory", "MiB")
        for name in (
            "python, nothing imported",
            "import chainops",
            "import langgraph.graph",
            "App with trace, cache, limits, route, retry",
            "chainops demo --yes",
        )
    ),
    Figure("package on disk, MiB", "size on disk, the package alone", "MiB"),
    Figure("with all it needs, MiB", "size on disk, with all it needs (no extras)", "MiB"),
)
SEMANTIC_CACHE = (
    Figure("search > 100,000 > ms", "nearest of 100,000 vectors, CPU", "ms", 2),
    Figure("search > 100,000 > recall", "the nearest was found", "", 0.99, "higher"),
    Figure("search > 100,000 > all cosines / ours", "a threshold on all cosines / ours, CPU", "x", None, "higher"),
    *(
        Figure(f"questions > {name}, {rule} > {key}", f"{name}, {rule}: {what}", "", None, better)
        for name, rule in (
            ("score and guards", "bound 1%"),
            ("score and guards", "bound 2%"),
            ("cosine alone", "bound 2%"),
            ("cosine alone", "threshold 0.8"),
            ("cosine alone", "threshold 0.9"),
        )
        for key, what, better in (("hits", "answered", "higher"), ("wrong", "of them wrong", "lower"))
    ),
)

COMPRESS = (
    *(
        Figure(
            f"{key}, {method}, {share}: sentence",
            f"{name}, answer sentences kept at {share}, {method}",
            "",
            aim if method == "ours" else None,
            "higher",
        )
        for key, name in (("made", "made questions"), ("data", "HaluEval"))
        for share, aim in (("20%", 0.95), ("10%", 0.90))
        for method in ("ours", "BM25", "TextRank", "trim_messages", "head", "tail")
    ),
    Figure("lexical stages, tokens/s", "lexical stages, tokens per second, one core", "1/s", 5000, "higher"),
    Figure("overhead when it fits, bytes prove it, us", "the layer where the prompt fits, bytes prove it", "us", 50),
    Figure("overhead when it fits, counted, us", "the layer where the prompt fits, counted", "us", 50),
    *(
        Figure(path, label, "x", aim, other=("CPU", f"{path}, CPU"))
        for path, label, aim in (
            ("end to end, long prompt, with / without", "a long prompt at a quarter, with / without", 0.8),
            ("end to end, short prompt, with / without", "a short prompt, with / without", 1.02),
        )
    ),
)
