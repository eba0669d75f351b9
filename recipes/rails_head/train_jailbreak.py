"""Make the weights of the jailbreak rail, and measure them on texts that they were not made from.

``python recipes/rails_head/train_jailbreak.py --sources DIR --shared DIR [--out FILE] [--json]``. Takes minutes: some
thousand texts are embedded, once; ``--cache FILE`` keeps the vectors. Prints recall and false alarms by set.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from data import Example, load
from fit import exemplars, network

from chainops.engines.embeddings import embedder as shared_embedder
from chainops.middleware.rails.jailbreak.head import WEIGHTS, Head, features, windows
from chainops.middleware.rails.jailbreak.views import plain, views
from chainops.middleware.rails.measure import wilson

ORDINARY = {"banking77", "questions", "passages", "user tasks", "mt_bench", "vicuna_bench", "tasks", "pint harmless"}
ORDINARY |= {"task templates", "long facts", "seed tasks"}
MORE = {
    "written attacks": 2.5,
    "written harmless": 1.5,
    "user tasks": 2.0,
    "ordinary requests": 3.0,
    "short turns": 3.0,
}  # sets that count more
MOST = 4  # windows of a text that are trained on
INSTRUCTIONS = {"user tasks", "task templates", "seed tasks", "tasks"}  # short questions are too easy to calibrate on
FALSE_ALARMS = {"block": 0.004, "flag": 0.01}  # of the instructions that calibrate


class Vectors:
    """The embedder, which remembers on disk what it has read."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.known = path, {}
        self.model = shared_embedder()
        if path is not None and path.is_file():
            with np.load(path, allow_pickle=False) as data:
                self.known = dict(zip(data["texts"].tolist(), data["vectors"], strict=True))

    def of(self, texts: list[str]) -> Any:
        new = sorted({t for t in texts if t not in self.known}, key=len)
        for i in range(0, len(new), 32):
            print(f"\rembedding {i} of {len(new)} ", end="", file=sys.stderr)
            part = new[i : i + 32]
            self.known.update(zip(part, self.model.embed_sync(part), strict=True))
        if new and self.path is not None:
            np.savez(self.path, texts=np.array(list(self.known)), vectors=np.stack(list(self.known.values())))
        return np.stack([self.known[t] for t in texts])


def spread(parts: list[str]) -> list[str]:
    """At most MOST windows, from all over the text."""
    if len(parts) <= MOST:
        return parts
    return [parts[i * (len(parts) - 1) // (MOST - 1)] for i in range(MOST)]


def made(examples: list[Example], vectors: Vectors) -> Head:
    """A head from the training split, without thresholds."""
    rows = [(p, e) for e in examples if e.split == "train" for p in spread(windows(plain(e.text)))]
    x = vectors.of([p for p, _ in rows])
    y = np.array([e.attack for _, e in rows], dtype=float)
    attacks, harmless = exemplars(x[y == 1], 64), exemplars(x[y == 0], 96)
    seen = features(x, [p for p, _ in rows], attacks, harmless)
    number: dict[tuple[bool, str], int] = defaultdict(int)
    for _, e in rows:
        number[e.attack, e.source] += 1
    # each set counts with the root of its size, and attacks as much as harmless texts
    weight = np.array([number[e.attack, e.source] ** -0.5 * MORE.get(e.source, 1.0) for _, e in rows])
    for side in (0, 1):
        weight[y == side] *= len(rows) / 2 / weight[y == side].sum()
    scale = np.ones(seen.shape[1], dtype=np.float32)
    scale[: x.shape[1]] = 12.0  # the parts of a unit vector are small
    hidden, offsets, weights, bias = network(seen, y, weight, scale)
    return Head(weights, bias, attacks, harmless, 0.5, 0.5, vectors.model.identity, {}, hidden, offsets)


def pieces(example: Example) -> list[str]:
    """What a text is judged by: its readings, in windows."""
    return [piece for _, reading in views(example.text) for piece in windows(reading)]


def scored(head: Head, texts: list[list[str]], vectors: Vectors) -> Any:
    """The score of each text: the highest over its pieces."""
    parts = [(i, piece) for i, text in enumerate(texts) for piece in text]
    each = head.scores(vectors.of([p for _, p in parts]), [p for _, p in parts])
    best = np.zeros(len(texts))
    for (i, _), score in zip(parts, each, strict=True):
        best[i] = max(best[i], score)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=WEIGHTS / "jailbreak.npz")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    examples, used = load(options.sources, options.shared)
    vectors = Vectors(options.cache)
    head = made(examples, vectors)
    calm = [e for e in examples if e.split == "calibrate" and e.source in INSTRUCTIONS]
    quiet = scored(head, [pieces(e) for e in calm], vectors)
    flag, block = (float(np.quantile(quiet, 1 - FALSE_ALARMS[k])) for k in ("flag", "block"))
    test = [e for e in examples if e.split == "test"]
    got = scored(head, [pieces(e) for e in test], vectors)
    table = {}
    for source in sorted({e.source for e in test}):
        mine = np.array([e.source == source for e in test])
        attack = next(e.attack for e in test if e.source == source)
        row: dict[str, Any] = {"attack": attack, "ordinary": source in ORDINARY, "texts": int(mine.sum())}
        for name, threshold in (("flagged", flag), ("blocked", block)):
            hits = int((got[mine] >= threshold).sum())
            row[name] = hits / int(mine.sum())
            row[f"{name}_interval"] = wilson(hits, int(mine.sum()))
        table[source] = row
    card = {"sources": used, "thresholds": {"flag": flag, "block": block}, "measured": table}
    print(json.dumps(card, indent=2) if options.json else lines(table, flag, block))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        options.out,
        hidden=head.hidden.astype(np.float16),
        offsets=head.offsets,
        weights=head.weights.astype(np.float32),
        bias=head.bias,
        attacks=head.attacks.astype(np.float16),
        harmless=head.harmless.astype(np.float16),
        flag=flag,
        block=block,
        embedder=head.embedder,
        card=json.dumps(card),
    )


def lines(table: dict[str, Any], flag: float, block: float) -> str:
    """The table as text."""
    out = [f"flag from {flag:.3f}, block from {block:.3f}"]
    for source, row in sorted(table.items(), key=lambda item: (not item[1]["attack"], not item[1]["ordinary"])):
        kind = "attack" if row["attack"] else "ordinary" if row["ordinary"] else "hard"
        low, high = row["flagged_interval"]
        share = f"flagged {row['flagged']:6.1%} [{low:.1%}, {high:.1%}]  blocked {row['blocked']:6.1%}"
        out.append(f"{kind:9} {source:20} {row['texts']:5}  {share}")
    return "\n".join(out)


if __name__ == "__main__":
    main()
