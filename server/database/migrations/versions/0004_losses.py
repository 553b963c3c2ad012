"""How often in a row servers were lost with a job before it got any further."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns; jobs that are there have lost none."""
    for name, kind in (("losses", sa.Integer), ("furthest", sa.BigInteger)):
        op.add_column("jobs", sa.Column(name, kind, nullable=False, server_default="0"))
