"""What is measured: scripts, their figures, and what each aims at."""

from __future__ import annotations

from dataclasses import dataclass, field

from figures import (
    COMPRESS,
    ENGINE,
    FOOTPRINT,
    GROWTH,
    INTERCEPTION,
    PIPELINE,
    SEMANTIC_CACHE,
    TRACERS,
    Figure,
)


@dataclass(frozen=True)
class Bench:
    """A script in ``tests/bench``.

    Args:
        name: for ``ONLY=``.
        gain: what a user has of it.
        figures: what is shown; none: the script's own text.
        args, quick: arguments of a full and of a quick run; None: not run when quick.
        peers: environments that it can use; "{peers}" and "{python:NAME}" in the arguments.
        plot: what is drawn: "bars" of the ratios, the "series" of the growth script, "concurrency", "retention".
    """

    name: str
    gain: str
    figures: tuple[Figure, ...] = ()
    script: str = ""
    args: tuple[str, ...] = ()
    quick: tuple[str, ...] | None = ()
    peers: tuple[str, ...] = ()
    plot: str = "bars"
    seconds: int = 600
    notes: str = field(default="")


BENCHES = (
    Bench(
        "pipeline",
        "layers around every node cost nothing that can be felt",
        PIPELINE,
        args=("--rounds", "40"),
        quick=("--rounds", "8"),
    ),
    Bench(
        "interception",
        "layers cost less than LangChain's own middleware and callbacks",
        INTERCEPTION,
        args=("--rounds", "20"),
        quick=("--rounds", "7"),
    ),
    Bench(
        "tracer",
        "a span costs microseconds and is on disk 20 ms later",
        (
            Figure("caller_us_per_span > all", "CPU on the calling thread, per span", "us", 5),
            Figure("total_cpu_us_per_span > all", "CPU of the process, per span", "us", 15),
            Figure("durable_ratio_writer > all", "durable rows / raw executemany", "x", 0.6, "higher"),
            Figure("durable_ratio_middleware > all", "the same, calls and writer in one process", "x", None, "higher"),
            Figure("kill_9 > oldest_lost_ms > worst", "kill -9: oldest span lost, worst of seven", "ms", 25),
        ),
        quick=("--spans", "5000"),
    ),
    Bench(
        "tracers",
        "a trace without a server costs less than sending spans to one",
        TRACERS,
        args=("--peers", "{peers}", "--rounds", "7"),
        quick=None,
        peers=("opentelemetry", "langfuse", "langsmith", "mlflow", "phoenix"),
        seconds=900,
    ),
    Bench(
        "cache",
        "a known answer comes at once",
        (
            Figure(
                "LangGraph's async SqliteCache hit / exact hit at the node > ratio, wall",
                "LangGraph's SqliteCache hit / ours, at a node",
                "x",
                10,
                "higher",
                ("CPU", "LangGraph's async SqliteCache hit / exact hit at the node > ratio, CPU"),
            ),
            Figure(
                "bare diskcache get / LRU get > ratio, wall",
                "bare diskcache get / our LRU",
                "x",
                2,
                "higher",
                ("CPU", "bare diskcache get / LRU get > ratio, CPU"),
            ),
            Figure(
                "bare diskcache get / disk tier get (decoded) > ratio, wall",
                "bare diskcache get / our disk tier, decoded",
                "x",
                None,
                "higher",
                ("CPU", "bare diskcache get / disk tier get (decoded) > ratio, CPU"),
            ),
            Figure("writes > ours on the caller's path, us", "a write, on the caller's path", "us", 20),
            Figure("writes > ratio, wall", "diskcache set / that write", "x", None, "higher"),
            Figure(
                "model call answered from the cache (10 messages) > us", "a model call of ten messages, a hit", "us"
            ),
            Figure("1,000 equal calls at once > model ran", "1,000 equal calls at once: the model ran", "times", 1),
        ),
        args=("--rounds", "40"),
        quick=("--rounds", "10"),
    ),
    Bench(
        "cache_peer",
        "a known answer comes sooner than from LangChain's cache",
        tuple(
            Figure(f"{path}, wall", label, "x", None, "higher", ("CPU", f"{path}, cpu"))
            for path, label in (
                ("lookup / LRU", "LangChain's SQLiteCache, a lookup / our LRU"),
                ("lookup / disk tier", "LangChain's SQLiteCache, a lookup / our disk tier"),
                ("model call / model call", "a model call of ten messages, a hit: SQLiteCache / ours"),
            )
        )
        + tuple(
            Figure(f"{side}, model call, us wall", f"a model call of ten messages, a hit: {side}", "us")
            for side in ("SQLiteCache", "ours")
        ),
        args=("--peer", "{python:langchain_cache}"),
        quick=None,
        peers=("langchain_cache",),
    ),
    Bench(
        "semantic_cache",
        "answers by meaning, with a bound on wrong ones",
        SEMANTIC_CACHE,
        args=("--questions={data}/banking77/train.csv",),
        quick=(),
        notes="The rows on labelled questions need DATA=FOLDER with banking77/train.csv.",
    ),
    Bench(
        "embeddings",
        "vectors without torch",
        (
            Figure("fp32 > torch / ours", "sentence-transformers on torch / ours, fp32", "x", 3, "higher"),
            Figure("int8 > torch / ours", "the same / ours, int8", "x", None, "higher"),
            Figure("fp32 > ms", "a short text, fp32, one thread", "ms"),
            Figure("int8 > ms", "a short text, int8, one thread", "ms"),
        ),
        args=("--peer={python:torch}",),
        quick=(),
        peers=("torch",),
    ),
    Bench(
        "gate",
        "a guarded stream flows",
        (
            Figure("0 > us_per_token", "words, per token", "us", 5),
            Figure("0 > at_once", "words that leave at once", "", 1.0, "higher"),
            Figure("1 > us_per_token", "numbers, per token", "us", 5),
        ),
        quick=("--rounds", "10"),
    ),
    Bench(
        "limits",
        "many can wait, in order, for little",
        (
            Figure("asyncio-throttle CPU / ours", "asyncio-throttle's CPU / ours, 1,000 waiters", "x", 4, "higher"),
            Figure("waiters > ours > overtakes", "late arrivals that overtake, ours", "", 0),
            Figure("waiters > asyncio-throttle > overtakes", "late arrivals that overtake, asyncio-throttle", ""),
            Figure("waiters > aiolimiter > overtakes", "late arrivals that overtake, aiolimiter", ""),
            Figure("waiters > ours > most_in_1_s", "most in one second, limit 200, ours", "", 204),
            Figure("waiters > aiolimiter > most_in_1_s", "most in one second, limit 200, aiolimiter", ""),
            Figure("aiolimiter CPU / ours", "aiolimiter's CPU / ours, 1,000 waiters", "x", None, "higher"),
            Figure("layer_us", "a call that need not wait, CPU", "us", other=("wall", "layer_us, wall")),
        ),
        quick=("--rounds", "0"),
        notes="The thousand waiters take 5 s each time: a quick run leaves them out.",
    ),
    Bench(
        "gateway",
        "routing, retries and limits in front of every call",
        (
            Figure("decision_us, new question", "a decision, new question", "us", 50),
            Figure(
                "limits + route + retry, us",
                "limits, route and retry on the good path",
                "us",
                30,
                other=("wall", "limits + route + retry, us wall"),
            ),
            Figure("LiteLLM / ours", "LiteLLM's Router, mocked / ours", "x", None, "higher"),
            Figure(
                "answered in time, 30 % of one deployment failing",
                "answered in time while one deployment fails 30 %",
                "",
                0.999,
                "higher",
            ),
        ),
        args=("--peer", "{python:litellm}"),
        quick=("--rounds", "7"),
        peers=("litellm",),
    ),
    Bench(
        "budgets",
        "budgets that hold across processes",
        (
            Figure("difference", "4 processes x 1,000 calls: charged less the sum of costs", "", 0),
            Figure("most spent of a hard budget", "most spent of a hard budget of 600,000", "", 600_000),
            Figure(
                "nothing, 1 at once, us CPU",
                "a call without layers, CPU",
                "us",
                other=("wall", "nothing, 1 at once, us wall"),
            ),
            Figure(
                "cost, 1 at once, us CPU",
                "with costs, CPU",
                "us",
                other=("wall", "cost, 1 at once, us wall"),
            ),
            Figure(
                "budgets and cost, 1 at once, us CPU",
                "with costs and budgets, one by one, CPU",
                "us",
                other=("wall", "budgets and cost, 1 at once, us wall"),
            ),
            Figure(
                "budgets and cost, 100 at once, us CPU",
                "with both, 100 at once, CPU",
                "us",
                other=("wall", "budgets and cost, 100 at once, us wall"),
            ),
        ),
        quick=("--calls", "200"),
    ),
    Bench(
        "prompts",
        "versions and labels cost nothing per call",
        (
            Figure(
                "cached render / bare compiled template",
                "cached render / bare Jinja template",
                "x",
                1.5,
                other=("CPU", "cached render / bare compiled template, CPU"),
            ),
            Figure(
                "compiling per call / cached render",
                "compiling per call / cached render",
                "x",
                40,
                "higher",
                ("CPU", "compiling per call / cached render, CPU"),
            ),
            Figure("resolve a label, us", "resolving a label", "us", 20),
        ),
        quick=("--rounds", "60"),
    ),
    Bench(
        "compress",
        "long prompts get shorter and keep the answer",
        COMPRESS,
        plot="retention",
        args=("--rounds", "7", "--no-styles", "--data={data}/qa/qa_dev.jsonl"),
        quick=None,
        notes="The rows on HaluEval need DATA=FOLDER with qa/qa_dev.jsonl.",
    ),
    Bench(
        "rails",
        "rails on every node cost what pattern matching costs",
        (
            *(
                Figure(
                    f"{runs} > {side} > cpu",
                    f"{shown}: {what} / bare graph",
                    "x",
                    aim,
                    other=("wall", f"{runs} > {side} > wall"),
                )
                for runs, shown, limit in (
                    ("five nodes, one run", "five nodes", 1.25),
                    ("five nodes, 100 runs at once", "100 runs at once", 1.3),
                )
                for side, what, aim in (
                    ("pattern rails", "pattern rails on every node", limit),
                    ("NeMo folder, adapter", "a NeMo folder on every node", limit),
                    ("NeMo IORails", "NeMo's IORails on every node", None),
                    ("NeMo LLMRails", "NeMo's LLMRails on every node", None),
                )
            ),
            Figure("one check > pattern rail, us", "one check, our patterns", "us"),
            Figure("one check > rail of a NeMo folder, us", "one check, a pattern rail of a NeMo folder", "us"),
            Figure("one check > IORails, us", "one check, NeMo's IORails", "us"),
            Figure("one check > LLMRails, us", "one check, NeMo's LLMRails", "us"),
            Figure("stream > more, us", "stream gate, a token", "us", 5),
            Figure("jailbreak rail > 12 words, ms CPU", "the jailbreak rail on 12 words", "ms"),
            Figure("jailbreak rail > 250 words, ms CPU", "the jailbreak rail on 250 words", "ms"),
        ),
        args=("--rounds", "15"),
        quick=("--rounds", "7", "--no-llmrails"),
    ),
    Bench(
        "pii",
        "personal data found in time",
        (
            Figure("dense_ms_per_kb", "text full of values, CPU per KB", "ms", 1.0),
            Figure("plain_ms_per_kb", "text without any, CPU per KB", "ms"),
            Figure("bare_dense_ms_per_kb", "nine bare regular expressions, the same full text", "ms"),
            Figure("stream_words_us", "a token of ordinary words in a stream", "us", 5),
            Figure("stream_mail_words_us", "the same, mail addresses only", "us", 5),
            Figure("stream_numbers_us", "a token between cards and keys", "us"),
            Figure("stream_records_us", "a token of records: dates, amounts, telephones", "us"),
            Figure("stream_table_us", "a token of a table of numbers", "us"),
            Figure("hostile_ratio", "hostile texts, 50 KB / 12.5 KB; linear is 4", "x", 6),
        ),
        args=("--rounds", "60"),
        quick=("--rounds", "7"),
    ),
    Bench(
        "engine",
        "many calls to a local model at once: sooner than one after another, or a server beside the process",
        ENGINE,
        args=("--native={llama-server}",),
        quick=None,
        seconds=1500,
        notes="The rows of llama-server need LLAMA_SERVER=PROGRAM; python tests/bench/llama_server.py builds one.",
        plot="concurrency",
        script="bench_engine_report.py",
    ),
    Bench(
        "engine_parts",
        "what each part of the local model's scheduler saves",
        tuple(
            Figure(name, label, "x", aim, "higher")
            for name, label, aim in (
                ("greedy", "likeliest tokens: row by row / at once", None),
                ("grammar", "grammar: the whole vocabulary / the chosen token", None),
                ("disk", "a prefix: computed / read from a file", None),
                ("guesses, steps", "steps of tool calls, tiny model: without / with guesses", None),
                ("literals", "CPU of tool calls, 130 MB: without / with guesses", None),
                ("batches", "prompts and answers in one batch / in their own", None),
            )
        ),
        args=("--rounds", "7"),
        quick=None,
    ),
    Bench(
        "threads",
        "a local model gives way to other work and stays quick",
        (
            Figure("giving way", "tokens/s beside a busy process / alone", "x", 0.4, "higher"),
            Figure("fixed", "the same with a fixed number of threads", "x", None, "higher"),
        ),
        args=("--rounds", "7"),
        quick=None,
    ),
    Bench(
        "cli",
        "the command line answers at once",
        (
            Figure("chainops --help > ratio", "chainops --help / a bare Typer program's", "x", 1.5),
            Figure("chainops --version > ratio", "chainops --version / the same", "x", 1.0),
        ),
        quick=("--rounds", "7"),
    ),
    Bench("footprint", "what is installed and loaded", FOOTPRINT, quick=("--rounds", "7", "--few")),
    Bench(
        "growth",
        "it stays so when there is more",
        GROWTH,
        args=("--folder={growth}",),
        quick=("--quick",),
        plot="series",
        seconds=2400,
        notes="10 million spans need GROWTH=FOLDER, which keeps the file of 4 GB; making it takes 8 minutes, once.",
    ),
)
