"""The network: a small decoder of the Llama architecture, named as GGUF names its tensors."""

from __future__ import annotations

import math
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


def start_copying(network: Network) -> None:
    """Set fresh weights so that the network copies from the first step: what came after this token where it stood last?

    That is the circuit (an induction head) that training finds by itself, late or never at this size:

    - the embedding's first two thirds hold the token, its last place a constant;
    - two heads of layer 0 look one and two tokens back (their score is a cosine of the distance) and note what stands
      there in the last third;
    - three heads of layer 1 look for a place whose notes are the tokens here, and write the token of that place.

    Everything else is random and small, and all of it is trained.
    """
    shape = network.shape
    tokens, notes, size = shape.width * 2 // 3, shape.width // 6, shape.head_width
    first, second = network.blk[0], network.blk[1]
    basis = torch.linalg.qr(torch.randn(tokens, tokens))[0]
    noted = basis[:notes]
    with torch.no_grad():
        for depth, block in enumerate(network.blk):
            block.attn_output.weight *= 0.1 if depth < 2 else 0.3
            block.ffn_down.weight *= 0.1 if depth < 2 else 0.3
        network.token_embd.weight[:, :tokens] *= 1.2
        network.token_embd.weight[:, tokens:] *= 0.1
        network.token_embd.weight[:, -1] += 0.35
        for head in range(2):
            low, target = head * size, tokens + head * notes
            rows = slice(low, low + size)
            for matrix in (first.attn_q.weight, first.attn_k.weight, first.attn_v.weight):
                matrix[rows] *= 0.1
            for pair in range(5):
                angle = (head + 1) * ROPE_BASE ** (-2 * pair / size)
                first.attn_q.weight[low + 2 * pair, -1] = 0.8 * math.cos(angle)
                first.attn_q.weight[low + 2 * pair + 1, -1] = -0.8 * math.sin(angle)
                first.attn_k.weight[low + 2 * pair, -1] = 0.8
            first.attn_v.weight[rows, :tokens] += noted[:size]
            first.attn_output.weight[:, rows] *= 0.1
            room = min(notes, shape.width - 1 - target)
            first.attn_output.weight[target : target + room, rows] += 0.1 * torch.eye(size)[:room]
        slow = range(size * 7 // 16, size)  # the places that the rotary embedding hardly turns
        for head, parts in enumerate(((0, 0), (14, 0), (5, 1))):
            low = head * size
            rows = slice(low, low + size)
            for matrix in (second.attn_q.weight, second.attn_k.weight, second.attn_v.weight):
                matrix[rows] *= 0.1
            for place, turn in enumerate(slow):
                if parts[1] and place >= len(slow) // 2:
                    second.attn_q.weight[low + turn, tokens + place] = 1.6
                    second.attn_k.weight[low + turn, tokens + notes + place] = 1.6
                else:
                    second.attn_q.weight[low + turn, :tokens] = 1.9 * noted[parts[0] + place]
                    second.attn_k.weight[low + turn, tokens + parts[0] + place] = 1.9
            copied = basis[head * size : (head + 1) * size]
            second.attn_v.weight[rows, :tokens] += copied
            second.attn_output.weight[:, rows] *= 0.1
            second.attn_output.weight[:tokens, rows] += 0.25 * copied.T


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
