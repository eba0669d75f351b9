"""What a person said before in a thread, and how suspicious all of it is together."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from hashlib import blake2b

__all__ = ["DECAY", "Threads"]

DECAY = 0.7  # of the kept score with each further turn
LONG = 4_000  # characters of a turn that are kept
SEEN = 16  # turns of a thread that are known again when they are judged a second time


class _Thread:
    __slots__ = ("kept", "last", "seen")

    def __init__(self, turns: int) -> None:
        self.kept = 0.0
        self.last: deque[tuple[bytes, str]] = deque(maxlen=turns)
        self.seen: OrderedDict[bytes, float] = OrderedDict()


class Threads:
    """The last turns and the kept score of each thread, in this process; the threads longest silent are forgotten.

    The kept score is the sum of the scores of all turns, each weighted with 0.7 for every turn since.
    """

    def __init__(self, turns: int, size: int = 2_048) -> None:
        self.turns, self.size = turns, size
        self._threads: OrderedDict[str, _Thread] = OrderedDict()
        self._lock = threading.Lock()

    def before(self, thread: str, text: str) -> list[str]:
        """The last turns of a thread, without ``text`` itself."""
        mark = _mark(text)
        with self._lock:
            known = self._threads.get(thread)
            return [] if known is None else [said for digest, said in known.last if digest != mark]

    def add(self, thread: str, text: str, score: float) -> float:
        """Count one turn, once however often it is judged; the kept score after it."""
        mark = _mark(text)
        with self._lock:
            known = self._threads.setdefault(thread, _Thread(self.turns))
            self._threads.move_to_end(thread)
            if len(self._threads) > self.size:
                self._threads.popitem(last=False)
            if mark in known.seen:
                return known.seen[mark]
            known.kept = known.seen[mark] = known.kept * DECAY + score
            known.last.append((mark, text[:LONG]))
            if len(known.seen) > SEEN:
                known.seen.popitem(last=False)
            return known.kept


def _mark(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
