"""Writes the embedder's weights as a GGUF file that llama.cpp reads."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from chainops.engines.embeddings.export import _config, _tensors

from .tiny_gguf import ARRAY, BOOL, CONTROL, F32, I32, NORMAL, STRING, U32, string, value

NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


def write_bert(weights: Path, out: Path, **more: Any) -> Path:
    """The model in ``weights``, in 32-bit floats, and ``more`` arrays; ``cls_weight`` means ``cls.weight``."""
    config, tensors = _config(weights), _tensors(weights / "model.safetensors")
    names = dict(NAMES)
    for i in range(config["num_hidden_layers"]):
        names.update({f"encoder.layer.{i}.{old}": f"blk.{i}.{new}" for old, new in LAYER.items()})
    vocabulary = json.loads((weights / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    special = [token.startswith("[") and token.endswith("]") for token in tokens]
    written = [t if s else t[2:] if t.startswith("##") else f"\u2581{t}" for t, s in zip(tokens, special, strict=True)]
    metadata: dict[str, tuple[int, Any]] = {
        "general.architecture": (STRING, "bert"),
        "general.name": (STRING, "all-MiniLM-L6-v2"),
        "bert.context_length": (U32, config["max_position_embeddings"]),
        "bert.embedding_length": (U32, config["hidden_size"]),
        "bert.feed_forward_length": (U32, config["intermediate_size"]),
        "bert.block_count": (U32, config["num_hidden_layers"]),
        "bert.attention.head_count": (U32, config["num_attention_heads"]),
        "bert.attention.layer_norm_epsilon": (F32, config["layer_norm_eps"]),
        "bert.attention.causal": (BOOL, False),
        "bert.pooling_type": (U32, 1),
        "tokenizer.ggml.model": (STRING, "bert"),
        "tokenizer.ggml.token_type_count": (U32, 2),
        "tokenizer.ggml.tokens": (ARRAY, (STRING, written)),
        "tokenizer.ggml.token_type": (ARRAY, (I32, [CONTROL if s else NORMAL for s in special])),
        "tokenizer.ggml.bos_token_id": (U32, vocabulary["[CLS]"]),
        "tokenizer.ggml.eos_token_id": (U32, vocabulary["[SEP]"]),
        "tokenizer.ggml.seperator_token_id": (U32, vocabulary["[SEP]"]),
        "tokenizer.ggml.padding_token_id": (U32, vocabulary["[PAD]"]),
        "tokenizer.ggml.unknown_token_id": (U32, vocabulary["[UNK]"]),
        "tokenizer.ggml.mask_token_id": (U32, vocabulary["[MASK]"]),
    }
    chosen = {}
    for name, array in tensors.items():
        prefix, _, kind = name.rpartition(".")
        if prefix in names:
            chosen[f"{names[prefix]}.{kind}"] = array
    chosen |= {name.replace("_", "."): array for name, array in more.items()}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(chosen), len(metadata))
    head += b"".join(
        string(key) + struct.pack("<I", kind) + value(kind, item) for key, (kind, item) in metadata.items()
    )
    place, data = 0, []
    for name, array in chosen.items():
        shape = array.shape[::-1]
        head += string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        head += struct.pack("<IQ", 0, place)
        raw = array.tobytes()
        data.append(raw + bytes(-len(raw) % 32))
        place += len(data[-1])
    out.write_bytes(head + bytes(-len(head) % 32) + b"".join(data))
    return out
