"""What the stream gate costs per token, and when ordinary words leave.

``python tests/bench/bench_gate.py [--rounds 30] [--json]``. CPU time of this process, median over rounds; the same
tokens are fed to every watch in turn.

* words: rules that begin with a sign or a digit (keys, cards, a list of 1,000 words)
* words that may begin an address: the same and e-mail addresses; a word waits for the next character
* numbers: tokens of which half belong to cards and keys
* NeMo's way is not measured here: it buffers 200 tokens (see the documentation)
"""

from __future__ import annotations

import argparse
import json
import random
import time

from repeated import medians

from chainops.gate import Gate, Patterns, Rule, literals

PROSE = """
the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one you
were her all she there would their we him been has when who will more no if out so said what up its about into than them
can only other new some could time these two may then do first any my now such like our over man me even most made after
also did many before must through back years where much your way well down should because each just"""
WORDS = PROSE.split()
KEY = Rule("key", r"(?<![A-Za-z0-9])(?:sk-|ghp_|xox[bp]-)[\w-]{16,255}")
CARD = Rule("card", r"(?<!\d)\d{4}(?:[ -]?\d{4}){3}(?!\d)")
MAIL = Rule("mail", r"(?<![^\W_])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}(?!\w)")
DENIED = Rule("denied", literals(f"zz{a}{b}" for a in WORDS[:40] for b in WORDS[:25]))
WATCHES = {"words": Patterns([KEY, CARD, DENIED]), "addresses": Patterns([KEY, CARD, DENIED, MAIL])}


def prose(count: int, seed: int = 7) -> list[str]:
    """Tokens of ordinary words, as a tokenizer cuts them."""
    chosen = random.Random(seed)
    return [" " + chosen.choice(WORDS) + ("," if i % 9 == 8 else "") for i in range(count)]


def numbers(count: int, seed: int = 7) -> list[str]:
    """The same, every other token a piece of a card or of a key."""
    chosen = random.Random(seed)
    rest: list[str] = []
    tokens = []
    for word in prose(count // 2, seed):
        if not rest:
            rest = (
                [" 41", "11", " 1111", " 11", "11 ", "1111"]
                if chosen.random() < 0.5
                else [" sk", "-", "abcd" * 4, "efgh"]
            )
        tokens += rest
        rest = []
        tokens.append(word)
    return tokens[:count]


def per_token(watch: Patterns, tokens: list[str]) -> tuple[float, float]:
    """Microseconds of CPU per token, and the share of tokens that left at once, whole."""
    gate = Gate(watch)
    feed = gate.feed
    began = time.process_time()
    out = [feed(token) for token in tokens]
    taken = time.process_time() - began
    gate.close()
    return taken / len(tokens) * 1e6, sum(a == b for a, b in zip(out, tokens, strict=True)) / len(tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    texts = {"words": prose(4000), "numbers": numbers(4000)}
    measured: dict[tuple[str, str], list[float]] = {}
    at_once = {}
    for _ in range(options.rounds):
        for name, watch in WATCHES.items():
            for kind, tokens in texts.items():
                taken, share = per_token(watch, tokens)
                measured.setdefault((name, kind), []).append(taken)
                at_once[name, kind] = share
    rows = [
        {"watch": n, "text": k, "us_per_token": v, "at_once": round(at_once[n, k], 3)} for (n, k), v in measured.items()
    ]
    if options.json:
        print(json.dumps(rows))
        return
    for row in medians(dict(enumerate(rows))).values():
        print(
            f"{row['watch']:10} {row['text']:8} {row['us_per_token']:6.2f} us per token, {row['at_once']:.1%} at once"
        )


if __name__ == "__main__":
    main()
