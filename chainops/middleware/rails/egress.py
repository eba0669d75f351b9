"""What must not leave: links that carry data out, pictures that load from elsewhere, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, ClassVar
from urllib.parse import urlsplit

from chainops.middleware.rails.patterns import PatternRail
from chainops.middleware.rails.verdict import Place

__all__ = ["Egress"]

SECRETS = {
    "private_key": r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY-----",
    "aws_key": r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA)[0-9A-Z]{16}\b",
    "github_token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,80}|github_pat_[A-Za-z0-9_]{50,100})\b",
    "openai_key": r"\bsk-(?:proj-|ant-|or-)?[A-Za-z0-9_-]{20,160}\b",
    "google_key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "slack_token": r"\bxox[abeoprs]-[0-9A-Za-z-]{10,80}\b",
    "stripe_key": r"\b[rs]k_(?:live|test)_[0-9A-Za-z]{16,100}\b",
    "jwt": r"\beyJ[A-Za-z0-9_-]{10,1000}\.eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,600}",
    "password_in_url": r"\b[a-z][a-z0-9+]{1,15}://[^\s/:@]{1,100}:[^\s/:@]{1,100}@[^\s/]{1,200}",
}
LINKS = {
    "image": r"!\[[^\]\n]{0,300}\]\([^)\n]{0,2000}\)",
    "html": r"<(?i:img|iframe|script|link|object|embed|video|audio|source|form|base|svg|meta)\b[^>]{0,2000}>",
    "url": r"\b(?i:https?|ftp|wss?)://[^\s<>()\[\]\"'`]{1,2000}",
}
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//[^\s<>()\[\]\"'`]+", re.IGNORECASE)
_DATA = re.compile(r"[?&#/=][^?&#/=\s]{40,}|[?&][^=&\s]{1,40}=[^&\s]{16,}")


class Egress(PatternRail):
    """Refuses answers and tool calls that would carry something out.

    Counted are secrets (keys, tokens, passwords in addresses), pictures and HTML that load from another host, and links
    that carry data (a long value in the query or path). With ``hosts``, every link to another host counts.

    Args:
        hosts: names of hosts that may be linked to and loaded from, with their subdomains.
        secrets: look for secrets. links: look for links and what loads by itself.
    """

    default_places: ClassVar[tuple[Place, ...]] = ("output", "tool_call")

    def __init__(
        self,
        name: str = "egress",
        *,
        hosts: Iterable[str] | None = None,
        secrets: bool = True,
        links: bool = True,
        **options: Any,
    ) -> None:
        self.hosts = None if hosts is None else frozenset(h.lower().lstrip(".") for h in hosts)
        super().__init__(name, {**(SECRETS if secrets else {}), **(LINKS if links else {})}, **options)

    def describe(self) -> dict[str, Any]:
        """Its hosts too."""
        return {**super().describe(), "hosts": None if self.hosts is None else sorted(self.hosts)}

    def counts(self, category: str, value: str) -> bool:
        """For links: whether any address in it is foreign, or carries data."""
        if category not in LINKS:
            return True
        addresses = _ADDRESS.findall(value)
        if category == "url":
            return any(self._foreign(a) if self.hosts is not None else bool(_DATA.search(a)) for a in addresses)
        return any(self._foreign(address) for address in addresses)

    def _foreign(self, address: str) -> bool:
        try:
            host = (urlsplit(address).hostname or "").lower().rstrip(".")
        except ValueError:
            return True
        return not any(host == known or host.endswith(f".{known}") for known in self.hosts or ())
