"""With which alert a silence ends."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("silences", sa.Column("ends_with", sa.String(), nullable=True))
