"""Personal data out of what is written down: the mask of a trace, and texts for logs."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from chainops.calls import RunContext
from chainops.middleware.pii.finding import Finding
from chainops.middleware.pii.fold import fold
from chainops.middleware.pii.scanner import Scanner
from chainops.middleware.pii.thread import Thread, Threads
from chainops.store.vault import Keys

__all__ = ["Scrubber"]

SMALLEST = 10**6
REMEMBERED = 4096


class Scrubber:
    """Replaces what is personal in JSON values; made to be a ``Trace(mask=...)``.

    A value that its thread knows becomes the thread's placeholder, ``<EMAIL_1>``. Any other becomes its kind with an
    identifier that is equal for equal values, ``<EMAIL:5f0c2a9be1d4>``: a keyed HMAC-SHA256, which nobody without the
    key can compute, though there are few enough card numbers to try them all. Nothing is read or written.

    Names of fields are searched too, and whole numbers of seven or more digits, which become texts where found.
    """

    def __init__(self, scanner: Scanner, keys: Keys, threads: Threads | None = None) -> None:
        self._scanner, self._keys, self._threads = scanner, keys, threads
        self._run: RunContext | None = None
        self._scans: OrderedDict[tuple[str, str], list[Finding]] = OrderedDict()

    def for_run(self, run: RunContext) -> Scrubber:
        """The same with the placeholders of the run's thread."""
        bound = Scrubber(self._scanner, self._keys, self._threads)
        bound._run, bound._scans = run, self._scans
        return bound

    def __call__(self, value: Any) -> Any:
        """A copy of a JSON value without personal data."""
        return self._clean(value, "")

    def text(self, text: str, field: str = "") -> str:
        """A text without personal data. ``field``: the name of the field that holds it."""
        key = (text, field)
        found = self._scans.get(key)
        if found is None:
            found = self._scans[key] = self._scanner.find(text, field)
            while len(self._scans) > REMEMBERED:
                self._scans.popitem(last=False)
        thread = self._threads.peek(self._run) if self._threads is not None and self._run is not None else None
        if thread is not None:
            found = thread.findings(text, found)
        if not found:
            return text
        parts: list[str] = []
        done = 0
        for start, end, kind, _ in found:
            parts += text[done:start], self._placeholder(kind, text[start:end], thread)
            done = end
        return "".join((*parts, text[done:]))

    def _placeholder(self, kind: str, value: str, thread: Thread | None) -> str:
        known = thread.lookup(value) if thread is not None else None
        return known or f"<{kind}:{self.identifier(kind, value)}>"

    def identifier(self, kind: str, value: str) -> str:
        """What stands for a value in logs: equal for equal values, whatever their case and blanks."""
        plain = "".join(c for c in fold(value).text if c.isalnum() or c in "@+").casefold()
        return self._keys.mac(f"log {kind}", plain, 6).hex()

    def _clean(self, value: Any, field: str) -> Any:
        if isinstance(value, str):
            return self.text(value, field) if value else value
        if isinstance(value, dict):
            return {self.text(str(k)): self._clean(v, str(k)) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(v, field) for v in value]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= SMALLEST:
            written = str(value)
            cleaned = self.text(written, field)
            return value if cleaned == written else cleaned
        return value
