"""SQLModel classes of the trace file: the schema, for migrations and for your own typed reads.

The writer does not use them (see ``writer``), and neither do the commands: importing SQLModel takes longer
than most of them run. Times are nanoseconds since 1970-01-01 UTC. Integer keys mean something inside one file only;
outside, a run is known by its ``run_id`` (UUIDv7).
"""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, UniqueConstraint, text
from sqlmodel import Field, SQLModel

__all__ = ["Artifact", "Label", "Payload", "Process", "Run", "Score", "Span", "TraceTable"]


class TraceTable(SQLModel):
    """Base of the tables, with a metadata of its own: your SQLModel tables do not mix with these."""

    metadata: ClassVar[MetaData] = MetaData()


class Process(TraceTable, table=True):
    """A process that wrote into the file. ``ended_ns`` is NULL while it lives;
    ``dropped`` counts the spans that it could not store."""

    __tablename__ = "process"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = Field(default=None, primary_key=True)
    pid: int
    host: str
    boot_id: str
    start_ticks: int
    started_ns: int = Field(sa_type=BigInteger)
    ended_ns: int | None = Field(default=None, sa_type=BigInteger)
    dropped: int = 0


class Run(TraceTable, table=True):
    """One run of a graph, with sums over its spans that the writer keeps."""

    __tablename__ = "run"
    __table_args__ = (
        UniqueConstraint("run_id", name="run_run_id"),
        Index("run_open", "process", sqlite_where=text("status = 'open'")),
        Index("run_thread", "thread", sqlite_where=text("thread IS NOT NULL")),
        Index("run_unsearched", "id", sqlite_where=text("searched = 0")),
    )

    id: int | None = Field(default=None, primary_key=True)
    run_id: str
    process: int
    graph: str
    thread: str | None = None
    status: str
    start_ns: int = Field(sa_type=BigInteger)
    end_ns: int | None = Field(default=None, sa_type=BigInteger)
    spans: int = 0
    errors: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    first_error: str | None = None
    tags: str | None = None
    meta: str | None = None
    searched: int = 0


class Span(TraceTable, table=True):
    """One call, or one step inside a middleware. ``id >> 32`` is the process that wrote it."""

    __tablename__ = "span"
    __table_args__ = (
        Index("span_run", "run"),
        Index("span_models", "start_ns", sqlite_where=text("kind = 'model'")),
        Index("span_open", "id", sqlite_where=text("status = 'open'")),
        Index("span_input_payload", "input_payload", sqlite_where=text("input_payload IS NOT NULL")),
        Index("span_output_payload", "output_payload", sqlite_where=text("output_payload IS NOT NULL")),
    )

    id: int | None = Field(default=None, primary_key=True)
    run: int
    parent: int | None = Field(default=None, sa_type=BigInteger)
    kind: str
    name: str
    path: str
    attempt: int
    start_ns: int = Field(sa_type=BigInteger)
    end_ns: int | None = Field(default=None, sa_type=BigInteger)
    status: str
    error_type: str | None = None
    error_message: str | None = None
    error_hint: str | None = None
    input: str | None = None
    input_payload: int | None = None
    input_bytes: int | None = None
    output: str | None = None
    output_payload: int | None = None
    output_bytes: int | None = None
    model: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    first_token_ns: int | None = Field(default=None, sa_type=BigInteger)
    attributes: str | None = None
    artifacts: str | None = None


class Payload(TraceTable, table=True):
    """A large input or output, stored once per content: ``data`` is zlib-compressed JSON text."""

    __tablename__ = "payload"
    __table_args__ = (UniqueConstraint("sha256", name="payload_sha256"),)

    id: int | None = Field(default=None, primary_key=True)
    sha256: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    size: int
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class Score(TraceTable, table=True):
    """A judgement on a span. A number stands in ``value``, anything else in ``label``."""

    __tablename__ = "score"
    __table_args__ = (Index("score_span", "span"), Index("score_run", "run"))

    id: int | None = Field(default=None, primary_key=True)
    span: int = Field(sa_type=BigInteger)
    run: int
    name: str
    value: float | None = None
    label: str | None = None
    source: str
    comment: str = ""
    created_ns: int = Field(sa_type=BigInteger)


class Artifact(TraceTable, table=True):
    """An immutable version of something that runs use. Rows are never changed or deleted (triggers see to it)."""

    __tablename__ = "artifact"
    __table_args__ = (UniqueConstraint("kind", "name", "version", name="artifact_version"),)

    id: int | None = Field(default=None, primary_key=True)
    kind: str
    name: str
    version: int
    sha256: str
    parent: int | None = None
    author: str = ""
    message: str = ""
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_ns: int = Field(sa_type=BigInteger)


class ChainPin(TraceTable, table=True):
    """The version of its chain with which a thread began, and with which it goes on."""

    __tablename__ = "chain_pin"

    graph: str = Field(primary_key=True)
    thread: str = Field(primary_key=True)
    version: int
    created_ns: int = Field(sa_type=BigInteger)


class Label(TraceTable, table=True):
    """A movement of a label ("prod") to a version. The last row of a label says where it points; all rows are kept."""

    __tablename__ = "label"
    __table_args__ = (Index("label_name", "kind", "name", "label"),)

    id: int | None = Field(default=None, primary_key=True)
    kind: str
    name: str
    label: str
    from_version: int | None = None
    to_version: int | None = None
    who: str
    why: str
    created_ns: int = Field(sa_type=BigInteger)
