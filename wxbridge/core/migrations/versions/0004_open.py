"""Indexes of what is open and of what is over, each for itself, so that one does not slow down the other."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.drop_index("alerts_updated", "alerts")
    for name, condition in (("alerts_firing", "status <> 'resolved'"), ("alerts_ended", "status = 'resolved'")):
        where = sa.text(condition)
        op.create_index(name, "alerts", ["updated_at"], sqlite_where=where, postgresql_where=where)
    op.drop_index("messages_settled", "messages")
    settled = sa.text("settled_at IS NOT NULL")
    op.create_index(
        "messages_settled",
        "messages",
        ["state", "settled_at", "target"],
        sqlite_where=settled,
        postgresql_where=settled,
    )
    op.create_index("episodes_ended", "episodes", ["ended_at"])
