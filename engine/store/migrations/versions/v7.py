"""The lowest and the highest point of each hour of the equity curve are kept beside it."""

import sqlalchemy as sa
from alembic import op

from engine.store.models import ExactDecimal

revision = "7"
down_revision = "6"

FILL = """
    INSERT INTO equity_hour(ts, currency, lowest, lowest_ts, highest, highest_ts)
    SELECT hour, currency,
        max(CASE WHEN is_lowest = 1 THEN equity END), max(CASE WHEN is_lowest = 1 THEN ts END),
        max(CASE WHEN is_highest = 1 THEN equity END), max(CASE WHEN is_highest = 1 THEN ts END)
    FROM (
        SELECT ts, hour, currency, equity,
            row_number() OVER (of_hour ORDER BY worth) AS is_lowest,
            row_number() OVER (of_hour ORDER BY worth DESC) AS is_highest
        FROM (
            SELECT ts, ts - ts % 3600000000000 AS hour, currency, equity,
                CAST(equity AS double precision) AS worth
            FROM equity_curve
        ) AS point
        WINDOW of_hour AS (PARTITION BY currency, hour)
    ) AS ranked
    WHERE is_lowest = 1 OR is_highest = 1
    GROUP BY hour, currency"""


def upgrade() -> None:
    op.create_table(
        "equity_hour",
        sa.Column("ts", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("currency", sa.Text, primary_key=True),
        sa.Column("lowest", ExactDecimal, nullable=False),
        sa.Column("lowest_ts", sa.BigInteger, nullable=False),
        sa.Column("highest", ExactDecimal, nullable=False),
        sa.Column("highest_ts", sa.BigInteger, nullable=False),
    )
    op.execute(FILL)
