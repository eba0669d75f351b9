"""Files of other systems: written run by run, read whole, told apart by what stands in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from chainops.errors import SetupError
from chainops.store.exchange import langfuse, langsmith, mlflow, phoenix
from chainops.store.exchange.load import load
from chainops.store.exchange.record import Trace, collect
from chainops.store.export import ExportReport
from chainops.store.reader import Reader, RunRow

__all__ = ["FORMS", "ImportReport", "export_as", "import_traces"]

Progress = Callable[[int], None]
Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Form:
    write: Callable[[Trace], Iterable[Any]]
    fits: Callable[[Mapping[str, Any]], bool]
    read: Callable[[Records], list[Trace]]


FORMS: Mapping[str, _Form] = {
    "langsmith": _Form(langsmith.write, langsmith.is_run, langsmith.read),
    "langfuse": _Form(lambda trace: [langfuse.write(trace)], langfuse.is_record, langfuse.read),
    "phoenix": _Form(lambda trace: [phoenix.write(trace)], phoenix.is_span, phoenix.read),
    "mlflow": _Form(lambda trace: [mlflow.write(trace)], mlflow.is_trace, mlflow.read),
}


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What came in. ``known``: runs that were in the file already and were left alone."""

    form: str
    runs: int
    spans: int
    scores: int
    known: int


def export_as(
    form: str,
    reader: Reader,
    runs: Iterable[RunRow],
    out: IO[str],
    *,
    content: bool = True,
    progress: Progress | None = None,
) -> ExportReport:
    """Write runs as JSON Lines in the form of another system: a run per line (LangSmith: a span per line).

    Raises:
        SetupError: there is no such form (``setup.export``).
    """
    chosen = _form(form)
    count = spans = still_open = 0
    for run in runs:
        trace = collect(reader, run, content=content)
        for record in chosen.write(trace):
            out.write(orjson.dumps(record).decode() + "\n")
        count, spans = count + 1, spans + len(trace.spans)
        still_open += sum(span.end_ns is None for span in trace.spans)
        if progress is not None:
            progress(count)
    return ExportReport(count, spans, still_open)


def import_traces(
    file: str | Path, db: str | Path, *, form: str | None = None, progress: Progress | None = None
) -> ImportReport:
    """Store the traces of a file: JSON, JSON Lines, or an answer of the system's interface.

    A run that ``db`` has already is left alone, so that importing twice is importing once.

    Args:
        form: one of ``FORMS``; told from the content when None.

    Raises:
        SetupError: it cannot be read, is of no known form, or a record is not as its form has it
            (``setup.trace_import``). Nothing was stored then.
    """
    records = _records(Path(file))
    name = form or next((n for n, f in FORMS.items() if records and f.fits(records[0])), None)
    if name is None:
        known = ", ".join(FORMS)
        raise _wrong(file, f"is of none of these forms: {known}", "Export it as JSON from one of them.")
    try:
        traces = [trace for trace in _form(name).read(records) if trace.spans]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _wrong(
            file, f"is not as {name} writes it: {type(error).__name__}: {error}", "Export it there again."
        ) from error
    return ImportReport(name, *load(db, traces, progress))


def _form(name: str) -> _Form:
    if name in FORMS:
        return FORMS[name]
    import difflib

    close = difflib.get_close_matches(name, FORMS, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(FORMS)}."
    raise SetupError(f"There is no form {name!r}", hint=hint, code="setup.export")


def _records(file: Path) -> list[Mapping[str, Any]]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise _wrong(file, f"cannot be read: {error.strerror}", "Check the path.") from None
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        found = _lines(file, data)
    flat = _unpacked(found)
    if not flat or not all(isinstance(record, Mapping) for record in flat):
        raise _wrong(file, "holds no records", "Give a JSON file, or one with a record per line.")
    return flat


def _lines(file: Path, data: bytes) -> list[Any]:
    found = []
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                found.append(orjson.loads(line))
            except orjson.JSONDecodeError as error:
                raise _wrong(file, f"is no JSON in line {number}: {error}", "Export it again.") from None
    return found


def _unpacked(found: Any) -> list[Any]:
    """Lists of records, and the lists in the answers of an interface: ``{"data": [...]}``, ``{"runs": [...]}``."""
    if isinstance(found, list):
        return [record for item in found for record in _unpacked(item)] if found else []
    if isinstance(found, Mapping):
        for name in ("data", "runs", "traces", "spans"):
            if isinstance(found.get(name), list):
                return _unpacked(found[name])
    return [found]


def _wrong(file: str | Path, problem: str, hint: str) -> SetupError:
    return SetupError(f"{file} {problem}", hint=hint, code="setup.trace_import")
