"""The single values of the account: what of `AccountState` is recorded in `bot_state`."""

from collections.abc import Mapping
from typing import Any

from msgspec import Raw, json
from sqlalchemy import Connection, select

from engine.store.audit import HEAD_KEY, AuditHead, head_of
from engine.store.durable import AccountState
from engine.store.models import BotState
from engine.store.statements import upsert

_ROWS = select(BotState.key, BotState.value)


def read_state(connection: Connection) -> tuple[AccountState, AuditHead]:
    """The values, and the newest row of the audit log. Raises msgspec.MsgspecError where one cannot
    be read."""
    rows = {row.key: row.value for row in connection.execute(_ROWS)}
    head = head_of(rows.get(HEAD_KEY))
    raw = json.encode({key: Raw(value.encode()) for key, value in rows.items()})
    return json.decode(raw, type=AccountState), head


def put(connection: Connection, values: Mapping[str, Any]) -> None:
    """Record `values` by their keys."""
    rows = [{"key": key, "value": json.encode(value).decode()} for key, value in values.items()]
    if rows:
        connection.execute(upsert(connection.dialect.name, BotState), rows)
