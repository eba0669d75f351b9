"""What one conversation knows: which placeholder stands for which value."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from chainops.calls import RunContext
from chainops.middleware.pii.finding import Finding, resolve
from chainops.middleware.pii.known import Known
from chainops.middleware.pii.scanner import Scanner
from chainops.middleware.pii.values import rebuild
from chainops.store.vault import Vault, subject_of

__all__ = ["PLACEHOLDER", "Thread", "Threads", "placeholders"]

PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]{1,30}_\d{1,7}>")
REMEMBERED, HELD = 4096, 400_000
"""Texts of a thread whose findings are remembered, and their characters."""
WARM = 128
SHORTEST = 3
_NAME = re.compile(r"[^\W\d_]['’\w-]{2,}")


class Thread:
    """Placeholders of one thread. Safe to use from several threads of the process.

    Args:
        name: of the thread, unique among tenants.
        subject: whose values they are, for their erasure.
        scanner: what looks.
        vault: where they are kept; None: in memory.
        removed: kinds that nothing is kept of: ``<SECRET>`` stands for all of them, for good.
    """

    def __init__(self, name: str, subject: str, scanner: Scanner, vault: Vault | None, removed: frozenset[str]) -> None:
        self.name, self.subject = name, subject
        self._scanner, self._vault, self._removed = scanner, vault, removed
        self.used = float("inf")
        self._version = self._held = 0
        self._lock = threading.Lock()
        self._placeholders: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._known = Known()
        self._scans: dict[tuple[str, str], list[Finding]] = {}
        self._cleaned: dict[tuple[str, str], str] = {}

    def refresh(self) -> None:
        """Take over what other processes have kept. Blocks for one read."""
        if self._vault is not None:
            for kind, number, value in self._vault.load(self.name):
                if value not in self._placeholders:
                    self._learn(kind, value, f"<{kind}_{number}>")

    def placeholder(self, kind: str, value: str) -> str:
        """What stands for a value, now and later. Blocks for one write where the value is new."""
        known = self._placeholders.get(value)
        if known is not None:
            return known
        with self._lock:
            if value in self._placeholders:
                return self._placeholders[value]
            if kind in self._removed:
                placeholder = f"<{kind}>"
            elif self._vault is not None:
                placeholder = f"<{kind}_{self._vault.add(self.name, self.subject, kind, value)}>"
            else:
                number = self._numbers[kind] = self._numbers.get(kind, 0) + 1
                placeholder = f"<{kind}_{number}>"
            self._learn(kind, value, placeholder)
        return placeholder

    def keep(self, values: Iterable[tuple[str, str]]) -> None:
        """Give placeholders to values, each with its kind."""
        for kind, value in values:
            self.placeholder(kind, value)

    def lookup(self, value: str) -> str | None:
        """What stands for a value, where it is known."""
        return self._placeholders.get(value)

    def value(self, placeholder: str) -> str | None:
        """What a placeholder stands for; None where it is none of this thread."""
        return self._values.get(placeholder)

    def restore(self, text: str, field: str = "") -> str:
        """The text with the values of this thread in place of its placeholders."""
        if "<" not in text or not self._values:
            return text
        values = self._values
        return PLACEHOLDER.sub(lambda match: values.get(match[0], match[0]), text)

    def known(self) -> Known | None:
        """The values that are known now, and the single names of people among them, as a form."""
        return self._known.view()

    def scan(self, texts: Iterable[tuple[str, str]]) -> None:
        """Look at texts that were not looked at before."""
        for key in texts:
            self._found(key)

    def unseen(self, texts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those that were not looked at before."""
        return [key for key in texts if key not in self._scans]

    def unknown(self, texts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Kind and value of what is in these texts and has no placeholder yet, each once, in order."""
        new: dict[tuple[str, str], None] = {}
        for key in texts:
            for found in self._found(key):
                value = key[0][found.start : found.end]
                if value not in self._placeholders:
                    new[found.kind, value] = None
        return list(new)

    def clean(self, text: str, field: str) -> str:
        """A text with placeholders for what is found in it and for what is known."""
        key, version = (text, field), self._version
        done = self._cleaned.get(key)
        if done is not None:
            return done
        out = self._replace(text, self.findings(text, self._found(key)))
        if len(self._cleaned) > REMEMBERED:
            self._cleaned = {}
        if version == self._version:  # nothing was learned meanwhile
            self._cleaned[key] = out
        return out

    def _found(self, key: tuple[str, str]) -> list[Finding]:
        found = self._scans.get(key)
        if found is None:
            found = self._scanner.find(*key)
            if len(self._scans) >= REMEMBERED or self._held > HELD:
                self.forget_texts()
            self._scans[key] = found
            self._held += len(key[0])
        return found

    def forget_texts(self) -> None:
        """Let go of texts and what was found in them; placeholders stay."""
        self._scans, self._cleaned, self._held = {}, {}, 0

    def findings(self, text: str, found: list[Finding]) -> list[Finding]:
        """What was found, and where known values stand, without overlaps."""
        known = self._known
        if not known:
            return found
        seen = known.find(text)
        return resolve([*found, *seen]) if seen else found

    def _replace(self, text: str, found: list[Finding]) -> str:
        if not found:
            return text
        parts: list[str] = []
        done = 0
        for start, end, kind, _ in found:
            parts += text[done:start], self.placeholder(kind, text[start:end])
            done = end
        return "".join((*parts, text[done:]))

    def _learn(self, kind: str, value: str, placeholder: str) -> None:
        self._placeholders[value] = placeholder
        if kind not in self._removed:
            self._values[placeholder] = value
        if len(value) >= SHORTEST:
            self._known.add(value, kind)
        if kind == "PERSON":
            for name in _NAME.findall(value):
                if name[0].isupper():
                    self._known.add(name, kind)
        self._version += 1
        self._cleaned = {}


def placeholders(value: Any) -> set[str]:
    """All placeholders in the texts of a value."""
    found: set[str] = set()

    def note(text: str, field: str) -> str:
        if "<" in text:
            found.update(PLACEHOLDER.findall(text))
        return text

    rebuild(value, note)
    return found


class Threads:
    """The threads that were used last. What is forgotten here is read from the vault again.

    Args:
        scanner: what looks.
        vault: None keeps everything in memory, and forgets the threads that were used least.
        removed: see :class:`Thread`.
        tenant_key, user_key: where the metadata of a run has the tenant and the user.
        ttl_s: seconds after which a thread that nobody used is forgotten here too.
        size: threads in memory.
        clock: seconds.
    """

    def __init__(
        self,
        scanner: Scanner,
        vault: Vault | None,
        removed: frozenset[str],
        tenant_key: str,
        user_key: str,
        ttl_s: float = 2_592_000.0,
        size: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl_s, self._clock = ttl_s, clock
        self._warm: OrderedDict[str, Thread] = OrderedDict()
        self._scanner, self._vault, self._removed, self._size = scanner, vault, removed, size
        self._tenant_key, self._user_key = tenant_key, user_key
        self._threads: OrderedDict[str, Thread] = OrderedDict()
        self._lock = threading.Lock()
        self._removals = -1

    def of(self, run: RunContext) -> Thread:
        """The thread of a run; one of its own where the run has no thread, which is kept in memory only."""
        name = self._name(run)
        with self._lock:
            thread = self._threads.get(name)
            if thread is None:
                user = run.metadata.get(self._user_key)
                tenant = str(run.metadata.get(self._tenant_key, ""))
                subject = subject_of(str(user) if user is not None else run.thread_id or "", tenant)
                vault = self._vault if run.thread_id is not None else None
                thread = self._threads[name] = Thread(name, subject, self._scanner, vault, self._removed)
                while len(self._threads) > self._size:
                    self._threads.popitem(last=False)
            else:
                self._threads.move_to_end(name)
        return thread

    def peek(self, run: RunContext) -> Thread | None:
        """The thread of a run where it is in memory."""
        return self._threads.get(self._name(run))

    def refresh(self, run: RunContext) -> Thread:
        """The thread of a run as the vault knows it now, after an erasure too. Blocks for two reads."""
        if self._vault is not None:
            removals = self._vault.removals()
            if removals != self._removals:
                with self._lock:
                    self._threads.clear()
                    self._warm.clear()
                self._removals = removals
        now = self._clock()
        with self._lock:
            while self._threads and next(iter(self._threads.values())).used < now - self._ttl_s:
                self._threads.popitem(last=False)
        thread = self.of(run)
        thread.used = now
        thread.refresh()
        with self._lock:  # texts of the threads that were used last are known already: those of the others go
            self._warm[thread.name] = thread
            self._warm.move_to_end(thread.name)
            while len(self._warm) > WARM:
                self._warm.popitem(last=False)[1].forget_texts()
        return thread

    def drop(self, run: RunContext) -> None:
        """Forget the thread of a run that has none: nobody can come back to it."""
        if run.thread_id is None:
            with self._lock:
                self._threads.pop(self._name(run), None)
                self._warm.pop(self._name(run), None)

    def _name(self, run: RunContext) -> str:
        if run.thread_id is None:
            return f"run\x00{run.run_id}"
        return f"{run.metadata.get(self._tenant_key, '')}\x00{run.thread_id}"
