"""The network: a small decoder of the Llama architecture, named as GGUF names its tensors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

NORM_EPSILON = 1e-5
ROPE_BASE = 10000.0


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; `context` is the longest document seen in training, in tokens."""

    vocabulary: int
    width: int = 192
    layers: int = 4
    heads: int = 6
    kv_heads: int = 2
    hidden: int = 512
    context: int = 256

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


def rope_tables(positions: Tensor, head_width: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary angles, shape (batch, 1, time, head_width / 2)."""
    frequencies = ROPE_BASE ** -(torch.arange(0, head_width, 2).float() / head_width)
    angles = positions[:, None, :, None].float() * frequencies
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary embedding over neighbouring pairs (the order that llama.cpp uses for `llama`)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), -1).flatten(-2)


class Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self.weight, NORM_EPSILON)


class Block(nn.Module):
    """Attention with grouped key/value heads, then a gated feed-forward layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, head_width = shape.width, shape.head_width
        self.attn_norm = Norm(width)
        self.attn_q = nn.Linear(width, shape.heads * head_width, bias=False)
        self.attn_k = nn.Linear(width, shape.kv_heads * head_width, bias=False)
        self.attn_v = nn.Linear(width, shape.kv_heads * head_width, bias=False)
        self.attn_output = nn.Linear(shape.heads * head_width, width, bias=False)
        self.ffn_norm = Norm(width)
        self.ffn_gate = nn.Linear(width, shape.hidden, bias=False)
        self.ffn_up = nn.Linear(width, shape.hidden, bias=False)
        self.ffn_down = nn.Linear(shape.hidden, width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        batch, time, _ = x.shape
        normed = self.attn_norm(x)

        def heads(projected: Tensor, count: int) -> Tensor:
            return projected.view(batch, time, count, self.shape.head_width).transpose(1, 2)

        groups = self.shape.heads // self.shape.kv_heads
        query = rotate(heads(self.attn_q(normed), self.shape.heads), cosine, sine)
        key = rotate(heads(self.attn_k(normed), self.shape.kv_heads), cosine, sine).repeat_interleave(groups, 1)
        value = heads(self.attn_v(normed), self.shape.kv_heads).repeat_interleave(groups, 1)
        with torch.autocast("cpu", enabled=False):  # the CPU kernel is twice as fast backwards in single precision
            mixed = functional.scaled_dot_product_attention(query.float(), key.float(), value.float(), attn_mask=mask)
        x = x + self.attn_output(mixed.transpose(1, 2).reshape(batch, time, -1))
        normed = self.ffn_norm(x)
        down: Tensor = self.ffn_down(functional.silu(self.ffn_gate(normed)) * self.ffn_up(normed))
        return x + down


def initial_deviation(name: str, inputs: int, layers: int) -> float:
    """Standard deviation of fresh weights: 1/sqrt(inputs), less where a layer adds to the residual stream.

    The usual fixed 0.02 suits wide networks; at this width it delayed copying by thousands of steps.
    """
    if name.startswith("token_embd"):
        return 0.05
    into_residual = name.endswith(("attn_output.weight", "ffn_down.weight"))
    return float((inputs * (2 * layers if into_residual else 1)) ** -0.5)


class Network(nn.Module):
    """The decoder; input and output share one embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList([Block(shape) for _ in range(shape.layers)])
        self.output_norm = Norm(shape.width)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, 0.0, initial_deviation(name, parameter.shape[1], shape.layers))

    def forward(self, tokens: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Hidden states (batch, time, width) for token ids and positions (batch, time)."""
        cosine, sine = rope_tables(positions, self.shape.head_width)
        x = self.token_embd(tokens)
        for block in self.blk:
            x = block(x, cosine, sine, mask)
        hidden: Tensor = self.output_norm(x)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary for hidden states."""
        return functional.linear(hidden, self.token_embd.weight)

    def size(self) -> int:
        """The number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())


def save_checkpoint(path: str, network: Network, notes: dict[str, Any]) -> None:
    """Write weights, shape and notes (steps, CPU minutes, ...) to one file."""
    torch.save({"shape": network.shape.to_dict(), "weights": network.state_dict(), "notes": notes}, path)


def load_checkpoint(path: str) -> tuple[Network, dict[str, Any]]:
    """The network and the notes of a checkpoint of this recipe (weights only: no code is run)."""
    stored = torch.load(path, weights_only=True)
    network = Network(Shape(**stored["shape"]))
    network.load_state_dict(stored["weights"])
    return network, stored["notes"]
