"""Model calls by time: what a day cost is found without reading every span."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("span_models", "span", ["start_ns"], sqlite_where=sa.text("kind = 'model'"))


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: chainops db backup")
