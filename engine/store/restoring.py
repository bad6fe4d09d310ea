"""The durable state at the start of a session."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from msgspec.structs import replace
from sqlalchemy import Connection, delete, or_, select

from engine.core.compliance import FILLS_KEPT
from engine.core.events import Restored
from engine.core.model import DAY, FINAL_STATES, Fill, Order, OrderState, Position
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.store import ledger, models
from engine.store.account_state import put, read_state
from engine.store.durable import AccountState, EquityScope, restored_account
from engine.store.filing import reports_since
from engine.store.identity import AccountIdentity, Identities, made_here, same_account
from engine.store.recording import strategy_states
from engine.store.statements import values_of

EXECUTION_IDS_KEPT = 30 * DAY
"""Executions this much older than the newest are restored only with their order."""

_IS_OPEN = models.Order.state.in_([s for s in OrderState if s not in FINAL_STATES])


def restored(connection: Connection, day_start_ts: int | None) -> Restored:
    """As `Repository.restore` says."""
    account, _ = read_state(connection)
    day, market = account.trading_day, account.market
    fills = values_of(connection, select(models.Trade), Fill)
    if day_start_ts is None and day is not None:
        day_start_ts = day.ts
    orders = _orders_since(connection, day_start_ts)
    recent_ts = max((fill.ts for fill in fills), default=0) - FILLS_KEPT
    standing = (fill for fill in ledger.standing(fills) if fill.ts >= recent_ts)
    return replace(
        restored_account(account, ledger.cash(account.opening_cash, fills, account.adjustments)),
        orders=orders,
        positions=tuple(values_of(connection, select(models.Position), Position)),
        marks=market.marks if market else {},
        execution_ids=_execution_ids(fills, {order.client_order_id for order in orders}),
        strategies=tuple(strategy_states(connection)),
        fills=tuple(sorted(standing, key=lambda fill: fill.ts)),
        fintrac=reports_since(connection, recent_ts),
        venues={fill.symbol: fill.venue for fill in sorted(fills, key=lambda fill: fill.ts)},
        adjustments=tuple(a for a in account.adjustments if a.ts >= recent_ts),
    )


def opened(
    connection: Connection,
    opening: Mapping[str, Decimal],
    currencies: Mapping[str, str],
    base: str,
    fills: Sequence[Fill],
    identities: Identities,
) -> bool:
    """As `Repository.open_accounts` says."""
    account, _ = read_state(connection)
    for venue, currency in currencies.items():
        before = account.currencies.get(venue, currency)
        if before != currency:
            raise UserError(
                f"the account at {clean(venue)} was in {clean(before)} and would be in "
                f"{clean(currency)} now",
                "choose symbols in the currency that it had, or another DATA_DIR",
            )
    scope = EquityScope(base, tuple(sorted(currencies)))
    values = {
        "opening_cash": {**opening, **account.opening_cash},
        "opening_fills": (
            *account.opening_fills,
            *(fill for fill in fills if fill.venue not in account.opening_cash),
        ),
        "currencies": {**account.currencies, **currencies},
        "identities": account.identities | _identified(connection, account, identities),
        "equity_scope": scope,
    }
    put(connection, {k: v for k, v in values.items() if v != getattr(account, k)})
    is_same = account.equity_scope in (None, scope)
    if not is_same:
        of_equity = models.BotState.key.in_(("peak_equity", "trading_day"))
        connection.execute(delete(models.BotState).where(of_equity))
    return is_same


def _identified(
    connection: Connection, account: AccountState, identities: Identities
) -> dict[str, AccountIdentity]:
    """Where it was not kept whose the books are, their executions tell where they were made."""
    known: dict[str, AccountIdentity] = {}
    for venue, now in identities.items():
        was = account.identities.get(venue)
        if was is None:
            for made in _places(connection, account, venue):
                same_account(venue, made, now)
        known[venue] = same_account(venue, was, now)
    return known


def _places(connection: Connection, account: AccountState, venue: str) -> set[AccountIdentity]:
    """What a venue's executions say of the account: nothing where there are none."""
    trades = models.Trade
    rows = connection.execute(
        select(trades.execution_id, trades.client_order_id).where(trades.venue == venue)
    )
    ids = [(row.execution_id, row.client_order_id) for row in rows]
    ids += [(f.execution_id, f.client_order_id) for f in account.opening_fills if f.venue == venue]
    return {AccountIdentity(made_here(*names)) for names in ids}


def unrecorded_openings(connection: Connection) -> tuple[Fill, ...]:
    """As `Repository.unrecorded_openings` says."""
    account, _ = read_state(connection)
    ids = [fill.execution_id for fill in account.opening_fills]
    table = models.Trade
    known = set(connection.scalars(select(table.execution_id).where(table.execution_id.in_(ids))))
    return tuple(fill for fill in account.opening_fills if fill.execution_id not in known)


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
