"""Whether an execution added liquidity or took it."""

import sqlalchemy as sa
from alembic import op

revision = "8"
down_revision = "7"


def upgrade() -> None:
    op.add_column(
        "trades", sa.Column("liquidity", sa.String(32), nullable=False, server_default="unknown")
    )
