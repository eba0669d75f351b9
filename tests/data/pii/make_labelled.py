"""Labelled texts with structured personal data, and with much that only looks like it.

``python tests/data/pii/make_labelled.py [--count 1500] [--seed 1] > labelled.jsonl``, then
``chainops pii test labelled.jsonl``. Equal seeds give equal texts. Nothing in it belongs to anybody: numbers are drawn,
and their check digits are computed here, apart from the code that is tested.
"""

from __future__ import annotations

import argparse
import json
import random
import string
from collections.abc import Callable

Draw = Callable[[random.Random], str]

D5 = [[(a + b) % 5 if a < 5 and b < 5 else 0 for b in range(10)] for a in range(10)]
for a in range(10):
    for b in range(10):  # the dihedral group of order ten, from its definition
        if a < 5 <= b:
            D5[a][b] = 5 + (a + b - 5) % 5
        elif b < 5 <= a:
            D5[a][b] = 5 + (a - 5 - b) % 5
        elif a >= 5 and b >= 5:
            D5[a][b] = (a - b) % 5


MONTHS = "January February March April May June July August September October November December"


def listed(names: str) -> list[str]:
    return names.split()


def digits(r: random.Random, count: int) -> str:
    return "".join(r.choice(string.digits) for _ in range(count))


def luhn_digit(body: str) -> str:
    total = 0
    for i, d in enumerate(reversed(body)):
        n = int(d) * (2 if i % 2 == 0 else 1)
        total += n - 9 if n > 9 else n
    return str(-total % 10)


def verhoeff_digit(body: str) -> str:
    step = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]

    def permuted(d: int, times: int) -> int:
        for _ in range(times % 8):
            d = step[d]
        return d

    check = 0
    for i, d in enumerate(reversed(body), 1):
        check = D5[check][permuted(int(d), i)]
    return str(next(d for d in range(10) if D5[check][d] == 0))


def grouped(number: str, sizes: tuple[int, ...], sep: str) -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(number[at : at + size])
        at += size
    return sep.join(parts)


def card(r: random.Random) -> str:
    if r.random() < 0.2:
        body = r.choice(["34", "37"]) + digits(r, 12)
        number = body + luhn_digit(body)
        return r.choice([number, grouped(number, (4, 6, 5), r.choice(" -"))])
    body = r.choice(["4", "51", "52", "54", "55", "2221", "6011"])
    body += digits(r, 15 - len(body))
    number = body + luhn_digit(body)
    return r.choice([number, grouped(number, (4, 4, 4, 4), " "), grouped(number, (4, 4, 4, 4), "-")])


def no_card(r: random.Random) -> str:
    """Sixteen digits with a wrong check digit."""
    body = "4" + digits(r, 14)
    return body + str((int(luhn_digit(body)) + r.randint(1, 9)) % 10)


def aadhaar(r: random.Random) -> str:
    while True:
        body = r.choice("23456789") + digits(r, 10)
        number = body + verhoeff_digit(body)
        if number != number[::-1]:
            return r.choice([number, grouped(number, (4, 4, 4), " "), grouped(number, (4, 4, 4), "-")])


def no_aadhaar(r: random.Random) -> str:
    body = r.choice("23456789") + digits(r, 10)
    return body + str((int(verhoeff_digit(body)) + r.randint(1, 9)) % 10)


IBANS = {"DE": 18, "FR": 23, "GB": 18, "ES": 20, "NL": 14, "CH": 17, "AT": 16, "BE": 12, "IT": 23, "PL": 24}


def iban(r: random.Random) -> str:
    country = r.choice(sorted(IBANS))
    size = IBANS[country]
    body = digits(r, size)
    if country in ("GB", "NL"):
        body = "".join(r.choice(string.ascii_uppercase) for _ in range(4)) + digits(r, size - 4)
    if country == "IT":
        body = r.choice(string.ascii_uppercase) + digits(r, size - 1)
    value = int("".join(str(int(c, 36)) for c in body + country + "00"))
    number = f"{country}{98 - value % 97:02d}{body}"
    return r.choice([number, " ".join(number[i : i + 4] for i in range(0, len(number), 4))])


def pan(r: random.Random) -> str:
    letters = string.ascii_uppercase
    return (
        "".join(r.choice(letters) for _ in range(3))
        + r.choice("ABCFGHJLPT")
        + r.choice(letters)
        + digits(r, 4)
        + r.choice(letters)
    )


def ssn(r: random.Random) -> str:
    return f"{r.choice([*range(1, 666), *range(667, 900)]):03d}-{r.randint(1, 99):02d}-{r.randint(1, 9999):04d}"


FIRST = listed(
    "ann bob carla dmitri elif farid gita hugo ines jun kofi lena mona nils omar priya quinn rosa sven tara uma"
)
LAST = listed(
    "abel brandt costa dogan evans fischer garcia huang ito jansen kumar lopez meyer novak okafor patel rossi"
)
HOSTS = listed(
    "example.com mail.example.org shop-online.co.uk corp.internal.net uni-test.edu example.io post.example.de"
)


def email(r: random.Random) -> str:
    name = r.choice(
        [
            r.choice(FIRST),
            f"{r.choice(FIRST)}.{r.choice(LAST)}",
            f"{r.choice(FIRST)}_{digits(r, 2)}",
            f"{r.choice(FIRST)}+{r.choice(LAST)}",
            f"{r.choice(FIRST)[0]}{r.choice(LAST)}",
        ]
    )
    name = r.choice([name, name, name.title(), name.upper()])
    return f"{name}@{r.choice(HOSTS)}"


def phone(r: random.Random) -> str:
    country = r.choice(["1", "44", "49", "33", "91", "81", "55", "34", "31"])
    forms = [
        f"+{country} {digits(r, 2)} {digits(r, 4)} {digits(r, 4)}",
        f"+{country}{r.randint(1, 9)}{digits(r, 9)}",
        f"+{country}-{digits(r, 3)}-{digits(r, 7)}",
        f"+1 ({r.randint(201, 989)}) {r.randint(200, 999)}-{digits(r, 4)}",
        f"({r.randint(201, 989)}) {r.randint(200, 999)}-{digits(r, 4)}",
        f"{r.randint(201, 989)}-{r.randint(200, 999)}-{digits(r, 4)}",
        f"{r.randint(201, 989)}.{r.randint(200, 999)}.{digits(r, 4)}",
        f"00{country} {digits(r, 3)} {digits(r, 6)}",
    ]
    return r.choice(forms)


def local_phone(r: random.Random) -> str:
    """Only the words around say that it is a telephone."""
    return r.choice(
        [f"0{digits(r, 3)} {digits(r, 6)}", f"0{digits(r, 9)}", f"{r.choice('6789')}{digits(r, 4)} {digits(r, 5)}"]
    )


def ip(r: random.Random) -> str:
    if r.random() < 0.25:
        return ":".join(f"{r.randint(1, 65535):x}" for _ in range(8))
    return ".".join(str(r.choice([r.randint(1, 126), r.randint(128, 254)])) for _ in range(4))


def mac(r: random.Random) -> str:
    sep, form = r.choice(":-"), r.choice(["02x", "02X"])
    return sep.join(format(r.randint(0, 255), form) for _ in range(6))


def word(r: random.Random, size: int, letters: str = string.ascii_letters + string.digits) -> str:
    return "".join(r.choice(letters) for _ in range(size))


def api_key(r: random.Random) -> str:
    return r.choice(
        [
            "AKIA" + word(r, 16, string.ascii_uppercase + string.digits),
            "ghp_" + word(r, 36),
            "sk-" + word(r, 40),
            "xoxb-" + digits(r, 11) + "-" + word(r, 20),
            "AIza" + word(r, 35),
            "hf_" + word(r, 34),
            "glpat-" + word(r, 20),
        ]
    )


def jwt(r: random.Random) -> str:
    return f"eyJ{word(r, 30)}.eyJ{word(r, 60)}.{word(r, 43)}"


def password(r: random.Random) -> str:
    return word(r, 4, string.ascii_letters) + r.choice("!#$%&*?") + word(r, 4) + r.choice(string.digits)


def birth(r: random.Random) -> str:
    y, m, d = r.randint(1930, 2010), r.randint(1, 12), r.randint(1, 28)
    month = listed(MONTHS)[m - 1]
    return r.choice(
        [
            f"{y}-{m:02d}-{d:02d}",
            f"{d:02d}/{m:02d}/{y}",
            f"{d}.{m}.{y}",
            f"{d} {month} {y}",
            f"{month} {d}, {y}",
            f"{d} {month[:3]} {y}",
        ]
    )


def passport(r: random.Random) -> str:
    return r.choice(
        [
            word(r, 1, string.ascii_uppercase) + digits(r, 7),
            digits(r, 9),
            word(r, 2, string.ascii_uppercase) + digits(r, 7),
        ]
    )


def disguised(r: random.Random, value: str, kind: str) -> str:
    """The same value as keyboards, word processors and careless copying write it."""
    numbers = ("CREDIT_CARD", "IBAN", "AADHAAR")
    way = r.randrange(12)
    if way == 0 and " " in value:
        return value.replace(" ", r.choice(["\u00a0", "\u202f", "  "]))
    if way == 1 and "-" in value and kind in (*numbers, "US_SSN", "PHONE"):
        return value.replace("-", r.choice(["\u2011", "\u2013"]))
    if way == 2 and kind in (*numbers, "PHONE", "US_SSN", "PAN", "IP_ADDRESS"):
        zero = r.choice([0xFF10, 0x0966, 0x0660])
        return "".join(chr(zero + int(c)) if c in string.digits else c for c in value)
    if way == 3 and kind in numbers and " " in value:
        at = r.choice([i for i, c in enumerate(value) if c == " "])
        return value[:at] + "\n" + value[at + 1 :]
    if way == 4 and kind in (*numbers, "EMAIL", "API_KEY"):
        at = r.randint(1, len(value) - 1)
        return value[:at] + r.choice(["\u200b", "\u00ad", "\u2060"]) + value[at:]
    return value


ANY = [
    "{}",
    "It is {}.",
    "{} is right.",
    "Please note {}, thanks.",
    '{{"value": "{}"}}',
    "- {}\n",
    "a;{};b",
    "| x | {} |",
    "({})",
    "see '{}' in the form",
    "old: -\nnew: {}\n",
    "<td>{}</td>",
    "Is it {}?",
    "{}!",
    "[{}]",
    "so {} and nothing else",
]
VALUES: dict[str, tuple[Draw, list[str]]] = {
    "CREDIT_CARD": (card, [*ANY, "Charge {} please", "card no {} exp 12/29"]),
    "IBAN": (iban, [*ANY, "Transfer 20 EUR to {}", "IBAN: {} BIC: TESTDEFF"]),
    "AADHAAR": (aadhaar, [*ANY, "my Aadhaar is {}", "UIDAI no. {}"]),
    "PAN": (pan, [*ANY, "PAN {} was given", "PAN card: {}"]),
    "US_SSN": (ssn, [*ANY, "SSN {}", "social security number {}"]),
    "EMAIL": (email, [*ANY, "Mail {} today", "From: <{}>", "mailto:{}", "cc {},"]),
    "PHONE": (phone, [*ANY[:6], "Call {} now", "tel: {}", "My number is {}.", "reach me on {}", "fax {}"]),
    "IP_ADDRESS": (ip, ["from {}", "host {} is down", "client={} status=200", "[{}]", "ping {}", "{} - - GET /index"]),
    "MAC_ADDRESS": (mac, [*ANY, "device {} joined", "hwaddr {}"]),
    "API_KEY": (api_key, [*ANY, "export KEY={}", "curl -H 'x: {}'"]),
    "JWT": (jwt, [*ANY, "cookie: s={}; path=/"]),
    "SECRET": (
        password,
        [
            "password: {}",
            "my password is {}",
            'DB_PASSWORD="{}"',
            '{{"api_key": "{}"}}',
            "secret = '{}'",
            "the passphrase is {}",
            "token={}",
        ],
    ),
    "DATE_OF_BIRTH": (
        birth,
        ["born on {}", "DOB: {}", "date of birth {}", "{} is my birthday", '{{"birth_date": "{}"}}'],
    ),
    "PASSPORT": (
        passport,
        ["passport {}", "passport no: {}", "my passport number is {}", "Passport No. {} expires soon"],
    ),
}
LOCAL_PHONE = ["call me at {}", "phone: {}", "my mobile is {}", "Tel. {}", "contact number {}", "{} is my phone"]


def date(r: random.Random) -> str:
    return f"{r.randint(2000, 2030)}-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}"


NOTHING: list[tuple[Draw, list[str]]] = [
    (no_card, ["order {}", "item {}", "reference {}", "{}"]),
    (no_aadhaar, ["invoice {}", "batch {}", "part no {}"]),
    (date, ["released on {}", "due {}", "the meeting of {} was moved", "{} 12:30:00 INFO started"]),
    (
        lambda r: f"{r.randint(0, 9)}.{r.randint(0, 20)}.{r.randint(0, 20)}",
        ["version {}", "chainops {}", "upgrade to {}"],
    ),
    (
        lambda r: f"{r.randint(1, 20)}.{r.randint(0, 9)}.{r.randint(0, 9)}.{r.randint(0, 9)}",
        ["version {}", "driver {}"],
    ),
    (lambda r: word(r, 40, "0123456789abcdef"), ["commit {}", "sha1 {}", "etag {}"]),
    (lambda r: "-".join(word(r, n, "0123456789abcdef") for n in (8, 4, 4, 4, 12)), ["id {}", "uuid={}", "run {} done"]),
    (lambda r: f"{r.randint(1, 99999)},{digits(r, 3)}.{digits(r, 2)}", ["it costs {} EUR", "total: {}", "{} people"]),
    (lambda r: digits(r, r.randint(3, 6)), ["order {}", "page {}", "room {}", "{} items", "ticket #{}"]),
    (lambda r: f"{r.randint(0, 23):02d}:{r.randint(0, 59):02d}:{r.randint(0, 59):02d}", ["at {}", "{} UTC", "took {}"]),
    (lambda r: f"978-{r.randint(0, 9)}-{digits(r, 3)}-{digits(r, 5)}-{r.randint(0, 9)}", ["ISBN {}", "isbn: {}"]),
    (lambda r: str(r.randint(1_600_000_000, 1_800_000_000)), ["timestamp {}", "ts={}", "epoch {}"]),
    (lambda r: f"{r.choice(FIRST)} and {r.choice(LAST)}", ["the words {}", "{} are names of nobody"]),
    (lambda r: f"@{r.choice(FIRST)}{digits(r, 2)}", ["follow {}", "ping {} please"]),
    (lambda r: f"{word(r, 3, string.ascii_uppercase)}-{digits(r, 5)}", ["ticket {}", "see {}", "sku {}"]),
    (lambda r: f"{r.randint(1, 12)}/{r.randint(1, 12)}", ["{} of them", "ratio {}", "chapter {}"]),
    (lambda r: f"{digits(r, 3)}x{digits(r, 3)}", ["an image of {} pixels", "size {}"]),
    (
        lambda r: r.choice(["forgotten", "too short", "required", "wrong", "stored safely"]),
        ["your password is {}", "the key is {}"],
    ),
    (lambda r: f"{r.randint(1, 9)}.{digits(r, 12)}", ["pi times {}", "score {}"]),
    (lambda r: f"https://{r.choice(HOSTS)}/{word(r, 8)}?page={digits(r, 2)}", ["see {}", "[link]({})"]),
    (lambda r: f"{word(r, 2, string.ascii_uppercase)}{digits(r, 2)} {word(r, 4)}", ["code {}", "room {}"]),
    (lambda r: " ".join(str(r.randint(1990, 2030)) for _ in range(4)), ["the years {}", "in {}"]),
    (lambda r: "\n".join(digits(r, 4) for _ in range(3)), ["rooms\n{}", "{}\n"]),
    (lambda r: " ".join(str(i) for i in range(r.randint(1, 3), 15)), ["count {}", "{} and so on"]),
    (lambda r: "C:\\new\\" + word(r, 8), ["saved to {}", "open {}"]),
    (
        lambda r: "",
        [
            "The quick brown fox jumps over the lazy dog.",
            "We met in May and again in 2019.",
            "Call me later.",
            "My phone is broken.",
            "He was born in 1980.",
            "The passport office is closed.",
            "The card was declined.",
        ],
    ),
]
PROSE = [
    "We looked at it twice. ",
    "Thanks for your patience! ",
    "As I said before, ",
    "Hello,\n\n",
    "",
    "",
    "",
    "ok so ",
]


def labelled(count: int = 1500, seed: int = 1) -> list[dict[str, object]]:
    """Texts with one to three values, or with none."""
    r = random.Random(seed)
    rows = []
    kinds = sorted(VALUES)
    for i in range(count):
        text, spans = r.choice(PROSE), []
        for _ in range(r.choice([1, 1, 1, 2, 3])):
            if i % 3 == 2:
                draw, templates = r.choice(NOTHING)
                template, kind = r.choice(templates), None
            else:
                kind = kinds[r.randrange(len(kinds))]
                draw, templates = VALUES[kind]
                if kind == "PHONE" and r.random() < 0.3:
                    draw, templates = local_phone, LOCAL_PHONE
                template = r.choice(templates)
            value = draw(r) if kind is None else disguised(r, draw(r), kind)
            before, _, after = template.replace("{{", "\x01").replace("}}", "\x02").partition("{}")
            if text and not text.endswith((" ", "\n")):
                text += r.choice([" ", ". ", "\n", "; "])
            text += before.replace("\x01", "{").replace("\x02", "}")
            if kind is not None:
                spans.append({"start": len(text), "end": len(text) + len(value), "kind": kind})
            text += (value + after.replace("\x01", "{").replace("\x02", "}")) if "{}" in template else ""
        rows.append({"text": text, "spans": spans})
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for row in labelled(options.count, options.seed):
        print(json.dumps(row, ensure_ascii=False))
