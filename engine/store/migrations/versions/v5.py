"""Commissions that a venue takes in the instrument itself."""

import sqlalchemy as sa
from alembic import op

from engine.store.models import ExactDecimal

revision = "5"
down_revision = "4"


def upgrade() -> None:
    op.add_column(
        "trades", sa.Column("commission_quantity", ExactDecimal, nullable=False, server_default="0")
    )
