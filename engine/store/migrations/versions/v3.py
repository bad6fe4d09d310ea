"""Orders with a target, a trailing stop, a group of which one fills, and a replace under way."""

import sqlalchemy as sa
from alembic import op

from engine.store.models import ExactDecimal

revision = "3"
down_revision = "2"

DECIMALS = ("take_profit", "trail", "pending_quantity", "pending_limit_price", "pending_stop_price")


def upgrade() -> None:
    for name in DECIMALS:
        op.add_column("orders", sa.Column(name, ExactDecimal))
    op.add_column("orders", sa.Column("oco_group", sa.Text, nullable=False, server_default=""))
