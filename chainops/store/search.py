"""Full-text search over names, inputs, outputs and errors (SQLite FTS5).

Indexing costs as much as storing a span, so it is not done on the way in: each search first indexes the runs that
have ended since the last one. What cannot be indexed (open runs; a file that is read-only) is scanned.
"""

from __future__ import annotations

import re
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chainops.errors import StoreError
from chainops.store.reader import Reader, RunRow, SpanRow
from chainops.store.schema import connect, immediate

__all__ = ["Hit", "SearchText", "index_pending", "search"]

MAX_INDEXED = 20_000
"""Characters of one input or output that are searchable."""

_ESCAPES = re.compile(r'\\(?:u[0-9a-fA-F]{4}|[nrtbf"\\/])')
_SEARCH_TEXT_SQL = (
    "SELECT s.id, s.name, coalesce(s.input, ''), coalesce(s.output, ''), coalesce(s.error_type, '') || ' ' ||"
    " coalesce(s.error_message, ''), i.data, o.data FROM span s LEFT JOIN payload i ON i.id = s.input_payload"
    " LEFT JOIN payload o ON o.id = s.output_payload WHERE s.run = ?"
)
SearchText = tuple[int, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Hit:
    """A span that matches, its run, and the text around the first match."""

    span: SpanRow
    run: RunRow
    snippet: str


def texts_of(connection: sqlite3.Connection, run: int, *, with_open: bool = False) -> Iterator[SearchText]:
    """(span id, name, input, output, error) of a run's spans, as they are indexed.

    Open spans are not: their text will change, and the index must be told the old text to forget it.
    """
    sql = _SEARCH_TEXT_SQL if with_open else _SEARCH_TEXT_SQL + " AND s.status <> 'open'"
    for span, name, given, output, error, given_data, output_data in connection.execute(sql, (run,)):
        if given_data is not None:
            given = zlib.decompress(given_data).decode()
        if output_data is not None:
            output = zlib.decompress(output_data).decode()
        yield span, name, _readable(given), _readable(output), error


def _readable(json_text: str) -> str:
    return _ESCAPES.sub(" ", json_text[:MAX_INDEXED])


def index_pending(
    path: str | Path, *, slice_runs: int = 100, progress: Callable[[int, int], None] | None = None
) -> bool:
    """Index the runs that ended since the last time, in short transactions. False when the file cannot be written.

    ``progress`` is called with (done, all) after each slice.
    """
    try:
        connection = connect(path, busy_ms=2000)
    except sqlite3.Error:
        return False
    try:
        where = "searched = 0 AND status <> 'open'"
        total = connection.execute(f"SELECT count(*) FROM run WHERE {where}").fetchone()[0]  # noqa: S608
        done = 0
        while done < total:
            with immediate(connection):
                pending = f"SELECT id FROM run WHERE {where} LIMIT ?"  # noqa: S608
                runs = [row[0] for row in connection.execute(pending, (slice_runs,))]
                for run in runs:
                    _index_run(connection, run)
            if not runs:
                break
            done += len(runs)
            if progress is not None:
                progress(done, total)
        return True
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()


def _index_run(connection: sqlite3.Connection, run: int) -> None:
    # A run that went on after it had been indexed has some spans in the index already.
    known = _indexed(connection, run)
    insert = "INSERT INTO span_search (rowid, name, input, output, error) VALUES (?, ?, ?, ?, ?)"
    connection.executemany(insert, [row for row in texts_of(connection, run) if row[0] not in known])
    connection.execute("UPDATE run SET searched = 1 WHERE id = ?", (run,))


def _indexed(connection: sqlite3.Connection, run: int) -> set[int]:
    sql = "SELECT d.id FROM span_search_docsize d JOIN span s ON s.id = d.id WHERE s.run = ?"
    return {row[0] for row in connection.execute(sql, (run,))}


def unindex_run(connection: sqlite3.Connection, run: int) -> None:
    """Take a run's spans out of the index, before they are deleted."""
    if known := _indexed(connection, run):
        delete = (
            "INSERT INTO span_search (span_search, rowid, name, input, output, error) VALUES ('delete', ?, ?, ?, ?, ?)"
        )
        connection.executemany(delete, [row for row in texts_of(connection, run) if row[0] in known])


def compact_index(connection: sqlite3.Connection, pages: int = 200) -> None:
    """Merge the index into one piece, in short transactions: only then is what was deleted from it really gone."""
    step = -pages  # a negative number begins a full merge, positive ones continue it
    while True:
        before = connection.total_changes
        with immediate(connection):
            connection.execute("INSERT INTO span_search (span_search, rank) VALUES ('merge', ?)", (step,))
        if connection.total_changes - before < 2:  # SQLite's own sign that nothing is left to do
            return
        step = pages


def terms_of(query: str) -> list[str]:
    """Words and "quoted phrases" of a query; all of them must occur. A trailing * matches beginnings."""
    found = [phrase or word for phrase, word in re.findall(r'"([^"]+)"|(\S+)', query)]
    terms = [term for term in found if re.search(r"\w", term)]
    if not terms:
        raise StoreError(f"Nothing to search for in {query!r}", hint="Give at least one word.", code="store.query")
    return terms


def search(reader: Reader, query: str, *, limit: int = 20) -> list[Hit]:
    """The newest spans that contain every word of ``query`` somewhere in name, input, output or error."""
    terms = terms_of(query)
    match = " AND ".join(_quoted(term) for term in terms)
    sql = "SELECT rowid FROM span_search WHERE span_search MATCH ? ORDER BY rowid DESC LIMIT ?"
    ids = [row[0] for row in reader.connection.execute(sql, (match, limit))]
    for (run,) in reader.connection.execute("SELECT id FROM run WHERE searched = 0 ORDER BY id DESC").fetchall():
        known = set(ids)
        for text in texts_of(reader.connection, run, with_open=True):
            if text[0] not in known and _contains(text, terms):
                ids.append(text[0])
    spans = sorted(reader.spans_by_id(set(ids)), key=lambda span: span.start_ns, reverse=True)[:limit]
    runs: dict[int, RunRow] = {}
    return [Hit(s, runs.setdefault(s.run, reader.run_of(s.run)), _snippet(s, terms)) for s in spans]


def _quoted(term: str) -> str:
    star = "*" if term.endswith("*") else ""
    return '"' + term.rstrip("*").replace('"', '""') + '"' + star


def _contains(text: SearchText, terms: list[str]) -> bool:
    whole = " ".join(text[1:]).casefold()
    return all(_pattern(term).search(whole) for term in terms)


def _pattern(term: str) -> re.Pattern[str]:
    words = r"\W+".join(re.escape(word) for word in re.findall(r"\w+", term.casefold()))
    return re.compile(r"\b" + words + ("" if term.endswith("*") else r"\b"), re.IGNORECASE)


def _snippet(span: SpanRow, terms: list[str], width: int = 80) -> str:
    for text in (span.error_message or "", _readable(span.output or ""), _readable(span.input or ""), span.name):
        for term in terms:
            if found := _pattern(term).search(text):
                start = max(0, found.start() - width // 3)
                end = start + width
                return ("…" if start else "") + " ".join(text[start:end].split()) + ("…" if end < len(text) else "")
    return ""
