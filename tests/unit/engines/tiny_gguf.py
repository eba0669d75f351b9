"""Writes small GGUF models: real llama-architecture files whose weights are set by hand.

A *chain model* has one-hot embeddings and no attention or feed-forward output, so that each token decides the next one:
the text that it generates is known in advance, whatever the prompt was, because the prompt always ends in a newline.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

U16, U32, I32, F32, BOOL, STRING, ARRAY = 2, 4, 5, 6, 7, 8, 9
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
WIDTH_STEP = 32
LAYERS = 1

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_characters() -> list[str]:
    """GPT-2's printable stand-in for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in plain}
    spare = iter(range(256, 512))
    return [table.get(byte) or chr(next(spare)) for byte in range(256)]


BYTES = byte_characters()
END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"


def as_token(piece: bytes) -> str:
    """The vocabulary entry whose text is ``piece``."""
    return "".join(BYTES[byte] for byte in piece)


@dataclass
class Model:
    """The parts of a GGUF file; change them to break it."""

    metadata: dict[str, tuple[int, Any]]
    tensors: dict[str, tuple[tuple[int, ...], array[float]]] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        path.write_bytes(encode(self.metadata, self.tensors))
        return path


def write_parts(model: Model, folder: Path) -> Path:
    """The model as two files, metadata in the first and weights in both; returns the first."""
    names = list(model.tensors)
    halves = [names[: len(names) // 2], names[len(names) // 2 :]]
    paths = [folder / f"model-{part + 1:05}-of-00002.gguf" for part in (0, 1)]
    for number, (path, chosen) in enumerate(zip(paths, halves, strict=True)):
        split = {
            "split.no": (U16, number),
            "split.count": (U16, 2),
            "split.tensors.count": (I32, len(names)),
        }
        metadata = {**model.metadata, **split} if number == 0 else {**split}
        path.write_bytes(encode(metadata, {name: model.tensors[name] for name in chosen}))
    return paths[0]


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def value(kind: int, item: Any) -> bytes:
    if kind == ARRAY:
        inner, items = item
        body = b"".join(value(inner, each) for each in items)
        return struct.pack("<IQ", inner, len(items)) + body
    if kind == STRING:
        return string(item)
    return struct.pack({U16: "<H", U32: "<I", F32: "<f", BOOL: "<?", I32: "<i"}[kind], item)


def encode(
    metadata: Mapping[str, tuple[int, Any]], tensors: Mapping[str, tuple[tuple[int, ...], array[float]]]
) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, (kind, item) in metadata.items():
        head += string(key) + struct.pack("<I", kind) + value(kind, item)
    data = b""
    for name, (shape, values) in tensors.items():
        head += string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        head += struct.pack("<IQ", 0, len(data))
        raw = values.tobytes()
        data += raw + bytes(-len(raw) % 32)
    return head + bytes(-len(head) % 32) + data


def chain_model(pieces: Sequence[bytes], *, loop: bool = False, template: str = CHATML, context: int = 2048) -> Model:
    """A model that answers every prompt with ``pieces``, one token each, then ends (or, with ``loop``, repeats).

    Every piece must occur once only, and none may be a newline, which stands for "the prompt has ended".
    """
    assert len(set(pieces)) == len(pieces)
    known = [*BYTES, END, START, STOP]
    tokens = [*known, *(token for token in map(as_token, pieces) if token not in known)]
    number = {token: index for index, token in enumerate(tokens)}
    path = [number[as_token(piece)] for piece in pieces]
    following = dict(pairwise(path))
    newline = number[as_token(b"\n")]
    following[newline] = path[0]
    following[path[-1]] = path[0] if loop else number[STOP]
    width = -(-len(tokens) // WIDTH_STEP) * WIDTH_STEP
    return Model(_metadata(tokens, width, template, context), _tensors(len(tokens), width, following))


def _metadata(tokens: list[str], width: int, template: str, context: int) -> dict[str, tuple[int, Any]]:
    control = {END, START, STOP}
    kinds = [CONTROL if token in control else NORMAL for token in tokens]
    return {
        "general.architecture": (STRING, "llama"),
        "general.name": (STRING, "chain"),
        "llama.context_length": (U32, context),
        "llama.embedding_length": (U32, width),
        "llama.block_count": (U32, LAYERS),
        "llama.feed_forward_length": (U32, 32),
        "llama.attention.head_count": (U32, width // 32),
        "llama.attention.head_count_kv": (U32, 1),
        "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "llama.rope.dimension_count": (U32, 32),
        "llama.vocab_size": (U32, len(tokens)),
        "tokenizer.ggml.model": (STRING, "gpt2"),
        "tokenizer.ggml.pre": (STRING, "llama-bpe"),
        "tokenizer.ggml.tokens": (ARRAY, (STRING, tokens)),
        "tokenizer.ggml.token_type": (ARRAY, (I32, kinds)),
        "tokenizer.ggml.merges": (ARRAY, (STRING, [f"{BYTES[0]} {BYTES[1]}"])),
        "tokenizer.ggml.bos_token_id": (U32, tokens.index(END)),
        "tokenizer.ggml.eos_token_id": (U32, tokens.index(STOP)),
        "tokenizer.ggml.add_bos_token": (BOOL, False),
        "tokenizer.chat_template": (STRING, template),
    }


def _ones(count: int) -> array[float]:
    return array("f", [1.0]) * count


def _zeros(count: int) -> array[float]:
    return array("f", bytes(4 * count))


def _cells(width: int, rows: int, cells: Iterable[tuple[int, int]]) -> array[float]:
    matrix = _zeros(width * rows)
    for row, column in cells:
        matrix[row * width + column] = 1.0
    return matrix


def _tensors(
    vocabulary: int, width: int, following: Mapping[int, int]
) -> dict[str, tuple[tuple[int, ...], array[float]]]:
    tensors: dict[str, tuple[tuple[int, ...], array[float]]] = {
        "token_embd.weight": ((width, vocabulary), _cells(width, vocabulary, ((t, t) for t in range(vocabulary)))),
        "output_norm.weight": ((width,), _ones(width)),
        "output.weight": ((width, vocabulary), _cells(width, vocabulary, ((b, a) for a, b in following.items()))),
    }
    for layer in range(LAYERS):
        name = f"blk.{layer}."
        tensors[name + "attn_norm.weight"] = ((width,), _ones(width))
        tensors[name + "ffn_norm.weight"] = ((width,), _ones(width))
        tensors[name + "attn_q.weight"] = ((width, width), _zeros(width * width))
        tensors[name + "attn_k.weight"] = ((width, 32), _zeros(width * 32))
        tensors[name + "attn_v.weight"] = ((width, 32), _zeros(width * 32))
        tensors[name + "attn_output.weight"] = ((width, width), _zeros(width * width))
        tensors[name + "ffn_gate.weight"] = ((width, 32), _zeros(width * 32))
        tensors[name + "ffn_up.weight"] = ((width, 32), _zeros(width * 32))
        tensors[name + "ffn_down.weight"] = ((32, width), _zeros(32 * width))
    return tensors
