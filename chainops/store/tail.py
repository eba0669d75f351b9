"""Follow a trace file: what began or ended since the last look, open spans included."""

from __future__ import annotations

from collections.abc import Iterator

from chainops.store.reader import Reader, RunRow, SpanRow

__all__ = ["Tail"]

WATCHED_RUNS = 50
"""The newest so many runs are looked at, and every open one."""


class Tail:
    """Call :meth:`poll` again and again. What had ended before the first call is not reported.

    A look costs a read of the newest runs' rows; spans are read of those only whose sums or status changed.
    """

    def __init__(self, reader: Reader, *, from_start: bool = False) -> None:
        self._reader = reader
        self._seen: dict[int, str] = {}
        self._state: dict[int, tuple[str, int, int]] = {}
        if not from_start:
            for run, _ in self._changed():
                for span in reader.spans(run.id):
                    if span.status != "open":
                        self._seen[span.id] = span.status

    def poll(self) -> Iterator[tuple[RunRow, SpanRow]]:
        """Spans that are new, or whose status changed, in the order in which they began."""
        for run, state in self._changed():
            for span in self._reader.spans(run.id):
                if self._seen.get(span.id) != span.status:
                    self._seen[span.id] = span.status
                    yield run, span
            self._state[run.id] = state
        for gone in sorted(self._state)[: -10 * WATCHED_RUNS]:
            del self._state[gone]

    def _changed(self) -> Iterator[tuple[RunRow, tuple[str, int, int]]]:
        connection = self._reader.connection
        rows = connection.execute(
            "SELECT id FROM (SELECT id FROM run ORDER BY id DESC LIMIT ?)"
            " UNION SELECT id FROM run WHERE status = 'open' ORDER BY id",
            (WATCHED_RUNS,),
        ).fetchall()
        for (run_id,) in rows:
            run = self._reader.run_of(run_id)
            still_open = connection.execute(
                "SELECT count(*) FROM span WHERE run = ? AND status = 'open'", (run_id,)
            ).fetchone()[0]
            state = (run.status, run.spans, still_open)
            if self._state.get(run_id) != state:
                yield run, state
