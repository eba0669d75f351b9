"""Keys, tokens and passwords: by their prefix, or by the word before them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from chainops.middleware.pii.finding import Finding
from chainops.middleware.pii.pattern import WORD, Candidate, Form, Pattern, Scan

__all__ = ["CREDENTIALS", "Field"]

_EDGE = r"(?<![A-Za-z0-9])"
_PREFIXED = (
    r"(?:AKIA|ASIA|AGPA|AIDA|AROA|ABIA|ACCA)[0-9A-Z]{16}(?![0-9A-Za-z])",
    r"gh[pousr]_[A-Za-z0-9]{30,255}",
    r"github_pat_[A-Za-z0-9_]{30,255}",
    r"glpat-[\w-]{20,64}",
    r"xox[abeoprs]-[A-Za-z0-9-]{10,255}",
    r"sk-(?:proj-|ant-|svcacct-|or-)?[\w-]{20,255}",
    r"[srp]k_(?:live|test)_[A-Za-z0-9]{16,255}",
    r"AIza[\w-]{35}",
    r"hf_[A-Za-z0-9]{30,64}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-[\w-]{50,255}",
    r"SG\.[\w-]{16,32}\.[\w-]{32,64}",
    r"ya29\.[\w-]{20,255}",
    r"dop_v1_[0-9a-f]{64}",
)
_STARTS = (
    "akia", "asia", "agpa", "aida", "aroa", "abia", "acca", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_",
    "glpat-", "xox", "sk-", "k_live_", "k_test_", "aiza", "hf_", "npm_", "pypi-", "sg.", "ya29.", "dop_v1_",
)  # fmt: skip
# by the first letter, so that the search skips to it
_GIVEN = (
    r"[AaBbCcKkPpSsTt](?<![^\W_].)(?:"
    r"(?<=[Pp])(?i:ass(?:word|wd|phrase|code|wort)?|wd|rivate[ _-]?key)"
    r"|(?<=[Ss])(?i:ecret(?:[_-]access)?(?:[ _-]?key)?)"
    r"|(?<=[Aa])(?i:pi[ _-]?key|ccess[ _-]?key|pp[_-]secret)"
    r"|(?<=[Cc])(?i:lient[_-]secret)|(?<=[Tt])(?i:oken)|(?<=[Bb])(?i:earer)|(?<=[Kk])(?i:ennwort))"
    r"[\"'`]?(?:\s{0,3}[:=]{1,2}>?\s{0,3}|\s{1,3}is:?\s{1,3})(?:Bearer )?[\"'`]?(?P<v>[^\s\"'`,;<>]{6,512})"
)
_BEARER = r"(?<![^\W_])(?i:bearer|basic) (?P<v>[A-Za-z0-9+/=._~-]{16,512})"
_IN_URL = r"://[^\s/:@]{1,64}:(?P<v>[^\s/@]{3,128})@"
_WORDS = ("pass", "pwd", "secret", "key", "token", "bearer", "kennwort")
# header, then lines of base64 or of "Name: value", then the end, which may be missing
_PEM = (
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:[ \t]{0,8}(?:\r?\n|\\r\\n|\\n)[ \t]{0,8}|[ \t](?=[A-Za-z0-9+/=]{20})|(?=[A-Za-z0-9+/=]{20}))"
    r"(?:[A-Za-z0-9+/=]{1,100}|[A-Z][A-Za-z-]{2,20}: [^\n\\]{1,80}|(?=\r?\n|\\))){0,1000}"
    r"(?:(?:\s|\\[nr]){0,8}-----END [A-Z0-9 ]{1,60}-----)?"
)
_FIELD = re.compile(
    r"(?:^|[^a-z])(?:pass(?:word|wd|phrase|code|wort)?|pwd|(?:secret|client|app)?[ _-]?secret|kennwort|bearer"
    r"|(?:api|access|private|secret|secret[ _-]access)[ _-]?key|(?:auth|access|refresh)?[ _-]?token)$",
    re.IGNORECASE,
)


def _secret(value: str) -> bool:
    """Not an ordinary word: letters mixed with digits or signs, or more than 3 bits in each character."""
    value = value.rstrip(".!?)")
    if len(value) < 6:
        return False
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    signs = any(not c.isalnum() for c in value[1:-1]) and not value.replace("-", "").replace("'", "").isalpha()
    return mixed or signs or (len(value) >= 16 and _entropy(value) > 3.5)


def _entropy(value: str) -> float:
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values())


class Field:
    """The whole text of a field that is called ``password``, ``api_key`` or so."""

    kind = "SECRET"
    needs: tuple[str, ...] = ()
    opening = begins = ""
    hints: tuple[str, ...] = ()
    least = 0

    def candidates(self, text: str, start: int) -> Iterator[Candidate]:
        """The whole text."""
        if start == 0 and 0 < len(text) <= 4096:
            yield Candidate(0, len(text), 0, len(text))

    def judge(self, scan: Scan, start: int, end: int) -> Finding | None:
        """Whether its field says that it is a secret; of what is called a key or token, only what looks like one."""
        if not scan.field or not _FIELD.search(scan.field):
            return None
        sure = "pass" in scan.field.lower() or "secret" in scan.field.lower()
        likely = sure or (" " not in scan.text and _secret(scan.text))
        return Finding(start, end, self.kind, 0.9) if likely and "<" not in scan.text[:1] else None


CREDENTIALS: tuple[Form, ...] = (
    Pattern("API_KEY", _EDGE + "(?:" + "|".join(_PREFIXED) + ")", 1.0, needs=_STARTS, begins=""),
    Pattern("JWT", r"e(?<![\w.].)yJ[\w-]{8,4096}\.[\w-]{8,4096}\.[\w-]{0,1024}", 1.0, needs=("eyj",), begins=""),
    Pattern("PRIVATE_KEY", _PEM, 1.0, needs=("-----begin ",), begins=WORD),
    Pattern("SECRET", _GIVEN, 0.85, _secret, needs=_WORDS, begins=WORD),
    Pattern("SECRET", _BEARER, 0.85, _secret, needs=("bearer", "basic"), begins=WORD),
    Pattern("SECRET", _IN_URL, 0.9, needs=("://",), begins=""),
)
"""The forms of keys, tokens and passwords."""
