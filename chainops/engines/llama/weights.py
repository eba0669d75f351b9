"""What a model file weighs: its tensors by layer, what one generated token reads of them, and how they are stored."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Any

from chainops.engines.llama.gguf import Tensor, read_header
from chainops.engines.llama.model_file import ModelFile

__all__ = ["Weights", "quantisation", "read_weights"]

TYPE_NAMES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}  # fmt: skip
"""ggml type id -> its name in llama.cpp."""

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
}  # fmt: skip
"""``general.file_type`` -> its name in llama.cpp."""

LAYER = re.compile(r"blk\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of a model.

    Args:
        total: of all tensors.
        layers: of each layer, in order.
        outside: of what belongs to no layer: embedding, last norm, output.
        per_token: read to generate one token. Of the embedding one row is read, unless it is the output as well; of
            experts only those that a token goes through.
        parameters: how many numbers there are.
        quantisation: how most bytes are stored, for example ``"Q8_0"``.
    """

    total: int
    layers: tuple[int, ...]
    outside: int
    per_token: int
    parameters: int
    quantisation: str


def quantisation(metadata: dict[str, Any], tensors: tuple[Tensor, ...]) -> str:
    """The name that the file gives, else the type that most bytes have."""
    named = FILE_TYPES.get(metadata.get("general.file_type", -1))
    if named is not None:
        return named
    sizes: Counter[int] = Counter()
    for tensor in tensors:
        sizes[tensor.type] += tensor.size
    kind = sizes.most_common(1)[0][0]
    return TYPE_NAMES.get(kind, f"type {kind}")


def read_weights(file: ModelFile) -> Weights:
    """The weights of a file that was checked; reads the headers of its parts, not the weights."""
    tensors = tuple(tensor for part in file.parts for tensor in read_header(part).tensors)
    layers = [0] * file.number("block_count")
    tied = all(tensor.name != "output.weight" for tensor in tensors)
    used, experts = file.number("expert_used_count"), file.number("expert_count")
    outside, per_token = 0, 0.0
    for tensor in tensors:
        match = LAYER.match(tensor.name)
        if match and int(match[1]) < len(layers):
            layers[int(match[1])] += tensor.size
        else:
            outside += tensor.size
        if tensor.name == "token_embd.weight" and not tied:
            per_token += tensor.size / tensor.shape[-1]
        elif "_exps." in tensor.name and 0 < used < experts:
            per_token += tensor.size * used / experts
        else:
            per_token += tensor.size
    return Weights(
        total=sum(tensor.size for tensor in tensors),
        layers=tuple(layers),
        outside=outside,
        per_token=int(per_token),
        parameters=sum(prod(tensor.shape) for tensor in tensors),
        quantisation=quantisation(file.metadata, tensors),
    )
