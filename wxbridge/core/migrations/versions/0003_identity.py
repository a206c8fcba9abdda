"""How often an alert is said, when silence means that it is over, and which title and link a target was told."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SILENCE_SECONDS = 86400.0


def upgrade() -> None:
    """Apply. What fires is over a day after it was heard of last."""
    op.add_column("alerts", sa.Column("said_every", sa.Float(), nullable=True))
    op.add_column("alerts", sa.Column("over_at", sa.Float(), nullable=True))
    op.add_column("told", sa.Column("statement", sa.String(), nullable=True))
    condition = sa.text("over_at IS NOT NULL")
    op.create_index("alerts_over", "alerts", ["over_at"], sqlite_where=condition, postgresql_where=condition)
    alerts = sa.table("alerts", sa.column("status"), sa.column("updated_at"), sa.column("over_at"))
    op.execute(
        sa.update(alerts)
        .where(alerts.c.status.in_(["firing", "no_data"]))
        .values(over_at=alerts.c.updated_at + _SILENCE_SECONDS)
    )
