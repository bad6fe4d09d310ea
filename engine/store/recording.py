"""What facts make of the rows of the database."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace
from sqlalchemy import Connection, func, insert, select

from engine.core.events import (
    DataRefused,
    Event,
    OrderEvent,
    OrderIntended,
    PositionChanged,
    StrategyState,
    TradeReversed,
)
from engine.store import models
from engine.store.account_state import put, read_state
from engine.store.audit import HEAD_KEY, AuditHead, chained
from engine.store.durable import AccountState, account_after, strategy_after, strategy_of
from engine.store.filing import Reports, record_reports
from engine.store.ledger import entries_of
from engine.store.statements import insert_new, upsert


class Tail(Struct, frozen=True):
    """What the last record left, so that the next one need not read it: the newest fact of this
    session, the newest row of the audit log, the values of the account as facts made them, the
    durable states of the strategies, and the FINTRAC reports of this session that may change."""

    session: int
    seq: int
    head: AuditHead
    account: AccountState
    strategies: Mapping[str, StrategyState]
    reports: Reports = {}


_INSERT_AUDIT = insert(models.AuditLog)
_ORDER_PROGRESS = (
    "state",
    "filled",
    "avg_price",
    "venue_order_id",
    "reason",
    "updated_ts",
    "quantity",
    "limit_price",
    "stop_price",
    "reference_price",
    "pending_quantity",
    "pending_limit_price",
    "pending_stop_price",
)


def next_session(connection: Connection) -> int:
    """The number of the session that begins."""
    return (connection.scalar(select(func.max(models.AuditLog.session))) or 0) + 1


def read_tail(connection: Connection, session: int) -> Tail:
    """What is recorded of `session`, and what it goes on from."""
    audit = models.AuditLog
    seq = connection.scalar(select(func.max(audit.seq)).where(audit.session == session))
    account, head = read_state(connection)
    strategies = {state.strategy: state for state in strategy_states(connection)}
    return Tail(session, -1 if seq is None else seq, head, account, strategies)


def record(connection: Connection, tail: Tail, facts: Sequence[Event]) -> Tail:
    """Record those of `facts` that are newer than `tail`; returns what is the tail then."""
    new = [fact for fact in facts if fact.seq > tail.seq]
    if not new:
        return tail
    head = _append_audit(connection, tail, new)
    _record_orders(connection, new)
    _record_positions(connection, new)
    reports = record_reports(connection, tail.reports, new)
    strategies = _record_strategies(connection, tail.strategies, new)
    changed = account_after(tail.account, new)
    put(connection, changed | ({HEAD_KEY: head} if head != tail.head else {}))
    return Tail(
        tail.session,
        max(fact.seq for fact in new),
        head,
        replace(tail.account, **changed),
        {**tail.strategies, **strategies},
        reports,
    )


def strategy_states(connection: Connection) -> list[StrategyState]:
    rows = connection.execute(select(models.StrategyState))
    return [msgspec.convert(dict(row), StrategyState) for row in rows.mappings()]


def _append_audit(connection: Connection, tail: Tail, facts: Sequence[Event]) -> AuditHead:
    """Every fact goes to the audit log, but for refused data: a broken feed would fill the disk
    with it, and the journal has each piece."""
    told = [fact for fact in facts if not isinstance(fact, DataRefused)]
    if not told:
        return tail.head
    rows = chained(tail.head, tail.session, told)
    connection.execute(_INSERT_AUDIT, [asdict(row) for row in rows])
    return rows[-1].head


def _record_orders(connection: Connection, facts: Iterable[Event]) -> None:
    """Each order as its last fact has it. OrderIntended makes no row: the row of an intent is
    `commit_intent`'s, which would otherwise take its own order for one committed before."""
    orders = {
        fact.order.client_order_id: fact.order
        for fact in facts
        if isinstance(fact, OrderEvent) and not isinstance(fact, OrderIntended)
    }
    if orders:
        statement = upsert(connection.dialect.name, models.Order, *_ORDER_PROGRESS)
        connection.execute(statement, [asdict(order) for order in orders.values()])


def _record_positions(connection: Connection, facts: Iterable[Event]) -> None:
    changes = [fact for fact in facts if isinstance(fact, PositionChanged | TradeReversed)]
    if not changes:
        return
    positions = {(c.position.strategy, c.position.symbol): c.position for c in changes}
    dialect = connection.dialect.name
    fills = [asdict(fill) for change in changes for fill in entries_of(change)]
    connection.execute(insert_new(dialect, models.Trade), fills)
    holdings = [asdict(position) for position in positions.values()]
    connection.execute(upsert(dialect, models.Position), holdings)


def _record_strategies(
    connection: Connection, known: Mapping[str, StrategyState], facts: Iterable[Event]
) -> dict[str, StrategyState]:
    """The states that `facts` change."""
    changed: dict[str, StrategyState] = {}
    for fact in facts:
        if name := strategy_of(fact):
            # Without a row it was never switched: what acts is on.
            before = changed.get(name) or known.get(name) or StrategyState(name, enabled=True)
            changed[name] = strategy_after(before, fact)
    if changed:
        rows = [asdict(state) for state in changed.values()]
        connection.execute(upsert(connection.dialect.name, models.StrategyState), rows)
    return changed
