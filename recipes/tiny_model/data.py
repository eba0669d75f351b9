"""Training batches: conversations and copy drills, tokenised, masked and packed into rows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import invented
import phrases as words
import torch
from agents import FORCED, agent_conversation, forced_call
from chatml import ASSISTANT_START, TURN_END, ChatTemplate, Message
from corpus import context_text, conversation, order_record, ticket_conversation
from samples import Sample
from splits import Draw
from tokenizers import Tokenizer
from torch import Tensor

IGNORED = -100
ANSWER = re.compile(re.escape(ASSISTANT_START) + "(.*?" + re.escape(TURN_END) + ")", re.DOTALL)
ARGUMENTS = re.compile('"arguments":(.*' + re.escape(TURN_END) + ")", re.DOTALL)
PROMPT_SHARE = 0.15
"""Share of the prompt tokens that are learned too; the rest of the loss is on the assistant's turns."""
AGENT_SHARE = 0.45
"""Share of the conversations that have unknown tools; of their prompts, which are random, nothing is learned."""


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
    """How much copying practice a batch holds: its share of the documents (0 to 1), the longest text in pieces.

    `strange` is the share of it that is about words and scripts never seen: 0 while the copying heads form.
    """

    share: float
    longest: int
    strange: float


def drill(draw: Draw, longest: int, unknown: float) -> list[Message]:
    """An exercise in copying; `longest` (in pieces) grows during training.

    - One to three pieces, repeated: from those a network learns in seconds what conversations hardly teach it.
    - The same with words and scripts that it has never seen, in quotes or bare, from another start or in part.
    - Words in no sensible order, given back from another start: only what stood before a word tells the next one.
    - Ids or orders, given back in another order: looking up by id, several times per document.
    """

    def piece() -> str:
        return draw.order_id() if draw.chance(0.5) else draw.choice(words.SLOT_WORDS)

    def strange() -> str:
        return invented.foreign(draw) if draw.chance(0.3) else invented.word(draw)

    system, share = "", draw.random.random()
    if draw.chance(unknown):
        pieces = [strange() for _ in range(draw.random.randint(1, max(1, min(longest // 2, 5))))]
        turn = draw.random.randrange(len(pieces))
        request = ", ".join(pieces) if draw.chance(0.5) else " ".join(f"'{piece}'" for piece in pieces)
        answer = json.dumps(pieces[turn:] + pieces[:turn], separators=(",", ":"), ensure_ascii=False)
    elif longest < 4 or share < 0.2:
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


def rare_conversation(draw: Draw) -> Sample:
    """What the mixes hold too little of, or nothing: tickets, and calls that are forced."""
    return ticket_conversation(draw) if draw.chance(0.5) else forced_call(draw)


class Packer:
    """Endless batches of the training split, repeatable from the seed; `rare` is the share of rare conversations."""

    def __init__(self, tokenizer: Tokenizer, *, rows: int, time: int, seed: int, rare: float = 0.0) -> None:
        self._rare = rare
        self._tokenizer = tokenizer
        self._template = ChatTemplate()
        self._draw = Draw("train", seed)
        self._rows, self._time = rows, time
        self._causal = torch.ones(time, time, dtype=torch.bool).tril()
        self._waiting: tuple[list[int], list[bool]] | None = None

    def _document(self, drills: Drills) -> tuple[list[int], list[bool]]:
        """Token ids of one document and which of them are learned."""
        prompt_share, pattern = 0.0, ANSWER
        if self._draw.chance(drills.share):
            text = self._template.render(drill(self._draw, drills.longest, drills.strange))
        elif self._rare and self._draw.chance(self._rare):
            sample = rare_conversation(self._draw)
            text = self._template.render(sample.messages, sample.tools)
            pattern = ARGUMENTS if FORCED in sample.kinds else ANSWER
        else:
            unknown = self._draw.chance(AGENT_SHARE)
            prompt_share = 0.0 if unknown else PROMPT_SHARE
            sample = agent_conversation(self._draw) if unknown else conversation(self._draw)
            text = self._template.render(sample.messages, sample.tools)
        encoding = self._tokenizer.encode(text)
        spans = [match.span(1) for match in pattern.finditer(text)]
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
