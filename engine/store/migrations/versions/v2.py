"""The audit log becomes a hash chain; the database knows its mode."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import context, op
from msgspec import json

from engine.store.audit import AuditHead, hash_of

revision = "2"
down_revision = "1"

STATE = sa.table("bot_state", sa.column("key", sa.Text), sa.column("value", sa.Text))
FORMER = sa.table(
    "audit_log_1",
    *(sa.column(name, sa.BigInteger) for name in ("session", "seq", "ts", "cause")),
    *(sa.column(name, sa.Text) for name in ("kind", "payload")),
)
BATCH = 1_000


def upgrade() -> None:
    op.rename_table("audit_log", FORMER.name)
    chain = op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("session", "seq", "ts")),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("cause", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("payload", "previous", "hash")),
        # The former table's key keeps its name on PostgreSQL until that table is dropped.
        sa.PrimaryKeyConstraint("id", name="audit_log_chain"),
    )
    op.create_index("ix_audit_log_seq", "audit_log", ["session", "seq"], unique=True)
    head = AuditHead()
    for rows in _batches():
        for row in rows:
            row |= {"id": head.id + 1, "previous": head.hash, "hash": hash_of(head.hash, **row)}
            head = AuditHead(row["id"], row["hash"])
        op.bulk_insert(chain, rows)
    op.drop_table(FORMER.name)
    op.execute(sa.delete(STATE).where(STATE.c.key == "schema_version"))
    stamps = {"mode": context.config.attributes["mode"], "audit_head": head}
    op.bulk_insert(STATE, [{"key": k, "value": json.encode(v).decode()} for k, v in stamps.items()])


def _batches() -> Iterator[list[dict[str, Any]]]:
    """The former rows in their order; each batch is read before the next is written."""
    connection = op.get_bind()
    last = (0, 0)
    while True:
        after = sa.tuple_(FORMER.c.session, FORMER.c.seq) > last
        query = sa.select(FORMER).where(after).order_by(FORMER.c.session, FORMER.c.seq)
        rows = [dict(row) for row in connection.execute(query.limit(BATCH)).mappings()]
        if not rows:
            return
        last = (rows[-1]["session"], rows[-1]["seq"])
        yield rows
