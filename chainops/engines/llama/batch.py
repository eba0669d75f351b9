"""The rows of one decode: numpy arrays that are llama.cpp's batch, so that filling them copies nothing twice."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Batch", "Tokens"]

Tokens = npt.NDArray[np.int32]


class Batch:
    """Up to ``size`` rows: token, position and sequence. Every row belongs to one sequence.

    Args:
        lib: llama-cpp-python's ctypes module.
        size: the largest number of rows.
    """

    def __init__(self, lib: Any, size: int) -> None:
        self.size, self.count, self.outputs = size, 0, 0
        self._token = np.zeros(size, np.int32)
        self._position = np.zeros(size, np.int32)
        self._sequence = np.zeros(size, np.int32)
        self._sequences = np.ones(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        pointer, base = ctypes.POINTER(ctypes.c_int32), self._sequence.ctypes.data
        self._lists = (pointer * (size + 1))()  # one list of sequences per row: each points into ``_sequence``
        for row in range(size):
            self._lists[row] = ctypes.cast(base + 4 * row, pointer)
        self._raw = lib.llama_batch(
            n_tokens=0,
            token=self._token.ctypes.data_as(pointer),
            embd=None,
            pos=self._position.ctypes.data_as(pointer),
            n_seq_id=self._sequences.ctypes.data_as(pointer),
            seq_id=self._lists,
            logits=self._wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def clear(self) -> None:
        """Forget all rows."""
        self.count = self.outputs = 0

    def add_one(self, token: int, position: int, sequence: int) -> int:
        """Add one token whose logits are wanted; returns its row."""
        row = self.count
        self._token[row], self._position[row], self._sequence[row], self._wanted[row] = token, position, sequence, 1
        self.count, self.outputs = row + 1, self.outputs + 1
        return row

    def add_all(self, tokens: Tokens, position: int, sequence: int) -> None:
        """Add ``tokens`` from ``position`` on; the logits of each are wanted."""
        self.add(tokens, position, sequence, last=False)
        self._wanted[self.count - len(tokens) : self.count] = 1
        self.outputs += len(tokens)

    def add(self, tokens: Tokens | list[int], position: int, sequence: int, *, last: bool) -> int:
        """Add ``tokens`` from ``position`` on; ``last``: the logits of the last one are wanted. Returns its row."""
        begin, end = self.count, self.count + len(tokens)
        self._token[begin:end] = tokens
        self._position[begin:end] = np.arange(position, position + len(tokens))
        self._sequence[begin:end] = sequence
        self._wanted[begin:end] = 0
        if last:
            self._wanted[end - 1] = 1
            self.outputs += 1
        self.count = end
        return end - 1

    @property
    def raw(self) -> Any:
        """The ``llama_batch`` of the rows added so far."""
        self._raw.n_tokens = self.count
        return self._raw
