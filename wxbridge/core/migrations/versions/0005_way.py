"""With which alert a silence ends; which way an alert took: in what came in it had news, and when what was tried."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("silences", sa.Column("ends_with", sa.String(), nullable=True))
    for name in ("drawn_at", "first_tried_at", "tried_at"):
        op.add_column("messages", sa.Column(name, sa.Float(), nullable=True))
    op.create_table(
        "sightings",
        sa.Column("alert", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("received_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("alert", "received_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("sightings_received", "sightings", ["received_id"])
    op.create_index("episodes_key", "episodes", ["key", "started_at"])
