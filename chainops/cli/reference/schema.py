"""The tables of the trace file, from the SQLModel classes that the migrations are tested against."""

from __future__ import annotations

from typing import Any

from chainops.cli.reference.table import head, one_line, table

__all__ = ["page"]


def page() -> str:
    """Tables with their columns, keys and indexes."""
    from chainops.store import tables
    from chainops.store.schema import SCHEMA_VERSION

    about = f"Schema {SCHEMA_VERSION}. What the columns mean, how it is written: [The trace file](../trace-file.md)."
    parts = [head("Schema of the trace file", about)]
    classes = {
        c.__tablename__: c
        for c in tables.TraceTable.__subclasses__()
        if isinstance(getattr(c, "__tablename__", None), str)
    }
    for name, made in sorted(tables.TraceTable.metadata.tables.items()):
        rows = [_row(column) for column in made.columns]
        about = one_line(classes[name].__doc__) if name in classes else ""
        indexes = ", ".join(
            f"`{i.name}` ({', '.join(c.name for c in i.columns)})"
            for i in sorted(made.indexes, key=lambda i: str(i.name))
        )
        parts.append(
            f"## `{name}`\n\n{about}\n\n{table(('column', 'type', 'null', 'default'), rows)}"
            + (f"\nIndexes: {indexes}.\n" if indexes else "")
        )
    return "\n".join(parts)


def _row(column: Any) -> tuple[str, str, str, str]:
    default = column.default.arg if column.default is not None and not callable(column.default.arg) else None
    key = " (primary key)" if column.primary_key else ""
    return (
        f"`{column.name}`{key}",
        str(column.type),
        "yes" if column.nullable else "no",
        " " if default is None else f"`{default!r}`",
    )
