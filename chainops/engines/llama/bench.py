"""How fast a model is here: one call at a time, against the bound that the memory's bandwidth sets."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from chainops.engines.llama.fit import read_bandwidth
from chainops.engines.llama.loading import threads_for
from chainops.engines.llama.memory import kv_bytes_per_token
from chainops.engines.llama.weights import read_weights

if TYPE_CHECKING:
    from chainops.engines.llama.chat_model import ChatLlama
    from chainops.engines.llama.model_file import ModelFile

__all__ = ["measure"]


def measure(
    model: ChatLlama, file: ModelFile, *, prompt_tokens: int = 256, tokens: int = 64, repeat: int = 5
) -> dict[str, Any]:
    """Tokens per second of prompt and answer: the best and the median of ``repeat`` calls.

    Every call begins with another word, so that none finds the prompt of the one before. An answer that ends by itself
    is shorter than ``tokens``; its rate counts all the same. Blocks.

    Returns:
        ``prefill_tps``, ``decode_tps`` and their ``_median``; ``limit_tps = bandwidth / (weights and cache read per
        token)`` with the bandwidth of as many threads; ``share_of_limit``; how much was computed.
    """
    weights = read_weights(file)
    each = max(len(model.session.token_ids(" parcel")), 1)
    prefill, decode, generated, prompt, last = [], [], 0, 0, 0
    for number in range(repeat + 1):
        words = max(prompt_tokens // each - 8, 1)
        answer = model.invoke(f"{number} round{' parcel' * words}", max_tokens=tokens, temperature=0.0)
        usage, timings = answer.usage_metadata, answer.response_metadata["timings"]
        if usage is None or not number:
            continue  # the first call also loads the model and warms the processor's caches
        computed = usage["input_tokens"] - usage.get("input_token_details", {}).get("cache_read", 0)
        prefill.append(computed / timings["prefill_ms"] * 1000)
        last = usage["input_tokens"] + usage["output_tokens"] // 2
        if usage["output_tokens"]:
            decode.append(timings["tokens_per_second"])
        generated, prompt = generated + usage["output_tokens"], prompt + usage["input_tokens"]
    threads = model.n_threads or threads_for(file)
    bandwidth = read_bandwidth(weights.per_token, threads=threads)
    limit = bandwidth / (weights.per_token + kv_bytes_per_token(file.metadata) * last)
    best = max(decode, default=0.0)
    return {
        "prefill_tps": max(prefill),
        "prefill_tps_median": median(prefill),
        "decode_tps": best,
        "decode_tps_median": median(decode) if decode else 0.0,
        "threads": threads,
        "bandwidth": bandwidth,
        "limit_tps": limit,
        "share_of_limit": best / limit,
        "rounds": repeat,
        "prompt_tokens": prompt,
        "generated_tokens": generated,
    }
