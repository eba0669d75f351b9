"""What the search for personal data costs, alone and in streams, and whether its time is linear.

``python tests/bench/bench_pii.py [--rounds 60] [--json]``. CPU time of this process; medians over rounds, in which all
sides are measured in turn.

* milliseconds per KB of text that is full of values, and of text that has none
* the same by the nine patterns that a hurried developer would write, each a bare ``re`` (no checks, no context)
* microseconds per token in a stream of ordinary words, of words between cards and keys, of records (dates, amounts,
  telephones, bank accounts between words) and of a table of nothing but numbers; the whole set of kinds
* the same for ordinary words with mail addresses as the only kind
* for hostile texts: the time of 50 KB divided by that of 12.5 KB, where 4.0 is linear; the worst of all
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import time
from collections.abc import Callable
from typing import Any

from bench_gate import WORDS, numbers, prose
from repeated import medians

from chainops.gate import Gate
from chainops.middleware.pii import PatternDetector, Scanner
from chainops.middleware.pii.stream import PiiWatch

DENSE = """Dear Ann Smith, your card 4111 1111 1111 1111 was charged; call +49 30 901820, mail ann.smith@example.co.uk.
My Aadhaar is 2345 6789 0124, PAN ABCPE1234F, IBAN DE89 3704 0044 0532 0130 00, SSN 531-21-7351, from 10.20.30.40
(00:1A:2B:3C:4D:5E), key sk-abcdEFGH1234567890abcd, born 12 March 1980, 12 Baker Street. password: hunter2! """
DENSE = (DENSE * 4)[:1024]
PLAIN = (
    "The quick brown fox jumps over the lazy dog, goes home, and rests before the next day comes with rain. " * 11
)[:1024]
BARE = [
    re.compile(pattern)
    for pattern in (
        r"[\w.+-]+@[\w-]+\.[\w.]+",
        r"\b(?:\d[ -]?){13,19}\b",
        r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b",
        r"\b\d{4} ?\d{4} ?\d{4}\b",
        r"\b[A-Z]{5}\d{4}[A-Z]\b",
        r"\b\d{3}-\d{2}-\d{4}\b",
        r"\+?\d[\d ()-]{7,}\d",
        r"\b(?:\d{1,3}\.){3}\d{1,3}\b",
        r"\b(?:sk-|ghp_)\w{16,}",
    )
]
HOSTILE = [
    "a",
    "1",
    "1 ",
    "@",
    "a@",
    "a.",
    "-",
    "1-",
    "A ",
    "A",
    "1.1.",
    "::",
    "ab:",
    "eyJ",
    "eyJa.",
    "key=",
    "key: a1",
    "<",
    "-----BEGIN PRIVATE KEY-----_",
    "-----BEGIN PRIVATE KEY-----\nA",
    "+1",
    "(1",
    "name is A",
    "12 Ab ",
    "DE89 ",
    "12 March ",
    "my name is Aa ",
    "://a:",
    "_",
    "A_",
    "4111 1111 1111 1112 ",
    "phone ",
    "birth 1/1/",
    "Mr. ",
    "sk-",
    "I'm Aa ",
    "2345 ",
    "2 ",
    "4111 1111\n",
    "mac ab",
    "john%40",
    "DE89\n",
    "1\u200b",
    "\u0661",
    "\\n",
]


def tokens_of(text: str) -> list[str]:
    """As tokenizers cut: words with their blank, up to three digits, signs."""
    return re.findall(r" ?[A-Za-z]+|\d{1,3}| ?[^\sA-Za-z\d]+|\s", text)


def records(count: int, seed: int = 3) -> list[str]:
    """Tokens of text that is rich in numbers, few of them personal."""
    chosen = random.Random(seed)
    number = chosen.randint

    def words(size: int) -> str:
        return " ".join(chosen.choice(WORDS) for _ in range(size))

    lines = [
        lambda: f"On {number(1, 28):02}.{number(1, 12):02}.{number(1990, 2030)} {words(4)} {number(1, 9999)}.50. ",
        lambda: f"| {number(1, 9999)} | {number(1, 99999)} | {number(1, 999)}.25 | {number(1, 99)}.5 % |\n",
        lambda: (
            f"{words(3)} 20{number(10, 30)}-{number(10, 12)}-{number(10, 28)}, {words(2)} $1,{number(100, 999)}.99. "
        ),
        lambda: f"Order {number(10**7, 10**8)} {words(3)} {number(1, 40)} {words(2)}. ",
        lambda: f"Call +49 30 {number(100000, 999999)} {words(5)}. ",
        lambda: (
            f"{words(4)} DE{number(10, 99)} {number(1000, 9999)} {number(1000, 9999)} {number(1000, 9999)} {words(2)}. "
        ),
    ]
    tokens: list[str] = []
    while len(tokens) < count:
        tokens += tokens_of(chosen.choice(lines)())
    return tokens[:count]


def table(count: int, seed: int = 4) -> list[str]:
    """Tokens of lines of eight numbers."""
    chosen = random.Random(seed)
    tokens: list[str] = []
    while len(tokens) < count:
        tokens += tokens_of(" ".join(str(chosen.randint(1, 99999)) for _ in range(8)) + "\n")
    return tokens[:count]


def cpu(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def bare(text: str) -> list[Any]:
    return [match.span() for pattern in BARE for match in pattern.finditer(text)]


def stream(watch: PiiWatch, tokens: list[str]) -> None:
    gate = Gate(watch)
    for token in tokens:
        gate.feed(token)
    gate.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    scanner = Scanner()
    watch = PiiWatch(scanner, lambda kind, value: f"<{kind}>")
    mail = PiiWatch(Scanner([PatternDetector(["EMAIL"])]), lambda kind, value: f"<{kind}>")
    words, mixed, rows, columns = prose(1000), numbers(1000), records(1000), table(1000)
    sides: dict[str, Callable[[], Any]] = {
        "dense_ms_per_kb": lambda: [scanner.find(DENSE) for _ in range(10)],
        "plain_ms_per_kb": lambda: [scanner.find(PLAIN) for _ in range(10)],
        "bare_dense_ms_per_kb": lambda: [bare(DENSE) for _ in range(10)],
        "bare_plain_ms_per_kb": lambda: [bare(PLAIN) for _ in range(10)],
        "stream_words_us": lambda: stream(watch, words),
        "stream_mail_words_us": lambda: stream(mail, words),
        "stream_numbers_us": lambda: stream(watch, mixed),
        "stream_records_us": lambda: stream(watch, rows),
        "stream_table_us": lambda: stream(watch, columns),
    }
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, work in sides.items():
            taken[name].append(cpu(work))
    scale = {"us": 1e6 / 1000, "kb": 1e3 / 10}
    found: dict[str, Any] = {n: [s * scale[n[-2:]] for s in v] for n, v in taken.items()}
    found["values_in_dense"] = len(scanner.find(DENSE))
    ratios, slowest = {}, 0.0
    for part in HOSTILE:
        small, large = ((part * (size // len(part) + 1))[:size] for size in (12_500, 50_000))
        pairs = [(cpu(lambda t=small: scanner.find(t)), cpu(lambda t=large: scanner.find(t))) for _ in range(7)]
        ratios[part] = [b / max(a, 1e-4) for a, b in pairs]
        slowest = max(slowest, statistics.median(b for _, b in pairs) * 1e3)
    worst = max(ratios, key=lambda part: statistics.median(ratios[part]))
    found |= {"hostile_ratio": ratios[worst], "hostile_worst": worst, "hostile_50kb_ms": round(slowest, 1)}
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in medians(found).items():
            print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
