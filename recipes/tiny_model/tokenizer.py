"""The tokenizer: byte-level BPE with the `llama-bpe` pre-tokenizer, trained on the corpus.

Words that are copied (order ids, items, cities, names) are whole tokens with one spelling: copying is then one step of
attention, the thing that a small model is good at. An id such as ``67-26`` is the two tokens ``67`` and ``-26``.

Unknown words are split in the same way wherever they stand: merges are learned on bare words, and only then the
commonest words get a token together with the space before them. So `` brasket`` is a space and the pieces of
``brasket``, and copying it into ``"brasket"`` is copying tokens.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from chatml import ChatTemplate
from corpus import conversations
from invented import VERBS, WORDS
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
BARE_PATTERN = r"\p{L}+|\p{N}{1,3}|[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
"""The same, with words apart from what stands before them."""

SPACE = "\u0120"
"""A space, as byte-level BPE writes it."""


def splitter(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def texts_of(documents: int, seed: int) -> Iterator[str]:
    """Conversations without the tokens that are matched first, then the words of the tools."""
    template = ChatTemplate()
    for sample in islice(conversations("train", seed), documents):
        text = template.render(sample.messages, sample.tools)
        for token in (*CONTROL_TOKENS, *WHOLE_TOKENS):
            text = text.replace(token, "\n")
        yield text
    for word in (*WORDS, *VERBS):
        yield f"{word} {word.lower()} " * 20 + f"{word.capitalize()} " * 10


def with_spaced_words(bare: Tokenizer, texts: list[str], count: int) -> Tokenizer:
    """`bare`, with merges of a space and each of the commonest words that are one token."""
    model = json.loads(bare.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    merges = [tuple(merge) for merge in model["merges"]]
    split = splitter(SPLIT_PATTERN)
    found = Counter(piece for text in texts for piece, _ in split.pre_tokenize_str(text) if piece.startswith(SPACE))
    common = [piece for piece, _ in found.most_common() if piece[1:] in vocabulary and piece not in vocabulary]
    for piece in common[:count]:
        vocabulary[piece] = len(vocabulary)
        merges.append((SPACE, piece[1:]))
    return Tokenizer(models.BPE(vocab=vocabulary, merges=merges))


def train_tokenizer(vocabulary: int, *, documents: int = 8000, seed: int = 1, spaced: int = 256) -> Tokenizer:
    """A tokenizer of at most `vocabulary` tokens, `spaced` of them words with a space, from this many conversations."""
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = splitter(BARE_PATTERN)
    texts = list(texts_of(documents, seed))
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(WHOLE_TOKENS) - spaced,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pairs = [f"{number:02d}" for number in range(100)] * 200
    bare.train_from_iterator([*texts, *pairs], trainer)
    tokenizer = with_spaced_words(bare, texts[:documents], spaced)
    tokenizer.pre_tokenizer = splitter(SPLIT_PATTERN)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(CONTROL_TOKENS))
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in WHOLE_TOKENS])
    split = [pair for pair in pairs[:100] if len(tokenizer.encode(pair).ids) != 1]
    if split:
        raise ValueError(f"vocabulary {vocabulary} is too small: {len(split)} two-digit groups are not one token")
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer saved by `train.py` as ``tokenizer.json``."""
    return Tokenizer.from_file(str(path))
