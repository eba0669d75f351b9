"""Writes llama models of any size with random weights (Q8_0): what they say is noise, what they cost is real."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
F32_TENSOR, Q8_0_TENSOR = 0, 8
BLOCK = 32
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES = {"26MB": (512, 8, 1536), "130MB": (1024, 10, 3072)}
"""Name: width, layers, width of the feed-forward part."""
WORDY = (128, 1, 256)
"""The same, of a model for a vocabulary of any size."""


def write_random_model(path: Path, size: str, *, seed: int = 0, words: int = 1024) -> Path:
    """A model of one of ``SIZES``, else a small one: heads of 64, half as many key-value heads, ``words`` tokens."""
    width, layers, inner = SIZES.get(size, WORDY)
    rng = np.random.default_rng(seed)
    heads = width // 64
    tokens = _vocabulary(words)
    tensors: dict[str, tuple[tuple[int, ...], int, bytes]] = {}

    def matrix(name: str, columns: int, rows: int) -> None:
        blocks = np.zeros((columns * rows // BLOCK, 2 + BLOCK), np.uint8)
        blocks[:, :2] = np.frombuffer(np.float16(1.7 / 127 / columns**0.5).tobytes(), np.uint8)
        blocks[:, 2:] = rng.integers(-127, 128, (len(blocks), BLOCK), np.int8).view(np.uint8)
        tensors[name] = ((columns, rows), Q8_0_TENSOR, blocks.tobytes())

    def norm(name: str) -> None:
        tensors[name] = ((width,), F32_TENSOR, np.ones(width, np.float32).tobytes())

    matrix("token_embd.weight", width, len(tokens))
    matrix("output.weight", width, len(tokens))
    shape, kind, output = tensors["output.weight"]
    row = len(output) // len(tokens)  # no logits for halves of characters and marks: every answer has its full length
    tensors["output.weight"] = shape, kind, output[: 128 * row] + bytes(131 * row) + output[259 * row :]
    norm("output_norm.weight")
    for layer in range(layers):
        block = f"blk.{layer}."
        norm(block + "attn_norm.weight")
        norm(block + "ffn_norm.weight")
        matrix(block + "attn_q.weight", width, width)
        matrix(block + "attn_k.weight", width, width // 2)
        matrix(block + "attn_v.weight", width, width // 2)
        matrix(block + "attn_output.weight", width, width)
        matrix(block + "ffn_gate.weight", width, inner)
        matrix(block + "ffn_up.weight", width, inner)
        matrix(block + "ffn_down.weight", inner, width)
    keys: dict[str, tuple[int, Any]] = {
        "general.architecture": (STRING, "llama"),
        "general.name": (STRING, f"random {size}"),
        "llama.context_length": (U32, 4096),
        "llama.embedding_length": (U32, width),
        "llama.block_count": (U32, layers),
        "llama.feed_forward_length": (U32, inner),
        "llama.attention.head_count": (U32, heads),
        "llama.attention.head_count_kv": (U32, heads // 2),
        "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "llama.rope.dimension_count": (U32, 64),
        "llama.vocab_size": (U32, len(tokens)),
        "tokenizer.ggml.model": (STRING, "gpt2"),
        "tokenizer.ggml.pre": (STRING, "llama-bpe"),
        "tokenizer.ggml.tokens": (ARRAY, (STRING, tokens)),
        "tokenizer.ggml.token_type": (ARRAY, (I32, [3 if token[:2] == "<|" else 1 for token in tokens])),
        "tokenizer.ggml.merges": (ARRAY, (STRING, [f"{tokens[0]} {tokens[1]}"])),
        "tokenizer.ggml.bos_token_id": (U32, 256),
        "tokenizer.ggml.eos_token_id": (U32, 258),
        "tokenizer.ggml.add_bos_token": (BOOL, False),
        "tokenizer.chat_template": (STRING, CHATML),
    }
    head, offset = b"", 0
    for name, (shape, kind, data) in tensors.items():
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        offset += len(data) + -len(data) % 32
    for key, (kind, item) in reversed(keys.items()):
        head = _string(key) + struct.pack("<I", kind) + _value(kind, item) + head
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + head
    with path.open("wb") as file:
        file.write(head + bytes(-len(head) % 32))
        for _, _, data in tensors.values():
            file.write(data + bytes(-len(data) % 32))
    return path


def _vocabulary(words: int) -> list[str]:
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    characters = [chr(byte) if byte in plain else chr(next(spare)) for byte in range(256)]
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return [*characters, *marks, *(f"w{number:03}" for number in range(words - 256 - len(marks)))]


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(kind: int, item: Any) -> bytes:
    if kind == ARRAY:
        inner, items = item
        return struct.pack("<IQ", inner, len(items)) + b"".join(_value(inner, each) for each in items)
    if kind == STRING:
        return _string(item)
    return struct.pack({U32: "<I", F32: "<f", BOOL: "<?", I32: "<i"}[kind], item)
