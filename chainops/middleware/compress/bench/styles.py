"""Questions in other forms than those of ``made``: long paragraphs, tables, JSON, logs, code, languages."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from chainops.middleware.compress.bench.questions import Question

__all__ = ["STYLES", "styled"]

_SURNAMES = (
    "Okonkwo", "Nguyễn", "Šimková", "Þórsdóttir", "Özdemir", "Łukasik", "Abdulrahman", "Müller", "García", "Ivanova",
    "Tanaka", "Kowalczyk",
)  # fmt: skip
_FIRST = ("Chidi", "Linh", "Zuzana", "Guðrún", "Emre", "Paweł", "Fatima", "Jörg", "Lucía", "Darya", "Haruto", "Ola")
_PLACES = (
    "harbour", "mill", "quarry", "depot", "bakery", "library", "garage", "museum", "foundry", "nursery", "brewery",
    "arcade",
)  # fmt: skip
_IDLE = (
    "The walls were painted twice in that time.",
    "Nobody remembers why it was decided so late.",
    "There had been other plans before, but they came to nothing.",
    "The neighbours were told by letter.",
    "Some of the old furniture is still in use.",
    "A short report about it can be read in the archive.",
    "The roof was mended in the following spring.",
    "Visitors come mostly at weekends.",
    "It is said to be the oldest of its kind in the district.",
    "Two trees had to be cut down for the road.",
    "The accounts were checked by an office in the capital.",
    "In winter the doors close an hour earlier.",
)


def styled(style: str, count: int, *, seed: int = 3, passages: int = 12) -> list[Question]:
    """``count`` questions of one of ``STYLES``."""
    draw = random.Random(f"{style} {seed}")  # noqa: S311 - examples
    return [STYLES[style](draw, passages) for _ in range(count)]


def _people(draw: random.Random, count: int) -> list[str]:
    return draw.sample([f"{first} {last}" for first in _FIRST for last in _SURNAMES], count)


def _among(draw: random.Random, texts: list[str], text: str, answer: str) -> Question:
    """The first of ``texts`` has the answer; they are mixed."""
    order = list(range(len(texts)))
    draw.shuffle(order)
    return Question(text, answer, tuple(texts[i] for i in order), order.index(0))


def _paragraphs(draw: random.Random, count: int) -> Question:
    """Fourteen sentences each, of which one answers."""
    names, places = _people(draw, count), draw.sample(_PLACES, min(count, len(_PLACES)))
    texts = []
    for name, place in zip(names, places, strict=False):
        facts = [f"The {place} was run by {name} for thirty years.", f"{draw.randint(12, 99)} people worked there."]
        texts.append(" ".join(draw.sample([*draw.sample(_IDLE, 12), *facts], 14)))
    return _among(draw, texts, f"Who ran the {places[0]}?", names[0])


def _other_words(draw: random.Random, count: int) -> Question:
    """Question and answer share a name and nothing else."""
    names = _people(draw, count)
    trades = draw.sample(
        ("locksmith", "beekeeper", "surgeon", "translator", "glazier", "pilot", "tailor", "notary", "baker", "diver",
         "florist", "plumber", "potter", "roofer"), count,
    )  # fmt: skip
    texts = [
        " ".join(draw.sample([f"{name} earned a living as a {trade}.", *draw.sample(_IDLE, 4)], 5))
        for name, trade in zip(names, trades, strict=True)
    ]
    return _among(draw, texts, f"What was the profession of {names[0]}?", trades[0])


def _two_steps(draw: random.Random, count: int) -> Question:
    """The sentence before says who, the one with the answer says "she"."""
    names, years = _people(draw, count), draw.sample(range(1950, 2020), count)
    texts = [
        f"{draw.choice(_IDLE)} {name} kept bees behind the {draw.choice(_PLACES)}. She sold the first honey in {year}. "
        + " ".join(draw.sample(_IDLE, 3))
        for name, year in zip(names, years, strict=True)
    ]
    return _among(draw, texts, f"In which year did {names[0]} sell honey for the first time?", str(years[0]))


def _long_question(draw: random.Random, count: int) -> Question:
    """A person tells a story first."""
    numbers = draw.sample(range(10_000, 99_999), count)
    days = draw.sample([f"{day} {month}" for day in range(2, 28) for month in ("May", "July", "November")], count)
    texts = [
        f"Ticket {number} was opened by phone. {draw.choice(_IDLE)} The engineer comes on {day}. {draw.choice(_IDLE)}"
        for number, day in zip(numbers, days, strict=True)
    ]
    asked = (
        f"Hello, I have been waiting for a while now and nobody calls me back. My ticket has the number {numbers[0]}. "
        "I must take a day off for it, so please tell me: when does the engineer come?"
    )
    return _among(draw, texts, asked, days[0])


def _table(draw: random.Random, count: int) -> Question:
    """Markdown tables of ten rows each."""
    names = _people(draw, count * 10)
    phones = draw.sample(range(1000, 9999), len(names))
    rows = [f"| {name} | {draw.choice(_PLACES)} | {phone} |" for name, phone in zip(names, phones, strict=True)]
    head = "| name | works in | phone |\n|---|---|---|\n"
    texts = [head + "\n".join(rows[i * 10 : i * 10 + 10]) for i in range(count)]
    at = draw.randrange(10)
    return _among(draw, texts, f"What is the phone number of {names[at]}?", str(phones[at]))


def _json(draw: random.Random, count: int) -> Question:
    """Lines of JSON."""
    skus = draw.sample(range(100_000, 999_999), count * 8)
    prices = draw.sample(range(1000, 99_999), len(skus))
    rows = [
        json.dumps({"sku": f"A-{sku}", "place": draw.choice(_PLACES), "price": price / 100, "note": draw.choice(_IDLE)})
        for sku, price in zip(skus, prices, strict=True)
    ]
    texts = ["\n".join(rows[i * 8 : i * 8 + 8]) for i in range(count)]
    return _among(draw, texts, f"What does A-{skus[3]} cost?", str(prices[3] / 100))


def _log(draw: random.Random, count: int) -> Question:
    """Lines of a log."""
    jobs = draw.sample(range(1000, 9999), count * 8)
    times = draw.sample(range(10_000, 99_999), len(jobs))
    rows = [
        f"2026-03-{draw.randint(1, 28):02d} {draw.randint(0, 23):02d}:{draw.randint(0, 59):02d} "
        f"{draw.choice(('INFO', 'INFO', 'WARN'))} worker-{draw.randint(1, 9)} job {job} done in {ms} ms"
        for job, ms in zip(jobs, times, strict=True)
    ]
    texts = ["\n".join(rows[i * 8 : i * 8 + 8]) for i in range(count)]
    return _among(draw, texts, f"How long did job {jobs[5]} take?", f"{times[5]} ms")


def _code(draw: random.Random, count: int) -> Question:
    """One function per passage, in a fence."""
    nouns = draw.sample(("invoice", "parcel", "user", "token", "index", "ledger", "shift", "badge", "queue", "lease",
                         "voucher", "sensor", "tariff", "permit"), count)  # fmt: skip
    limits = draw.sample(range(100, 9999), count)
    texts = [
        f"```python\ndef check_{noun}(value):\n    # {draw.choice(_IDLE)}\n    if value > {limit}:\n"
        f"        raise ValueError(value)\n    return value\n```"
        for noun, limit in zip(nouns, limits, strict=True)
    ]
    return _among(draw, texts, f"Above which value does check_{nouns[0]} raise an error?", str(limits[0]))


def _german(draw: random.Random, count: int) -> Question:
    """German, with endings that differ between question and answer."""
    names, years = _people(draw, count), draw.sample(range(1900, 2020), count)
    idle = (
        "Das Gebäude wurde später erweitert.", "Darüber ist wenig bekannt.", "Im Winter ist geschlossen.",
        "Die Nachbarn wurden benachrichtigt.", "Ein Bericht liegt im Archiv.", "Der Eintritt ist frei.",
    )  # fmt: skip
    orte = ("Mühle", "Bäckerei", "Werkstatt", "Brauerei", "Gärtnerei", "Schmiede", "Druckerei", "Weberei", "Ziegelei",
            "Färberei", "Molkerei", "Sägerei")  # fmt: skip
    places = draw.sample(orte, min(count, len(orte)))
    texts = [
        " ".join(draw.sample([f"Die {place} wurde {year} von {name} gegründet.", *draw.sample(idle, 4)], 5))
        for place, name, year in zip(places, names, years, strict=False)
    ]
    return _among(draw, texts, f"Wer hat die {places[0]} gegründet?", names[0])


def _chinese(draw: random.Random, count: int) -> Question:
    """Chinese, without blanks."""
    city = draw.sample(
        ("北京", "上海", "广州", "成都", "杭州", "西安", "南京", "武汉", "青岛", "厦门", "大连", "昆明"), min(count, 12)
    )
    years = draw.sample(range(1950, 2020), len(city))
    idle = (
        "后来又扩建了两次。",
        "关于这一点没有更多资料。",
        "冬天不开放。",
        "邻居们收到了通知。",
        "报告保存在档案馆里。",
        "参观是免费的。",
    )
    texts = [
        "".join(draw.sample([f"{name}分店于{year}年开业。", *draw.sample(idle, 4)], 5))
        for name, year in zip(city, years, strict=True)
    ]
    return _among(draw, texts, f"{city[0]}分店是哪一年开业的？", str(years[0]))


STYLES: dict[str, Callable[[random.Random, int], Question]] = {
    "long paragraphs": _paragraphs,
    "other words": _other_words,
    "two steps": _two_steps,
    "long question": _long_question,
    "tables": _table,
    "JSON lines": _json,
    "logs": _log,
    "code": _code,
    "German": _german,
    "Chinese": _chinese,
}
