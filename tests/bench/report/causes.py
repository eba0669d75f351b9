"""Why an aim is missed where it is, as far as that was found; shown beside a miss."""

from __future__ import annotations

SMALL_MODEL = (
    "a model of 26 MB lies in the processor's caches, so that a step of one row costs 4 ms and one of 16 rows 2.2 ms "
    "for each, and the common prefix is computed once on both sides: (26 + 16 · 4) / (26 + 16 · 2.2) is 1.47"
)
QUEUE = (
    "the median call waits until those before it have been read: what the lock computes one after another is computed "
    "here at once, and on a quiet machine the lock is quicker"
)
CAUSES = {
    "full tracing / bare graph": (
        "7 of a span's 11 us are SQLite's, for the row, its index and the run's sums; on a graph whose nodes do "
        "nothing they are a tenth of the run"
    ),
    "CPU on the calling thread, per span": "measured beside other work: on a quiet machine it is 4.4 us",
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
        "the server kept the system prompt in each of its 32 slots from the round before, so nothing is left to share"
    ),
    "16 calls, unique: tokens/s, ours / llama-server": (
        "3 % is spent outside of llama.cpp; for the rest no cause was found. Larger slices of prompts and larger "
        "batches made no difference"
    ),
    "1 call: share of CPU outside llama.cpp": (
        "a token of its own takes milliseconds of llama.cpp and 0.25 ms for waking the event loop and reading its "
        "event; with 16 calls one wake-up serves all"
    ),
    "one stream, 130 MB: share of what the memory's bandwidth allows": (
        "the bandwidth is that of a core that only reads; one that multiplies what it reads is bound by arithmetic"
    ),
}
"""By label. A page in words: chainops/docs/reference/benchmarks.md."""

UNKNOWN = "no cause is known"
