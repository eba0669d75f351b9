"""Which version of its chain a thread goes on with."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chain_pin",
        sa.Column("graph", sa.String, primary_key=True, nullable=False),
        sa.Column("thread", sa.String, primary_key=True, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: chainops db backup")
