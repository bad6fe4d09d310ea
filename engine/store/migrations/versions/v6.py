"""Cash by account: a trade names its venue, and the equity curve its currency."""

import sqlalchemy as sa
from alembic import op
from msgspec import json

revision = "6"
down_revision = "5"

STATE = sa.table("bot_state", sa.column("key", sa.Text), sa.column("value", sa.Text))
AUDIT = sa.table(
    "audit_log",
    *(sa.column(name, kind) for name, kind in (("id", sa.BigInteger), ("kind", sa.Text))),
    sa.column("payload", sa.Text),
)
TRADES = sa.table("trades", sa.column("venue", sa.Text))


def upgrade() -> None:
    """All that there is belongs to one account: before, there was no other."""
    op.add_column("trades", sa.Column("venue", sa.Text, nullable=False, server_default=""))
    op.add_column(
        "equity_curve", sa.Column("currency", sa.Text, nullable=False, server_default="USD")
    )
    venue = _venue()
    op.execute(sa.update(TRADES).values(venue=venue))
    connection = op.get_bind()
    for former, key in (("starting_cash", "opening_cash"), ("cash", "cash")):
        value = connection.scalar(sa.select(STATE.c.value).where(STATE.c.key == former))
        if value is not None:
            text = json.encode({venue: json.decode(value, type=str)}).decode()
            op.execute(sa.update(STATE).where(STATE.c.key == former).values(key=key, value=text))
    scope = {"currency": "USD", "venues": [venue]}
    op.bulk_insert(STATE, [{"key": "equity_scope", "value": json.encode(scope).decode()}])


def _venue() -> str:
    """That of the broker which was heard of last; the simulated exchange where none was."""
    told = sa.select(AUDIT.c.payload).where(AUDIT.c.kind == "BrokerStatusChanged")
    payload = op.get_bind().scalar(told.order_by(AUDIT.c.id.desc()).limit(1))
    return json.decode(payload)["broker"] if payload is not None else "paper"
