"""The durable state at the start of a session."""

from collections.abc import Sequence
from decimal import Decimal

from msgspec.structs import replace
from sqlalchemy import Connection, or_, select

from engine.core.compliance import FILLS_KEPT
from engine.core.events import Restored
from engine.core.model import DAY, FINAL_STATES, Fill, Order, OrderState, Position
from engine.store import ledger, models
from engine.store.account_state import put, read_state
from engine.store.durable import restored_account
from engine.store.filing import reports_since
from engine.store.recording import strategy_states
from engine.store.statements import values_of

EXECUTION_IDS_KEPT = 30 * DAY
"""Executions this much older than the newest are restored only with their order."""

_IS_OPEN = models.Order.state.in_([s for s in OrderState if s not in FINAL_STATES])


def restored(connection: Connection, starting_cash: Decimal, day_start_ts: int | None) -> Restored:
    """As `Repository.restore` says; the starting cash of a new database is recorded."""
    account, _ = read_state(connection)
    day, market, opening = account.trading_day, account.market, account.starting_cash
    if opening is None:
        opening = starting_cash
        put(connection, {"starting_cash": opening})
    fills = values_of(connection, select(models.Trade), Fill)
    if day_start_ts is None and day is not None:
        day_start_ts = day.ts
    orders = _orders_since(connection, day_start_ts)
    recent_ts = max((fill.ts for fill in fills), default=0) - FILLS_KEPT
    standing = (fill for fill in ledger.standing(fills) if fill.ts >= recent_ts)
    return replace(
        restored_account(account, ledger.cash(opening, fills)),
        orders=orders,
        positions=tuple(values_of(connection, select(models.Position), Position)),
        marks=market.marks if market else {},
        execution_ids=_execution_ids(fills, {order.client_order_id for order in orders}),
        strategies=tuple(strategy_states(connection)),
        fills=tuple(sorted(standing, key=lambda fill: fill.ts)),
        fintrac=reports_since(connection, recent_ts),
    )


def _orders_since(connection: Connection, ts: int | None) -> tuple[Order, ...]:
    """Orders that are not final, and those created since `ts`, oldest first."""
    table = models.Order
    wanted = _IS_OPEN if ts is None else or_(_IS_OPEN, table.created_ts >= ts)
    return tuple(
        values_of(connection, select(table).where(wanted).order_by(table.created_ts), Order)
    )


def _execution_ids(fills: Sequence[Fill], orders: set[str]) -> tuple[str, ...]:
    """Those of the last 30 days before the newest, and those of `orders`; oldest first."""
    oldest = max((fill.ts for fill in fills), default=0) - EXECUTION_IDS_KEPT
    kept = [fill for fill in fills if fill.ts >= oldest or fill.client_order_id in orders]
    return tuple(fill.execution_id for fill in sorted(kept, key=lambda fill: fill.ts))
