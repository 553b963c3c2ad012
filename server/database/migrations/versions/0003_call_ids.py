"""Which call brought a job in."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; jobs that are there have none."""
    op.add_column("jobs", sa.Column("call_id", sa.String(128)))
