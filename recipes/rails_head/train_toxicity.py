"""Make the weights and the word list of the toxicity stand-in, and measure them.

``python recipes/rails_head/train_toxicity.py --sources DIR --shared DIR [--out FILE] [--cache FILE]``. The head is trained on
labelled tweets (hate or offensive / neither); the words are kept as hashes only.
"""

from __future__ import annotations

import argparse
import csv
import html
import io
import json
import random
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from data import _show, load
from fit import exemplars, logistic
from train_jailbreak import ORDINARY, Vectors

from chainops.middleware.rails.jailbreak.head import WEIGHTS, windows
from chainops.middleware.rails.measure import wilson
from chainops.middleware.rails.toxicity import ToxicHead, hashed, words_in

TWEETS = ("t-davidson+hate-speech-and-offensive-language", "cb50f7e9eb855a99abc51423bf40df0e26d6fe30", "MIT")
WORDS = (
    "LDNOOBW+List-of-Dirty-Naughty-Obscene-and-Otherwise-Bad-Words",
    "5faf2ba42d7b1c0977169ec3611df25a3c08eb13",
    "CC-BY-4.0",
)
FALSE_ALARMS = {"block": 0.002, "flag": 0.01}  # of ordinary texts
MILD = {
    "sex",
    "sexual",
    "sexy",
    "nude",
    "nudity",
    "breasts",
    "bondage",
    "hardcore",
    "suck",
    "escort",
    "domination",
    "voyeur",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=WEIGHTS / "toxicity.npz")
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    rng, vectors = random.Random(2), Vectors(options.cache)
    rows = list(csv.DictReader(io.StringIO(_show(options.sources, TWEETS, "data/labeled_data.csv"))))
    tweets = [(_clean(r["tweet"]), int(r["class"]) != 2) for r in rows]
    rng.shuffle(tweets)
    toxic = [t for t, bad in tweets if bad][:2600]
    neither = [t for t, bad in tweets if not bad][:2600]
    examples, _ = load(options.sources, options.shared)
    ordinary = [e for e in examples if not e.attack and e.source in ORDINARY]
    parts: dict[str, list[str]] = {
        s: [w for e in ordinary if e.split == s for w in windows(e.text)[:2]] for s in ("train", "calibrate", "test")
    }
    harmless = [*neither[:1800], *rng.sample(parts["train"], min(1500, len(parts["train"])))]
    x = vectors.of([*toxic[:1800], *harmless])
    y = np.array([1.0] * 1800 + [0.0] * len(harmless))
    weight = np.where(y == 1, len(y) / 2 / 1800, len(y) / 2 / len(harmless))
    bad, fine = exemplars(x[y == 1], 48), exemplars(x[y == 0], 64)
    seen = ToxicHead.features(x, bad, fine)
    weights, bias = logistic(seen, y, weight, np.full(seen.shape[1], 6.0))
    listed = [w for w in _show(options.sources, WORDS, "en").split("\n") if w.strip()]
    words = sorted({hashed(w.strip().lower()) for w in listed if w.strip().lower() not in MILD})
    head = ToxicHead(weights, bias, bad, fine, frozenset(words), 0.5, 0.5, vectors.model.identity, {})
    quiet = head.scores(vectors.of(parts["calibrate"]))
    flag, block = (float(np.quantile(quiet, 1 - FALSE_ALARMS[k])) for k in ("flag", "block"))
    table: dict[str, Any] = {}
    sets = {
        "tweets, hate or offensive": toxic[1800:],
        "tweets, neither": neither[1800:],
        "ordinary texts": parts["test"],
    }
    for name, texts in sets.items():
        got = head.scores(vectors.of(texts))
        listed_too = np.array([any(True for _ in words_in(t, head.words)) for t in texts])
        for what, hit in (
            ("head, flagged", got >= flag),
            ("head, blocked", got >= block),
            ("words", listed_too),
            ("either", (got >= flag) | listed_too),
        ):
            n = int(hit.sum())
            table[f"{name}: {what}"] = {"texts": len(texts), "rate": n / len(texts), "interval": wilson(n, len(texts))}
    used = [{"set": "tweets", "origin": TWEETS[0].replace("+", "/"), "licence": TWEETS[2]}]
    used += [{"set": "words, as hashes", "origin": WORDS[0].replace("+", "/"), "licence": WORDS[2]}]
    card = {"sources": used, "thresholds": {"flag": flag, "block": block}, "measured": table}
    print(json.dumps(card, indent=1))
    np.savez_compressed(
        options.out, weights=weights, bias=bias, toxic=bad.astype(np.float16), harmless=fine.astype(np.float16),
        words=np.array(words, dtype=np.uint64), flag=flag, block=block, embedder=head.embedder, card=json.dumps(card),
    )  # fmt: skip


def _clean(tweet: str) -> str:
    """Without names, links and marks of the network."""
    text = html.unescape(html.unescape(tweet))
    text = re.sub(r"https?://\S+|\bRT\b|@\w+:?", " ", text)
    return " ".join(text.replace("#", " ").split()).strip("!\"' ")


if __name__ == "__main__":
    main()
