"""Exact-match accuracy of a GGUF file on held-out questions, by kind, through llama.cpp at temperature 0.

``python recipes/tiny_model/evaluate.py support-desk-tiny.gguf --count 800`` prints a table.
With ``--write heldout.jsonl --keep 60`` it also writes questions that the model answers exactly (a regression set).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import phrases as words
from chatml import Message
from corpus import question
from greedy import GreedyModel
from samples import Question
from splits import Draw

SEED = 12345


def heldout_questions(count: int) -> list[Question]:
    """The same `count` held-out questions on every machine."""
    draw = Draw("heldout", SEED)
    return [question(draw) for _ in range(count)]


def unseen_wordings() -> list[Question]:
    """FAQ questions in words that training never saw; a probe, not part of the total."""
    system: Message = {"role": "system", "content": words.SYSTEM}
    return [
        Question(
            "unseen wording",
            [system, {"role": "user", "content": text}],
            [],
            {"role": "assistant", "content": words.FAQ[topic][0]},
        )
        for topic, text in words.UNSEEN_FAQ.items()
    ]


def to_row(item: Question, expected: str) -> dict[str, object]:
    """One line of ``heldout.jsonl``."""
    return {"kind": item.kind, "messages": item.messages, "tools": item.tools, "expected": expected}


def balanced(items: list[tuple[Question, str]], keep: int) -> list[tuple[Question, str]]:
    """At most `keep` questions, taken round by round from every kind."""
    by_kind: dict[str, list[tuple[Question, str]]] = {}
    for item in items:
        by_kind.setdefault(item[0].kind, []).append(item)
    chosen: list[tuple[Question, str]] = []
    for place in range(keep):
        for kind in sorted(by_kind):
            if place < len(by_kind[kind]) and len(chosen) < keep:
                chosen.append(by_kind[kind][place])
    return chosen


def table(right: Counter[str], total: Counter[str]) -> str:
    lines = ["| kind | right | of | share |", "|---|---|---|---|"]
    lines += [f"| {kind} | {right[kind]} | {total[kind]} | {right[kind] / total[kind]:.1%} |" for kind in sorted(total)]
    lines.append(f"| **all** | {right.total()} | {total.total()} | {right.total() / total.total():.1%} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--count", type=int, default=800, help="held-out questions")
    parser.add_argument("--show", type=int, default=0, help="print this many wrong answers")
    parser.add_argument("--write", type=Path, help="write rightly answered questions as JSON lines")
    parser.add_argument("--keep", type=int, default=60, help="how many to write")
    options = parser.parse_args()
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    correct: list[tuple[Question, str]] = []
    probe = 0
    with GreedyModel(options.model) as model:
        for number, item in enumerate(heldout_questions(options.count), start=1):
            expected = model.template.reply(item.expected)
            answer = model.answer(item.messages, item.tools)
            total[item.kind] += 1
            if answer == expected:
                right[item.kind] += 1
                correct.append((item, expected))
            elif number - len(correct) <= options.show:
                print(f"{item.kind}: {item.messages}\n  expected {expected}\n  answered {answer}", file=sys.stderr)
            if number % 100 == 0:
                print(f"{number} of {options.count}", file=sys.stderr, flush=True)
        for item in unseen_wordings():
            probe += model.answer(item.messages) == item.expected["content"]
    print(table(right, total))
    print(f"\nunseen wording of a known topic: {probe} of {len(words.UNSEEN_FAQ)}")
    if options.write:
        rows = [to_row(item, expected) for item, expected in balanced(correct, options.keep)]
        options.write.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
