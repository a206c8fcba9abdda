"""Indexes that lead with the key: one for all episodes of an alert, and dedupe keys only where they are looked up."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_INDEXES = {
    "notifications_dedupe": (
        "notifications", ["dedupe_key", "created_at"], "dedupe_key IS NOT NULL AND dedupe_group IS NULL",
    ),
    "episodes_key": ("episodes", ["key", "ended_at", "started_at"], None),
    "episodes_ended": ("episodes", ["ended_at"], "ended_at IS NOT NULL"),
}  # fmt: skip


def upgrade() -> None:
    """Apply."""
    op.drop_index("episodes_open", "episodes")
    for name, (table, columns, condition) in _INDEXES.items():
        where = sa.text(condition) if condition else None
        op.drop_index(name, table)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
