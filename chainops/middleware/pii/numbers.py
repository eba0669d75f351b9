"""Numbers that stand for a person or an account: cards, bank accounts, identity numbers, telephones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import ClassVar

from chainops.middleware.pii import checksums
from chainops.middleware.pii.finding import Finding
from chainops.middleware.pii.pattern import CAPITAL, LETTERED, Candidate, Form, Pattern, Scan, words

__all__ = ["NUMBERS", "Iban"]

_NOT_A_PHONE = words(
    r"order", r"invoice", r"ticket", r"tracking", r"sku", r"isbn", r"ref(?:erence)?", r"id", r"version", r"case",
    r"part", r"serial", r"batch", r"item", r"build", r"transaction", r"receipt", r"model", r"timestamp",
)  # fmt: skip
_PHONE_WORDS = words(
    r"(?:tele)?phones?", r"tel", r"mobile", r"cell(?:phone)?", r"call(?:ing|ed)?(?: me| us| him| her)?", r"fax", r"sms",
    r"whats ?app", r"dial", r"contact(?: number| no)?", r"reach(?: me| us| him| her)?", r"ring me", r"text me",
    r"hotline", r"landline", r"helpline", r"telefon", r"handy", r"phone_?number", r"mob", r"(?:my|your|his|her) number",
)  # fmt: skip

_PHONE_HINTS = (
    "phone", "tel", "mob", "cell", "call", "fax", "sms", "whats", "dial", "contact", "reach", "ring me", "text me",
    "line", "handy", "y number", "r number", "s number",
)  # fmt: skip

_NO_DIGIT = re.compile(r"\D+")
_EXTENSION = re.compile(r"[xX]|ext")
_SIGNS = re.compile(r"[ \r\n-]+")
_FRACTION = re.compile(r"\d\.\d{5,}")
_PARTS = re.compile(r"[-./ ]")


def _digits(value: str) -> str:
    return _NO_DIGIT.sub("", value)


def _card(value: str) -> bool:
    digits = _digits(value)
    first = int(digits[:6])
    size = len(digits)
    known = (
        (digits[0] == "4" and size in (13, 16, 19))
        or (size == 16 and (510000 <= first <= 559999 or 222100 <= first <= 272099))
        or (size == 15 and digits[:2] in ("34", "37"))
        or (size in (14, 16, 19) and digits[:2] in ("30", "36", "38", "39"))
        or (16 <= size <= 19 and (digits[:2] in ("62", "65", "64", "35", "81") or digits[:4] == "6011"))
        or (16 <= size <= 19 and digits[:2] in ("50", "56", "57", "58", "60", "63", "67"))
    )
    return known and len(set(digits)) > 1 and checksums.luhn(digits)


def _ssn(value: str) -> bool:
    digits = _digits(value)
    return digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def _aadhaar(value: str) -> bool:
    digits = _digits(value)
    return digits != digits[::-1] and checksums.verhoeff(digits)


def _phone(value: str) -> bool:
    body = _EXTENSION.split(value, maxsplit=1)[0]
    digits = _digits(body)
    if _FRACTION.fullmatch(body):
        return False
    return 7 <= len(digits) <= 15 and len(set(digits)) > 1 and not _is_date(body)


def _is_date(value: str) -> bool:
    parts = _PARTS.split(value.strip())
    if len(parts) < 3 or not all(p.isdigit() for p in parts[:3]):
        return False
    a, b, c = (int(p) for p in parts[:3])
    for year, month, day in ((a, b, c), (c, b, a), (c, a, b)):
        if 1900 <= year <= 2100:
            try:
                date(year, month, day)
            except (ValueError, OverflowError):
                continue
            return True
    return False


# 8 to 15 digits behind a plus or 00; separators between, no more than two in a row
_TAIL = r"(?:[ .-]{0,2}(?:ext\.?|x) ?\d{1,6})?(?!\d)(?![\w])"
_INTERNATIONAL = r"[+0](?<![\w.+].)(?:(?<=\+)|(?<!\d[ -]0)0)[1-9]\d{0,3}(?:[ ()./-]{0,2}\d){6,13}" + _TAIL
_LONG_PREFIX = r"[+01](?<![\w.+-].)(?:(?<=1)|(?<=\+)1|(?<=\+)001|(?<=0)01)[ .-]\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}" + _TAIL
_GROUPED = (
    r"[(\d](?<![\w.+(/-].)(?:(?<=\()\d{2,4}\) {0,2}\d{3,4}[ .-]\d{3,4}|(?<=\d)\d\d(?P<p>[.-])\d{3}(?P=p)\d{4})" + _TAIL
)
_ANY = r"[(\d](?<![\w.+(/-].)(?:(?<=\d)|\d)(?:[ ()./-]{0,2}\d){6,14}" + _TAIL

# at the end of a line, and on
_WRAPPED = r"\+[1-9]\d{0,3}(?:[ ()./-]{0,2}\d){2,8}[ -]?\r?\n {0,2}(?:[ ()./-]{0,2}\d){3,9}(?!\d)(?![\w])"

# a signature: the number, then what it is, then the end of the line
_SIGNED = (
    r"[+(\d](?<![\w.+(/-].)(?:(?<=\d)|\d)(?:[ ()./-]{0,2}\d){6,14}"
    r"(?= {1,3}(?i:office|work|home|main|direct|desk|private)[ \t]{0,8}(?:\n|\Z))"
)
_LINE = re.compile(r"(?:\A|\n)[ \t]{0,8}\Z")
_LINE_ENDS = ("office", "work", "home", "main", "direct", "desk", "private")

_LENGTHS = {
    code: int(size)
    for size, codes in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ DZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for code in codes.split()
}  # fmt: skip


class Iban:
    """IBANs, in groups or not; the country says the length, ISO 13616 the remainder."""

    kind = "IBAN"
    needs: tuple[str, ...] = ("0",)
    hints: tuple[str, ...] = ()
    begins = LETTERED
    least = 2
    # of any length: what looks like one waits a little longer than its country asks for
    opening = r"[A-Za-z](?<![^\W_].)[A-Za-z]\d\d(?:[ \r\n-]{0,2}[A-Za-z0-9]){11,29}(?![A-Za-z0-9])"
    _start = re.compile(r"[A-Za-z](?<![^\W_].)[A-Za-z]\d{2}(?=[ \r\n-]{0,2}[A-Za-z0-9])")
    _bodies: ClassVar = {
        size: re.compile(rf"(?:[ \r\n-]{{0,2}}[A-Za-z0-9]){{{size - 4}}}(?![A-Za-z0-9])") for size in _LENGTHS.values()
    }

    def candidates(self, text: str, start: int) -> Iterator[Candidate]:
        """What has the length that its country says."""
        for match in self._start.finditer(text, start):
            size = _LENGTHS.get(match[0][:2].upper())
            body = self._bodies[size].match(text, match.end()) if size else None
            if body is not None:
                yield Candidate(match.start(), body.end(), match.start(), body.end())

    def judge(self, scan: Scan, start: int, end: int) -> Finding | None:
        """Whether the remainder is right."""
        compact = _SIGNS.sub("", scan.text[start:end]).upper()
        valid = compact.isascii() and compact.isalnum() and checksums.iban(compact)
        return Finding(start, end, self.kind, 1.0) if valid else None


_AADHAAR_WORDS = words(r"aadh?aa?r", r"uidai?", r"आधार")
_SSN_WORDS = words(r"ssn", r"social(?:[ _]security)?(?:[ _](?:no|number))?", r"ss ?#")
_PASSPORT = words(r"passports?(?:[ _](?:no|number|nr))?", r"reisepass", r"passeport", r"pasaporte")
_PASSPORT_HINTS = ("passp", "reisepass", "pasap")
_PAN_WORDS = words(r"pan", r"pan[ _](?:no|number|card)", r"income tax", r"permanent account")

# between groups of digits whose check digit leaves no doubt: signs, or the end of a line
_GAP = r"(?:[ \t./-]{1,2}|[ -]?\r?\n {0,2})"

NUMBERS: tuple[Form, ...] = (
    Pattern(
        "CREDIT_CARD",
        rf"[2-8](?<!\d.)(?<!\d\..)(?=(?P<tail>\d{{12,18}}|\d{{3}}{_GAP}\d{{4}}{_GAP}\d{{4}}{_GAP}\d{{4}}"
        rf"|\d{{3}}{_GAP}\d{{6}}{_GAP}\d{{4,5}}|(?: \d){{12,18}})(?!\d))",
        1.0,
        _card,
        least=13,
    ),
    # its own form: what follows sixteen digits is more often the three behind the card
    Pattern(
        "CREDIT_CARD",
        r"[2-8](?<!\d.)\d{3}(?P<s>[ -])\d{4}(?P=s)\d{4}(?P=s)\d{4}(?P=s)\d{3}(?!\d)",
        1.0,
        _card,
        least=19,
    ),
    Iban(),
    Pattern(
        "AADHAAR",
        r"[2-9](?<!\d.)(?<!\d\..)(?<!\d{4}[ -].)(?<![\da-f]{4}.)(?=(?P<tail>\d{3}(?P<s>[ -]{0,2})\d{4}(?P=s)\d{4}"
        r"|\d{3}(?:[ -]\d{4}[ -]?\r?\n {0,2}|\r?\n {0,2}\d{4}[ -])\d{4}|(?: \d){11})"
        r"(?!\d|[ -]\d{4}| \d(?!\d)|[\da-f]{4}))",
        0.95,
        _aadhaar,
        least=12,
    ),
    Pattern(
        "AADHAAR",
        rf"\d(?<!\d\d)\d{{3}}{_GAP}?\d{{4}}{_GAP}?\d{{4}}(?!\d)",
        0.7,
        near=_AADHAAR_WORDS,
        hints=("aad", "uid", "आधार"),
        least=12,
    ),
    Pattern("PAN", r"[A-Z](?<![^\W_].)[A-Z]{2}[ABCFGHJLPTK][A-Z]\d{4}[A-Z](?![^\W_])", 0.9, begins="", least=4),
    Pattern(
        "PAN",
        r"[A-Za-z](?<![^\W_].)[A-Za-z]{2}[abcfghjlptkABCFGHJLPTK][A-Za-z]\d{4}[A-Za-z](?![^\W_])",
        0.8,
        near=_PAN_WORDS,
        needs=("pan", "tax"),
        begins="",
        least=4,
    ),
    Pattern("US_SSN", r"\d(?<![\w.-]\d)\d\d-\d{2}-\d{4}(?![\w-])", 0.9, _ssn, begins="", least=9),
    Pattern(
        "US_SSN",
        r"\d(?<![\w.-]\d)\d\d[ .\r\n-]{0,2}\d{2}[ .\r\n-]{0,2}\d{4}(?![\w-])",
        0.85,
        _ssn,
        near=_SSN_WORDS,
        hints=("ssn", "social", "ss#", "ss #"),
        least=9,
    ),
    Pattern(
        "PASSPORT",
        r"(?<![^\W_])(?:[A-Za-z]{1,2}\d{6,8}|\d{8,9}|[CFGHJ-NPRTV-Z][CFGHJ-NPRTV-Z0-9]{7,8}\d)(?![^\W_])",
        0.9,
        near=_PASSPORT,
        hints=_PASSPORT_HINTS,
        begins="",
    ),
    Pattern(
        "PASSPORT",
        r"[A-Z](?<![^\W_].)[A-Z]? \d{6,8}(?![^\W_])",
        0.9,
        near=_PASSPORT,
        hints=_PASSPORT_HINTS,
        begins=CAPITAL,
        least=6,
    ),
    Pattern("PHONE", _INTERNATIONAL, 0.8, _phone, begins=LETTERED, least=7),
    Pattern("PHONE", _WRAPPED, 0.7, _phone, needs=("+",), least=6),
    Pattern("PHONE", _LONG_PREFIX, 0.8, _phone, unless=_NOT_A_PHONE, begins=LETTERED, least=11),
    Pattern("PHONE", _GROUPED, 0.75, _phone, unless=_NOT_A_PHONE, begins=LETTERED, least=8),
    Pattern("PHONE", _SIGNED, 0.6, _phone, place=_LINE, needs=_LINE_ENDS, begins=LETTERED, least=7),
    Pattern(
        "PHONE",
        _ANY,
        0.6,
        _phone,
        near=_PHONE_WORDS,
        unless=_NOT_A_PHONE,
        hints=_PHONE_HINTS,
        begins=LETTERED,
        least=7,
    ),
)
"""The forms of all kinds of numbers."""
