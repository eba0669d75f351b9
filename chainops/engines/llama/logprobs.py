"""How likely each token was: natural logarithms, over the whole vocabulary, before any sampling option acts."""

from __future__ import annotations

from typing import Any

from chainops.engines.llama.native import Native

__all__ = ["token_logprobs"]


def token_logprobs(native: Native, row: int, token: int, top: int) -> dict[str, Any]:
    """The ``token`` chosen after ``row`` of the last decode, in OpenAI's form, with the ``top`` likeliest ones."""
    import numpy as np

    logits = native.logits(row).astype(np.float64)
    logits -= logits.max()
    logits -= np.log(np.exp(logits).sum())
    best = np.argpartition(-logits, min(top, len(logits) - 1))[:top]
    ranked = sorted(best.tolist(), key=lambda other: (-logits[other], other))
    return {
        **_entry(native, token, float(logits[token])),
        "top_logprobs": [_entry(native, other, float(logits[other])) for other in ranked],
    }


def _entry(native: Native, token: int, logprob: float) -> dict[str, Any]:
    piece = native.piece(token)
    return {"token": piece.decode(errors="replace"), "bytes": list(piece), "logprob": logprob}
