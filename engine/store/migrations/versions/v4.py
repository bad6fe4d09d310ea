"""Bars that the engine decided on, and flags of large transactions in virtual currency."""

import sqlalchemy as sa
from alembic import op

from engine.store.models import ExactDecimal, Transactions

revision = "4"
down_revision = "3"

PRICES = ("open", "high", "low", "close", "volume")


def upgrade() -> None:
    op.create_table(
        "market_data",
        sa.Column("symbol", sa.Text, primary_key=True),
        sa.Column("interval", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("ts", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Double, nullable=False) for name in PRICES),
    )
    op.create_index("ix_market_data_ts", "market_data", ["ts"])
    op.create_table(
        "fintrac_report",
        sa.Column("report_id", sa.Text, primary_key=True),
        sa.Column("rule", sa.String(32), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("conductor", sa.Text, nullable=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("start_ts", "end_ts", "flagged_ts")
        ),
        sa.Column("amount_cad", ExactDecimal),
        sa.Column("transactions", Transactions, nullable=False),
        sa.Column("corrects", sa.Text, nullable=False),
    )
    op.create_index("ix_fintrac_report_start", "fintrac_report", ["start_ts"])
