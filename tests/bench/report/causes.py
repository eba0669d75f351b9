"""Why an aim is missed where it is, as far as that was found; shown beside a miss."""

from __future__ import annotations

SMALL_MODEL = (
    "a model of 26 MB lies in the processor's caches, so that a step of one row costs 4.3 ms and one of 8 rows 2.1 ms "
    "for each, and the common prefix is computed once on both sides; on 130 MB, where reading the weights counts, "
    "the ratio is 1.6x to 1.9x (bench_engine_bars.py)"
)
QUEUE = (
    "all wait for the common prefix, which takes as long on both sides; on 130 MB the ratio is 0.2x "
    "(bench_engine_bars.py)"
)
CAUSES = {
    "full tracing / bare graph": (
        "7 of a span's 11 us are SQLite's, for the row, its index and the run's sums; on a graph whose nodes do "
        "nothing they are a tenth of the run"
    ),
    "CPU on the calling thread, per span": "measured beside other work: on a quiet machine it is 4.4 us",
    "sentence-transformers on torch / ours, fp32": (
        "our products read 43 MB of weights for each text and suffer from whoever else uses the memory: beside a "
        "process that copies arrays a text takes 5.6 ms and the ratio is 2.3x, while torch and int8 take as long as "
        "ever; in a quiet hour 3.0 ms and 3.6x"
    ),
    "LangGraph's SqliteCache hit / ours, at a node": (
        "LangGraph hops to a thread for each hit, which costs it little where both threads share one core: confined to "
        "one core the ratio is 4.7x, on two quiet cores 13x"
    ),
    "limits, route and retry on the good path": "measured beside other work: on a quiet machine it is 24 to 27 us",
    "numbers, per token": "measured beside other work: on a quiet machine it is 4.4 to 4.7 us",
    "8 calls, agent cold: tokens/s, ours / lock": SMALL_MODEL,
    "32 calls, agent cold: tokens/s, ours / lock": SMALL_MODEL,
    "32 calls, unique: first token after, ours / lock": QUEUE,
    "32 calls, agent cold: first token after, ours / lock": QUEUE,
    "32 calls, agent warm: tokens/s, ours / llama-server": (
        "the server kept the system prompt in each of its 32 slots from the round before, so nothing is left to share; "
        "on a quiet machine the ratio is 1.5x"
    ),
    "16 calls, unique: tokens/s, ours / llama-server": ("measured beside other work: on a quiet machine it is 1.15x"),
    "1 call: share of CPU outside llama.cpp": (
        "a token of its own takes 3.6 ms of llama.cpp and 0.23 ms for waking the event loop and reading its event; "
        "with 16 calls one wake-up serves all, on 130 MB it is 2.6 %"
    ),
    "one stream, 130 MB: share of what the memory's bandwidth allows": (
        "the bandwidth is that of a core that only reads; llama.cpp's products are bound by arithmetic: one stream is "
        "as fast as Llama and llama-server"
    ),
}
"""By label. A page in words: chainops/docs/reference/benchmarks.md."""

UNKNOWN = "no cause is known"
