"""The figures of benchmarks that show many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """One number of a script's JSON.

    Args:
        path: keys, joined by " > "; a number picks from a list.
        label: what it is.
        unit: "x" for a ratio.
        aim: from the project's issues; None: there is none.
        better: which way is better.
    """

    path: str
    label: str
    unit: str = "x"
    aim: float | None = None
    better: Literal["lower", "higher", "equal"] = "lower"


PIPELINE = (
    Figure("5 layers > cpu_ratio", "five layers / bare graph", aim=1.05),
    Figure("trace > cpu_ratio", "full tracing / bare graph", aim=1.10),
    Figure("null callback handler (async) > cpu_ratio", "LangChain callback handler that does nothing, async / bare"),
    Figure("null callback handler (sync) > cpu_ratio", "the same, sync / bare"),
)
INTERCEPTION = tuple(
    Figure(f"agent > {n} {who}", f"create_agent, {n} {what} / bare agent")
    for n in (1, 5, 10)
    for who, what in (
        ("layers", "of our layers"),
        ("LangChain, wrap hook", "of LangChain's middleware, wrap hook"),
        ("LangChain, node hook", "of LangChain's middleware, node hook"),
    )
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
ENGINE = (
    *(
        Figure(
            f"{calls} {work} {layout} > tokens_per_s_x",
            f"{calls} calls, {work}, {layout}: tokens/s / lock",
            "x",
            aim,
            "higher",
        )
        for calls, work, layout, aim in (
            (1, "unique", "partitioned", 0.98),
            (8, "cold", "unified", 1.5),
            (8, "cold", "partitioned", None),
            (32, "cold", "unified", 1.5),
            (32, "cold", "partitioned", None),
            (32, "warm", "unified", None),
            (32, "warm", "partitioned", None),
            (32, "unique", "unified", None),
            (32, "unique", "partitioned", None),
        )
    ),
    Figure("32 unique partitioned > first_ms_x", "32 calls, unique, partitioned: first token after / lock", "x", 0.25),
    Figure("32 cold unified > first_ms_x", "32 calls, cold, unified: first token after / lock", "x", 0.25),
    Figure("32 unique partitioned > python_share", "32 calls, unique: share of CPU outside llama.cpp", "", 0.03),
)
SEMANTIC_CACHE = (
    Figure("search > 100,000 > ms", "nearest of 100,000 vectors, CPU", "ms", 2),
    Figure("search > 100,000 > recall", "the nearest was found", "", 0.99, "higher"),
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
    Figure("end to end, long prompt, with / without", "a long prompt at a quarter, with / without", "x", 0.8),
    Figure("end to end, short prompt, with / without", "a short prompt, with / without", "x", 1.02),
)

ENGINE_SERVERS = (
    *(
        Figure(f"bars > 26MB, {what} / llama-server > measured", f"{what} / llama-server", "x", aim, "higher")
        for what, aim in (
            ("tokens/s, 8 calls, cold", 2.5),
            ("tokens/s, 32 calls, cold", 2.5),
            ("tokens/s, 32 calls, warm", 1.5),
            ("tokens/s, 16 calls, unique", 0.95),
        )
    ),
    *(
        Figure(f"bars > 26MB, {what} / llama-server > measured", f"{what} / llama-server", "x", 1.0)
        for what in ("first token, 32 calls, unique", "first token, 32 calls, cold")
    ),
    *(
        Figure(f"rates > 26MB, {cell} > {side}", f"tokens/s, {cell}: {shown} / lock", "x", None, "higher")
        for cell in ("1 calls, unique", "8 calls, cold", "16 calls, unique", "32 calls, cold", "32 calls, warm")
        for side, shown in (
            ("unified", "ours, unified"),
            ("partitioned", "ours, partitioned"),
            ("native", "llama-server"),
            ("native kvu", "llama-server, unified"),
            ("python server", "llama_cpp.server"),
        )
    ),
)
