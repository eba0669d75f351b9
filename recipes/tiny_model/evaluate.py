"""Exact-match accuracy of a GGUF file on held-out questions, by kind, through llama.cpp at temperature 0.

``python recipes/tiny_model/evaluate.py support-desk-tiny.gguf --count 800 --agents 800`` prints two tables: questions
to the support desk, and conversations with tools, parameters and values that training never named.
With ``--write heldout.jsonl --keep 60`` it also writes questions that the model answers exactly (a regression set),
those with unknown tools to ``heldout_tools.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import phrases as words
from agents import agent_question
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


def heldout_agent_questions(count: int) -> list[Question]:
    """The same `count` held-out questions with unknown tools on every machine."""
    draw = Draw("heldout", SEED)
    return [agent_question(draw) for _ in range(count)]


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


def answered(
    model: GreedyModel, items: list[Question], show: int
) -> tuple[Counter[str], Counter[str], list[tuple[Question, str]]]:
    """How many are right and how many there are, by kind; and the right ones with their answers."""
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    correct: list[tuple[Question, str]] = []
    for number, item in enumerate(items, start=1):
        expected = model.template.reply(item.expected)
        answer = model.answer(item.messages, item.tools)
        total[item.kind] += 1
        if answer == expected:
            right[item.kind] += 1
            correct.append((item, expected))
        elif number - len(correct) <= show:
            print(f"{item.kind}: {item.messages}\n  expected {expected}\n  answered {answer}", file=sys.stderr)
        if number % 100 == 0:
            print(f"{number} of {len(items)}", file=sys.stderr, flush=True)
    return right, total, correct


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--count", type=int, default=800, help="held-out questions")
    parser.add_argument("--agents", type=int, default=800, help="held-out questions with unknown tools")
    parser.add_argument("--show", type=int, default=0, help="print this many wrong answers")
    parser.add_argument("--write", type=Path, help="write rightly answered questions as JSON lines")
    parser.add_argument("--keep", type=int, default=60, help="how many of each table to write")
    options = parser.parse_args()
    with GreedyModel(options.model) as model:
        desk = answered(model, heldout_questions(options.count), options.show)
        agents = answered(model, heldout_agent_questions(options.agents), options.show)
        probe = sum(model.answer(item.messages) == item.expected["content"] for item in unseen_wordings())
    print(table(desk[0], desk[1]))
    print(f"\nunseen wording of a known topic: {probe} of {len(words.UNSEEN_FAQ)}")
    print("\nUnknown tools:\n\n" + table(agents[0], agents[1]))
    if options.write:
        tools = options.write.with_stem(options.write.stem + "_tools")
        for path, right in ((options.write, desk[2]), (tools, agents[2])):
            rows = [to_row(item, expected) for item, expected in balanced(right, options.keep)]
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


if __name__ == "__main__":
    main()
