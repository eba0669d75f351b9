"""The tokenizer: byte-level BPE with the `llama-bpe` pre-tokenizer, trained on the corpus.

Words that are copied (order ids, items, cities, names) are whole tokens with one spelling: copying is then one step of
attention, the thing that a small model is good at. An id such as ``67-26`` is the two tokens ``67`` and ``-26``.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from chatml import ChatTemplate
from corpus import conversations
from phrases import SLOT_WORDS
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

PAD, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CONTROL_TOKENS = (PAD, TURN_START, TURN_END)
WHOLE_TOKENS = ("<tool_call>", "</tool_call>", *SLOT_WORDS, *(f"-{number:02d}" for number in range(100)))
"""Tokens that are matched before the pre-tokenizer runs (`USER_DEFINED` in GGUF)."""

PRE_TOKENIZER = "llama-bpe"
SPLIT_PATTERN = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""What llama.cpp does under the name `llama-bpe`."""


def train_tokenizer(vocabulary: int, *, documents: int = 8000, seed: int = 1) -> Tokenizer:
    """A tokenizer of at most `vocabulary` tokens, made from this many conversations."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    template = ChatTemplate()
    samples = islice(conversations("train", seed), documents)
    texts = [template.render(sample.messages, sample.tools) for sample in samples]
    for token in (*CONTROL_TOKENS, *WHOLE_TOKENS):
        texts = [text.replace(token, "\n") for text in texts]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(WHOLE_TOKENS),
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pairs = [f"{number:02d}" for number in range(100)] * 200
    tokenizer.train_from_iterator([*texts, *pairs], trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in WHOLE_TOKENS])
    split = [pair for pair in pairs[:100] if len(tokenizer.encode(pair).ids) != 1]
    if split:
        raise ValueError(f"vocabulary {vocabulary} is too small: {len(split)} two-digit groups are not one token")
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer saved by `train.py` as ``tokenizer.json``."""
    return Tokenizer.from_file(str(path))
