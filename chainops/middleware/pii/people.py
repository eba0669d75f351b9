"""What surrounds a person: the day of birth, the address, and names where the words around them say so."""

from __future__ import annotations

import re

from chainops.middleware.pii.pattern import BEING, CAPITAL, LETTERED, WORD, Form, Pattern, words

__all__ = ["PEOPLE"]

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_ORDINAL = r"(?:st|nd|rd|th)?"
_DATE = (
    r"\d(?<![\w/.-].)(?:\d?(?P<d>[/.-])\d{1,2}(?P=d)(?:\d{4}|\d\d)|\d{3}(?P<e>[/.-])\d{1,2}(?P=e)\d{1,2}"
    rf"|\d?(?i:{_ORDINAL}(?: of)?[ -]{{1,2}}{_MONTH})\.?,?[ -]{{1,2}}\d{{4}})(?![\w/]|[.-]\d)"
)
# by the first letter, so that the search skips to it
_MONTH_FIRST = (
    r"[JFMASONDjfmasond](?<!\w.)(?:(?<=[Jj])(?i:an(?:uary)?|une?|uly?)|(?<=[Ff])(?i:eb(?:ruary)?)"
    r"|(?<=[Mm])(?i:ar(?:ch)?|ay)|(?<=[Aa])(?i:pr(?:il)?|ug(?:ust)?)|(?<=[Ss])(?i:ept?(?:ember)?)"
    r"|(?<=[Oo])(?i:ct(?:ober)?)|(?<=[Nn])(?i:ov(?:ember)?)|(?<=[Dd])(?i:ec(?:ember)?))"
    rf"\.? {{1,2}}\d{{1,2}}{_ORDINAL},? {{1,2}}\d{{4}}(?![\w/]|[.-]\d)"
)
_BORN = words(
    r"d\.?o\.?b", r"(?:date|day|place|year) of birth", r"birth ?da(?:te|y)", r"born(?: on| in)?", r"birth",
    r"date_of_birth", r"geb(?:oren|\.)?(?: am)?", r"né(?:e)? le",
)  # fmt: skip

_BORN_HINTS = ("birth", "born", "dob", "d.o", "do.b", "d.ob", "geb", "né")
_NUMBERS = re.compile(r"\d+")


def _is_date(value: str) -> bool:
    """A day of a month, in any order."""
    numbers = [int(n) for n in _NUMBERS.findall(value)]
    if len(numbers) == 2:
        return 1 <= numbers[0] <= 31 and 1850 <= numbers[1] <= 2100
    if numbers[0] > 999:
        numbers.reverse()
    day, month, year = numbers
    return 1 <= min(day, month) <= 12 and 1 <= max(day, month) <= 31 and (year < 100 or 1850 <= year <= 2100)


_NAME = r"[^\W\d_a-z][\w'’.-]{1,24}"
_SUFFIX = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Square|Sq|Terrace|Parkway|Pkwy|Highway"
    r"|Hwy|Crescent|Close|Nagar|Marg|Gardens|Row|Mews|Alley|Plaza)"
)
_UNIT = r"(?:,? (?i:apt|apartment|suite|ste|unit|flat|floor|#)\.? ?#?\w{1,6})?"
_REGION = r"(?:,? [A-Z][\w'.-]{1,24}(?: [A-Z][\w'.-]{1,24})?,? [A-Z]{2} \d{5}(?:-\d{4})?)?"
_STREET = (
    rf"\d(?<![\w.,/-]\d)\d{{0,4}}[A-Za-z]?,? (?:(?:{_NAME}|\d{{1,3}}(?:st|nd|rd|th)|of|de|la) ){{1,4}}{_SUFFIX}(?!\w)"
    rf"\.?{_UNIT}{_REGION}"
)
_BOX = r"P(?<!\w.)(?i:\.? ?o\.? box) \d{1,6}(?!\w)"
_GERMAN = (
    r"[A-ZÄÖÜ](?<!\w.)[\wäöüß-]{2,24}(?:straße|strasse|str\.|gasse|weg|allee|platz) "
    rf"\d{{1,4}}[a-z]?(?:,? \d{{5}} {_NAME})?"
)

_FULL = r"[A-Z][\w'’-]{1,24}(?: [A-Z]\.?)?(?: [A-Z][\w'’-]{1,24}){1,2}"
_SAID = rf"(?<!\w)(?i:name is|name's|called) (?P<v>{_FULL}|(?<=name is )[A-Z][\w'’-]{{1,24}})"
_SIGNED = rf"(?<!\w)(?i:signed,) (?P<v>{_FULL})"
_SPEAKING = rf"(?<!\w)(?i:this is) (?P<v>{_FULL})(?= (?:speaking|calling|from|here|with|again)(?!\w)|[.,!])"
_SAID_PLACE = re.compile(r"(?<!\w)(?i:(?:my|his|her|customer's|patient's) (?:full )?|i am )\Z")
_LABEL = (
    r"[AaCcEeNnPpUu](?<!\w.)(?:(?<=[Nn])(?i:ame)|(?<=[Uu])(?i:ser)|(?<=[Cc])(?i:ustomer|lient|ontact)"
    r"|(?<=[Pp])(?i:atient)|(?<=[Ee])(?i:mployee)|(?<=[Aa])(?i:pplicant|ccount holder))"
    rf"[\"']?[ \t]{{0,2}}[:=][ \t]{{0,2}}[\"']?(?P<v>{_FULL})(?=[ \t]{{0,3}}(?:[,;|\n)\"'}}<.(]|\Z|[-–]))"
)
_LABEL_PLACE = re.compile(
    r"(?:\A|[\n{,;|(\"'])[ \t]{0,8}[\"']?(?i:(?:full|customer|patient|user|first|last|account)[ _])?\Z"
)
_BEING = rf"{BEING}(?<!\wI am .)(?<!\wI['’]m .)(?<=(?=(?P<tail>{_FULL})).)"
_TITLE = rf"[MDPS](?<!\w.)(?:rs?|iss|s|rof|hri|mt)\.? (?P<v>[A-Z][\w'’-]{{1,24}}(?: {_NAME}){{0,2}})"
_PLACE = (
    r"(?<!\w)(?i:(?:location|hometown|city)(?: is| in|:)|(?:located|living|lives?|lived|residing|resides?|based) in"
    r"|moved to) (?P<v>[A-Z][\w'’-]{2,24}(?: [A-Z][\w'’-]{2,24}){0,2})"
)

PEOPLE: tuple[Form, ...] = (
    Pattern("DATE_OF_BIRTH", _DATE, 0.85, _is_date, near=_BORN, hints=_BORN_HINTS, begins=LETTERED, least=4),
    Pattern("DATE_OF_BIRTH", _MONTH_FIRST, 0.85, near=_BORN, hints=_BORN_HINTS, begins=WORD, least=5),
    Pattern("ADDRESS", _STREET, 0.7, begins=LETTERED),
    Pattern("ADDRESS", _BOX, 0.85, begins=CAPITAL),
    Pattern("ADDRESS", _GERMAN, 0.7, begins=CAPITAL),
    Pattern("PERSON", _SAID, 0.7, begins=WORD, needs=("name is", "name's", "i am called"), place=_SAID_PLACE),
    Pattern("PERSON", _BEING, 0.6, begins=BEING, needs=("i am ", "i'm ", "i’m ")),
    Pattern("PERSON", _SIGNED, 0.7, begins=WORD, needs=("signed,",)),
    Pattern("PERSON", _SPEAKING, 0.7, begins=WORD, needs=("this is",)),
    Pattern("PERSON", _LABEL, 0.7, begins=WORD, needs=(":", "="), place=_LABEL_PLACE),
    Pattern("PERSON", _TITLE, 0.6, begins=CAPITAL, needs=("mr", "ms", "miss", "dr", "prof", "shri", "smt")),
    Pattern(
        "LOCATION",
        _PLACE,
        0.6,
        begins=WORD,
        needs=(
            "location",
            "town",
            "city",
            "lived in",
            "located",
            "living",
            "lives in",
            "live in",
            "residing",
            "reside",
            "based in",
            "moved to",
        ),
    ),
)
"""The forms of what surrounds a person."""
