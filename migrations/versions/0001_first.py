"""The first schema: process, run, span, payload, score, artifact, label, and the search index."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "process",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("host", sa.String, nullable=False),
        sa.Column("boot_id", sa.String, nullable=False),
        sa.Column("start_ticks", sa.Integer, nullable=False),
        sa.Column("started_ns", sa.BigInteger, nullable=False),
        sa.Column("ended_ns", sa.BigInteger),
        sa.Column("dropped", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "run",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String, nullable=False),
        sa.Column("process", sa.Integer, nullable=False),
        sa.Column("graph", sa.String, nullable=False),
        sa.Column("thread", sa.String),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("start_ns", sa.BigInteger, nullable=False),
        sa.Column("end_ns", sa.BigInteger),
        sa.Column("spans", sa.Integer, nullable=False),
        sa.Column("errors", sa.Integer, nullable=False),
        sa.Column("model_calls", sa.Integer, nullable=False),
        sa.Column("tool_calls", sa.Integer, nullable=False),
        sa.Column("tokens_in", sa.Integer, nullable=False),
        sa.Column("tokens_out", sa.Integer, nullable=False),
        sa.Column("tokens_cached", sa.Integer, nullable=False),
        sa.Column("first_error", sa.String),
        sa.Column("tags", sa.String),
        sa.Column("meta", sa.String),
        sa.Column("searched", sa.Integer, nullable=False),
        sa.UniqueConstraint("run_id", name="run_run_id"),
    )
    op.create_index("run_open", "run", ["process"], sqlite_where=sa.text("status = 'open'"))
    op.create_index("run_thread", "run", ["thread"], sqlite_where=sa.text("thread IS NOT NULL"))
    op.create_index("run_unsearched", "run", ["id"], sqlite_where=sa.text("searched = 0"))
    op.create_table(
        "span",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("parent", sa.BigInteger),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("start_ns", sa.BigInteger, nullable=False),
        sa.Column("end_ns", sa.BigInteger),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("error_type", sa.String),
        sa.Column("error_message", sa.String),
        sa.Column("error_hint", sa.String),
        sa.Column("input", sa.String),
        sa.Column("input_payload", sa.Integer),
        sa.Column("input_bytes", sa.Integer),
        sa.Column("output", sa.String),
        sa.Column("output_payload", sa.Integer),
        sa.Column("output_bytes", sa.Integer),
        sa.Column("model", sa.String),
        sa.Column("tokens_in", sa.Integer),
        sa.Column("tokens_out", sa.Integer),
        sa.Column("tokens_cached", sa.Integer),
        sa.Column("first_token_ns", sa.BigInteger),
        sa.Column("attributes", sa.String),
        sa.Column("artifacts", sa.String),
    )
    op.create_index("span_run", "span", ["run"])
    op.create_index("span_open", "span", ["id"], sqlite_where=sa.text("status = 'open'"))
    op.create_index(
        "span_input_payload", "span", ["input_payload"], sqlite_where=sa.text("input_payload IS NOT NULL")
    )
    op.create_index(
        "span_output_payload", "span", ["output_payload"], sqlite_where=sa.text("output_payload IS NOT NULL")
    )
    op.create_table(
        "payload",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("sha256", name="payload_sha256"),
    )
    op.create_table(
        "score",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("span", sa.BigInteger, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("label", sa.String),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("comment", sa.String, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
    )
    op.create_index("score_span", "score", ["span"])
    op.create_index("score_run", "score", ["run"])
    op.create_table(
        "artifact",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("parent", sa.Integer),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("message", sa.String, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("kind", "name", "version", name="artifact_version"),
    )
    op.create_table(
        "label",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("from_version", sa.Integer),
        sa.Column("to_version", sa.Integer),
        sa.Column("who", sa.String, nullable=False),
        sa.Column("why", sa.String, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
    )
    op.create_index("label_name", "label", ["kind", "name", "label"])
    for table in ("artifact", "label"):
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
                f"BEGIN SELECT raise(ABORT, '{table} rows are never changed or deleted'); END"
            )
    op.execute(
        "CREATE VIRTUAL TABLE span_search USING fts5(name, input, output, error, content='', tokenize='unicode61')"
    )


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: chainops db backup")
