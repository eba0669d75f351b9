"""Addresses of machines and mail boxes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from chainops.middleware.pii.finding import Finding
from chainops.middleware.pii.pattern import Candidate, Form, Pattern, Scan, words

__all__ = ["NETWORK", "Email"]


class Email:
    """E-mail addresses: found at the ``@`` and read in both directions, so that the time is linear in the text."""

    kind = "EMAIL"
    needs: tuple[str, ...] = ("@", "%40")
    opening = begins = ""
    hints: tuple[str, ...] = ()
    least = 0
    # also as it stands in the query of a URL
    _domain = re.compile(r"[@%](?:(?<=@)|40)(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w])")
    _local = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}")
    _edge = ".!#$%&'*/=?^`{|}~-"

    def candidates(self, text: str, start: int) -> Iterator[Candidate]:
        """All addresses, with their local parts."""
        for match in self._domain.finditer(text, start):
            at = match.start()
            local = self._local.match(text[max(start, at - 64) : at][::-1])
            if local is not None and (size := len(local[0][::-1].lstrip(self._edge))):
                yield Candidate(at - size, match.end(), at - size, match.end())

    def judge(self, scan: Scan, start: int, end: int) -> Finding | None:
        """An address needs no further proof, but a password before the name of a machine is none."""
        if scan.text[start - 1 : start] == ":" and _USER.search(scan.text[max(0, start - 80) : start]):
            return None
        return Finding(start, end, self.kind, 1.0)


_USER = re.compile(r"://[^\s/:@]{1,64}:\Z")


def _public(value: str) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or value == "255.255.255.255")


def _has_digit(value: str) -> bool:
    return any(char.isdigit() for char in value)


_HEX = "[0-9A-Fa-f]"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_VERSION = words(r"v", r"versions?", r"release", r"section", r"chapter", r"build", r"firmware", r"driver", r"§")

_MAC = words(r"mac(?: addr(?:ess)?)?", r"ethernet", r"hwaddr", r"bssid", r"mac_?addr(?:ess)?")

NETWORK: tuple[Form, ...] = (
    Email(),
    Pattern(
        "IP_ADDRESS",
        rf"[0-9](?<![\w.]\d)(?:(?<=2)(?:5[0-5]|[0-4]\d)|(?<=1)\d?\d?|\d?)(?:\.{_OCTET}){{3}}(?![\w]|\.\d)",
        0.9,
        _public,
        unless=_VERSION,
        begins="",
        least=4,
    ),
    Pattern(
        "IP_ADDRESS",
        rf"[0-9A-Fa-f:](?<![\w:.].)(?:(?<=:)|{_HEX}{{0,3}}:)(?:{_HEX}{{0,4}}:){{1,6}}"
        rf"(?:(?:\d{{1,3}}\.){{3}}\d{{1,3}}|{_HEX}{{0,4}})(?![\w:])",
        0.9,
        _public,
        needs=(":",),
        begins="",
    ),
    Pattern(
        "MAC_ADDRESS",
        rf"{_HEX}(?<![\w:.-].){_HEX}(?:(?P<m>[:-]){_HEX}{{2}}(?:(?P=m){_HEX}{{2}}){{4}}|{_HEX}{{2}}\.{_HEX}{{4}}\.{_HEX}{{4}})(?![\w:-])",
        0.95,
        needs=(":", "-", "."),
        begins="",
    ),
    Pattern(
        "MAC_ADDRESS",
        rf"{_HEX}(?<![\w:.-].){_HEX}{{11}}(?![\w:-])",
        0.85,
        _has_digit,
        near=_MAC,
        hints=("mac", "ethernet", "hwaddr", "bssid"),
        begins="",
    ),
)
"""The forms of addresses of machines and mail boxes."""
