"""Training batches: conversations and copy drills, tokenised, masked and packed into rows."""

from __future__ import annotations

import re
from dataclasses import dataclass

import phrases as words
import torch
from chatml import ASSISTANT_START, TURN_END, ChatTemplate, Message
from corpus import context_text, conversation, order_record
from splits import Draw
from tokenizers import Tokenizer
from torch import Tensor

IGNORED = -100
ANSWER = re.compile(re.escape(ASSISTANT_START) + "(.*?" + re.escape(TURN_END) + ")", re.DOTALL)
PROMPT_SHARE = 0.15
"""Share of the prompt tokens that are learned too; the rest of the loss is on the assistant's turns."""


PLAIN_WORDS = tuple(
    sorted({word for answer, questions in words.FAQ.values() for text in (answer, *questions) for word in text.split()})
)


@dataclass(frozen=True)
class Batch:
    """Rows of packed documents, each tensor (rows, time); `mask` is (rows, 1, time, time)."""

    tokens: Tensor
    targets: Tensor
    positions: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Drills:
    """How much copying practice a batch holds: its share of the documents (0 to 1), the longest text in pieces."""

    share: float
    longest: int


def drill(draw: Draw, longest: int) -> list[Message]:
    """An exercise in copying; `longest` (in pieces) grows during training.

    - One to three pieces, repeated: from those a network learns in seconds what conversations hardly teach it.
    - Words in no sensible order, given back from another start: only what stood before a word tells the next one.
    - Ids or orders, given back in another order: looking up by id, several times per document.
    """

    def piece() -> str:
        return draw.order_id() if draw.chance(0.5) else draw.choice(words.SLOT_WORDS)

    system, share = "", draw.random.random()
    if longest < 4 or share < 0.2:
        request = answer = " ".join(piece() for _ in range(draw.random.randint(1, min(longest, 3))))
    elif share < 0.6:
        text = [draw.choice(PLAIN_WORDS) for _ in range(draw.random.randint(4, 2 * longest))]
        turn = draw.random.randrange(len(text))
        request, answer = " ".join(text), " ".join(text[turn:] + text[:turn])
    elif share < 0.8:
        ids = [draw.order_id() for _ in range(draw.random.randint(2, max(2, longest // 2)))]
        request, answer = ", ".join(ids), ", ".join(draw.random.sample(ids, len(ids)))
    else:
        records = [order_record(draw, draw.order_id()) for _ in range(draw.random.randint(1, max(1, longest // 5)))]
        system = f"{words.SYSTEM} Context: {context_text(records)}"
        request, answer = "Orders?", context_text(draw.random.sample(records, len(records)))
    turns = (("system", system), ("user", request), ("assistant", answer))
    return [{"role": role, "content": content} for role, content in turns]


class Packer:
    """Endless batches of the training split, repeatable from the seed."""

    def __init__(self, tokenizer: Tokenizer, *, rows: int, time: int, seed: int) -> None:
        self._tokenizer = tokenizer
        self._template = ChatTemplate()
        self._draw = Draw("train", seed)
        self._rows, self._time = rows, time
        self._causal = torch.ones(time, time, dtype=torch.bool).tril()
        self._waiting: tuple[list[int], list[bool]] | None = None

    def _document(self, drills: Drills) -> tuple[list[int], list[bool]]:
        """Token ids of one document and which of them are learned."""
        prompt_share = PROMPT_SHARE
        if self._draw.chance(drills.share):
            text, prompt_share = self._template.render(drill(self._draw, drills.longest)), 0.0
        else:
            sample = conversation(self._draw)
            text = self._template.render(sample.messages, sample.tools)
        encoding = self._tokenizer.encode(text)
        spans = [match.span(1) for match in ANSWER.finditer(text)]
        learned = [
            any(low <= start < high for low, high in spans) or self._draw.chance(prompt_share)
            for start, _ in encoding.offsets
        ]
        return encoding.ids, learned

    def batch(self, drills: Drills) -> Batch:
        """The next rows; a document never sees another one of its row."""
        shape = (self._rows, self._time)
        tokens, positions = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        targets = torch.full(shape, IGNORED)
        owner = torch.zeros(shape, dtype=torch.long)
        for row in range(self._rows):
            filled, number = 0, 0
            while True:
                ids, learned = self._waiting or self._document(drills)
                ids, learned = ids[: self._time], learned[: self._time]
                end = filled + len(ids)
                if end > self._time:
                    self._waiting = (ids, learned)
                    break
                self._waiting = None
                number += 1
                tokens[row, filled:end] = torch.tensor(ids)
                positions[row, filled:end] = torch.arange(len(ids))
                owner[row, filled:end] = number
                following = [token if keep else IGNORED for token, keep in zip(ids[1:], learned[1:], strict=True)]
                targets[row, filled : end - 1] = torch.tensor(following, dtype=torch.long)
                filled = end
        mask = self._causal & (owner[:, :, None] == owner[:, None, :])
        return Batch(tokens, targets, positions, mask[:, None])
