"""The database: intents before anything is sent, then every fact, and what a restart needs.

SQLite (in WAL mode with full synchronisation) or PostgreSQL (with synchronous commits) through
SQLAlchemy's asynchronous engine: what a method wrote is on the disk when it returns, over a power
cut as well. One connection serves all calls in the order in which they came, so an intent waits
for one batch of facts at most.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import reduce
from math import isfinite
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, json
from msgspec.structs import asdict
from sqlalchemy import Connection, Select, delete, func, insert, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.core.compliance import FILLS_KEPT
from engine.core.events import (
    Bracket,
    BracketChanged,
    ChangedLimit,
    CircuitBreakerState,
    DataRefused,
    Event,
    KilledPart,
    KillSwitchState,
    LimitChanged,
    OrderEvent,
    OrderIntended,
    PartKilled,
    PartRearmed,
    Pause,
    PositionChanged,
    Restored,
    SettlementViolated,
    StrategyState,
    SymbolPaused,
    SymbolResumed,
    TradeReversed,
    TradingDayStarted,
)
from engine.core.model import FINAL_STATES, NANOS, ZERO, Bar, Fill, Order, OrderState, Position
from engine.core.risk import HIGH_WATER_MARK
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.lock import EngineLocked
from engine.store import DuplicateIntent, StoreUnavailable, ledger, models
from engine.store.audit import HEAD_KEY, RECORDED_HEAD, AuditHead, chained, head_of
from engine.store.database import FAULTS, open_database, reason_of, transact
from engine.store.durable import (
    Breaker,
    KillSwitch,
    brackets_after,
    breaker_after,
    kill_after,
    killed_parts_after,
    limits_after,
    pauses_after,
    strategy_after,
    strategy_of,
)
from engine.store.filing import (
    VIOLATIONS,
    record_reports,
    reports_since,
    violations_after,
    violations_of,
)
from engine.store.place import Place
from engine.store.postgresql import ANSWER_SECONDS
from engine.store.statements import insert_new, upsert
from engine.store.witness import ORDERS, Witnessed, difference

T = TypeVar("T")

log = logging.getLogger(__name__)

EXECUTION_IDS_KEPT = 30 * 86_400 * NANOS
"""Executions this much older than the newest are restored only with their order."""


# Keys of `bot_state`.
_STARTING_CASH = "starting_cash"
_CASH = "cash"
_KILL_SWITCH = "kill_switch"
_BREAKER = "circuit_breaker"
_LIMITS = "limits"
_PAUSES = "pauses"
_KILLED_PARTS = "killed_parts"
_BRACKETS = "brackets"
_TRADING_DAY = "trading_day"
_PEAK_EQUITY = "peak_equity"
_MARKET = "market"


class _Market(Struct, frozen=True):
    ts: int
    marks: dict[str, float]


class _Tail(Struct):
    """What the last record left, so that the next one need not read it: the newest fact of this
    session, the newest row of the audit log, and the durable states of the strategies."""

    seq: int
    head: AuditHead
    strategies: dict[str, StrategyState]


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

_IS_OPEN = models.Order.state.in_([s for s in OrderState if s not in FINAL_STATES])


class Repository:
    """One account's database. Made by `Repository.open`, ended by `close`.

    Every method raises StoreUnavailable where the database is locked, full or out of reach; a later
    call works again when the cause is gone. Nothing of the call is then kept; but where the server
    was lost while it committed, all of it may be.
    """

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database
        self._dialect = database.dialect.name
        # SQLite waits for locks by itself, and a call of it cannot be broken off.
        self._patience = None if self._dialect == "sqlite" else ANSWER_SECONDS
        self._insert_intents = insert_new(self._dialect, models.Order).returning(
            models.Order.client_order_id
        )
        self._session = 0  # taken when the first fact is recorded
        self._tail: _Tail | None = None

    @classmethod
    async def open(cls, place: Place) -> "Repository":
        """The database, made where there is none (a file 0600, new folders 0700).

        An older file is upgraded, after a backup. Raises UserError for what is no sound database
        of this schema and mode, which is left as it is, and where it cannot be opened.
        """
        return cls(await open_database(place))

    async def close(self) -> None:
        """End the connection; SQLite then folds its write-ahead log into the file."""
        await self._database.dispose()

    # --- writing --------------------------------------------------------------------------------

    async def commit_intent(self, order: Order) -> None:
        """Make one order durable. Raises DuplicateIntent where its client order id was committed
        before."""
        if not await self.commit_intents([order]):
            raise DuplicateIntent(order.client_order_id)

    async def commit_intents(self, orders: Sequence[Order]) -> frozenset[str]:
        """Make `orders` durable before they may leave: all of them or, where it raises, none.

        Returns the client order ids that are new; the others were committed before. Where the
        server is lost while it commits, the rows are looked for: what is there then is these.
        """
        rows = [asdict(order) for order in orders]
        new: frozenset[str] = frozenset()

        def insert_intents(connection: Connection) -> None:
            nonlocal new  # known where the commit itself fails, too
            new = frozenset(connection.scalars(self._insert_intents, rows))

        try:
            await self._transact(insert_intents)
        except StoreUnavailable:
            if not (new and await self._has_orders(new)):
                raise
        return new

    async def record(self, facts: Sequence[Event]) -> None:
        """Record stamped `facts` in one transaction: all of them or, where it raises, none.

        A fact of this session that is recorded already is passed over, so a batch may be given
        again. The facts of one input belong in one batch: an order's fill is then never recorded
        without its position.
        """
        tail, self._tail = self._tail, None  # not known where this fails half-way
        tail = self._tail = await self._transact(lambda c: self._record(c, tail, facts))
        if any(isinstance(fact, TradingDayStarted) for fact in facts):
            log.info("audit head %s", tail.head)

    def _record(self, connection: Connection, tail: _Tail | None, facts: Sequence[Event]) -> _Tail:
        """Write what is new of `facts`; the tail then."""
        tail = tail or self._read_tail(connection)
        new = [fact for fact in facts if fact.seq > tail.seq]
        values = self._append_audit(connection, tail, new)
        _record_orders(connection, new)
        values |= _record_positions(connection, new)
        record_reports(connection, new)
        _record_strategies(connection, tail, new)
        values |= _bot_state_after(connection, new)
        _put(connection, values)
        tail.seq = max((fact.seq for fact in new), default=tail.seq)
        return tail

    async def save_equity(self, ts: int, equity: Decimal, cash: Decimal, peak: float) -> None:
        """Add a point to the equity curve, and keep the high-water mark where it is a number."""

        def save(connection: Connection) -> None:
            point = {"ts": ts, "equity": equity, "cash": cash}
            connection.execute(upsert(self._dialect, models.EquityCurve), point)
            if isfinite(peak):
                _put(connection, {_PEAK_EQUITY: peak})

        await self._transact(save)

    async def save_market_time(self, ts: int, marks: Mapping[str, float]) -> None:
        """Keep the market time and the mark prices, from which a replay goes on after a restart.
        A mark that is no finite number is no price, and is left out."""
        known = {symbol: mark for symbol, mark in marks.items() if isfinite(mark)}
        await self._transact(lambda c: _put(c, {_MARKET: _Market(ts, known)}))

    # --- reading --------------------------------------------------------------------------------

    async def restore(self, starting_cash: Decimal, day_start_ts: int | None) -> Restored:
        """The durable state at the start of a session.

        `starting_cash` opens the ledger of a new database; later ones are not looked at. Cash is
        that and the sum of all executions. Orders are those not final and those made since
        `day_start_ts`, by default the start of the last trading day that was recorded. Execution
        ids are those of these orders and of the last 30 days before the newest one, oldest first.

        Like every reading, raises UserError where a row holds what cannot be read.
        """
        return await self._read(lambda c: _restored(c, starting_cash, day_start_ts))

    async def last_market_ts(self) -> int | None:
        """The market time last saved; None before the first."""
        market = await self._read(lambda c: _decode(_bot_state(c), _MARKET, _Market))
        return market.ts if market else None

    async def ledger_check(self) -> list[str]:
        """What does not agree: cash, positions and filled quantities against the executions.

        Empty where the ledger is whole. To be asked while no facts wait to be recorded.
        """
        return await self._read(_ledger_differences)

    async def orders(self, limit: int) -> list[Order]:
        """The newest orders, newest first."""
        newest = select(models.Order).order_by(models.Order.created_ts.desc()).limit(limit)
        return await self._read(lambda c: _rows(c, newest, Order))

    async def trades(self, limit: int) -> list[Fill]:
        """The newest executions, newest first."""
        newest = select(models.Trade).order_by(models.Trade.ts.desc()).limit(limit)
        return await self._read(lambda c: _rows(c, newest, Fill))

    async def audit_head(self) -> AuditHead:
        """The newest row of the audit log."""
        return await self._read(lambda c: head_of(c.scalar(RECORDED_HEAD)))

    async def witnessed(self) -> Witnessed:
        """What a file outside is to keep of the database."""
        return await self._read(_witnessed)

    async def doubt(self, seen: Witnessed) -> str:
        """How the database is not the one of which `seen` was kept; empty where it is."""
        audit = models.AuditLog
        digest = select(audit.hash).where(audit.id == seen.head.id)
        return await self._read(lambda c: difference(seen, _witnessed(c), c.scalar(digest)))

    async def save_bars(self, bars: Sequence[Bar], oldest: int) -> None:
        """Keep bars that the engine decided on, and let go of those that closed before `oldest`.
        A bar that is there already is replaced: the venue corrected it."""
        rows = {(bar.symbol, bar.interval, bar.ts): asdict(bar) for bar in bars}

        def save(connection: Connection) -> None:
            statement = upsert(self._dialect, models.MarketData)
            connection.execute(statement, list(rows.values()))
            connection.execute(delete(models.MarketData).where(models.MarketData.ts < oldest))

        await self._transact(save)

    async def bars(self, symbol: str, interval: int, limit: int) -> list[Bar]:
        """The newest bars of a symbol, oldest first."""
        table = models.MarketData
        chosen = (table.symbol == symbol) & (table.interval == interval)
        newest = select(table).where(chosen).order_by(table.ts.desc()).limit(limit)
        return (await self._read(lambda c: _rows(c, newest, Bar)))[::-1]

    async def _has_orders(self, client_order_ids: Collection[str]) -> bool:
        key = models.Order.client_order_id
        count = select(func.count()).where(key.in_(client_order_ids))
        return await self._read(lambda c: c.scalar(count)) == len(client_order_ids)

    # --- transactions ---------------------------------------------------------------------------

    async def _transact(self, work: Callable[[Connection], T]) -> T:
        """What `work` makes of the database in one transaction, which is durable then."""
        try:
            async with asyncio.timeout(self._patience):
                return await transact(self._database, work)
        except IntegrityError:
            raise
        except EngineLocked as error:
            raise StoreUnavailable(error.message) from error
        except FAULTS as error:
            raise StoreUnavailable(reason_of(error)) from error

    async def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            return await self._transact(work)
        except (ValueError, LookupError, msgspec.MsgspecError) as error:
            raise UserError(
                f"the database {clean(str(self._database.url.database))} holds a value that cannot "
                f"be read ({clean(str(error))})",
                "restore it from a backup",
            ) from error

    def _read_tail(self, connection: Connection) -> "_Tail":
        """The newest of this session that is recorded; a new session begins with the first."""
        audit = models.AuditLog
        if not self._session:
            last = connection.scalar(select(func.max(audit.session)))
            self._session = (last or 0) + 1
        seq = connection.scalar(select(func.max(audit.seq)).where(audit.session == self._session))
        head = head_of(connection.scalar(RECORDED_HEAD))
        states = _strategy_states(connection)
        return _Tail(-1 if seq is None else seq, head, {state.strategy: state for state in states})

    def _append_audit(
        self, connection: Connection, tail: "_Tail", facts: Sequence[Event]
    ) -> dict[str, Any]:
        """Every fact goes to the audit log, but for refused data: a broken feed would fill the
        disk with it, and the journal has each piece. Returns what changes in `bot_state`."""
        told = [fact for fact in facts if not isinstance(fact, DataRefused)]
        if not told:
            return {}
        rows = chained(tail.head, self._session, told)
        connection.execute(_INSERT_AUDIT, [asdict(row) for row in rows])
        tail.head = rows[-1].head
        return {HEAD_KEY: tail.head}


# --- recording -----------------------------------------------------------------------------------


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


def _record_positions(connection: Connection, facts: Iterable[Event]) -> dict[str, Any]:
    changes = [fact for fact in facts if isinstance(fact, PositionChanged | TradeReversed)]
    if not changes:
        return {}
    positions = {(c.position.strategy, c.position.symbol): c.position for c in changes}
    dialect = connection.dialect.name
    fills = [asdict(fill) for change in changes for fill in ledger.entries_of(change)]
    connection.execute(insert_new(dialect, models.Trade), fills)
    holdings = [asdict(position) for position in positions.values()]
    connection.execute(upsert(dialect, models.Position), holdings)
    return {_CASH: changes[-1].cash}


def _record_strategies(connection: Connection, tail: _Tail, facts: Iterable[Event]) -> None:
    concerned = [(name, fact) for fact in facts if (name := strategy_of(fact))]
    if not concerned:
        return
    changed: dict[str, StrategyState] = {}
    for name, fact in concerned:
        # Without a row it was never switched: what acts is on.
        before = changed.get(name) or tail.strategies.get(name) or StrategyState(name, enabled=True)
        changed[name] = strategy_after(before, fact)
    rows = [asdict(state) for state in changed.values()]
    connection.execute(upsert(connection.dialect.name, models.StrategyState), rows)
    tail.strategies |= changed


def _bot_state_after(connection: Connection, facts: Sequence[Event]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for fact in facts:
        if isinstance(fact, TradingDayStarted) and isfinite(fact.equity):
            values[_TRADING_DAY] = fact
    if switches := [f for f in facts if isinstance(f, KillSwitch)]:
        kill = _decode(_bot_state(connection), _KILL_SWITCH, KillSwitchState)
        values[_KILL_SWITCH] = reduce(kill_after, switches, kill or KillSwitchState())
    if violated := [f.violation for f in facts if isinstance(f, SettlementViolated)]:
        recorded = (_bot_state(connection)).get(VIOLATIONS)
        values[VIOLATIONS] = violations_after(recorded, violated)
    if moves := [f for f in facts if isinstance(f, Breaker)]:
        breaker = _decode(_bot_state(connection), _BREAKER, CircuitBreakerState)
        values[_BREAKER] = reduce(breaker_after, moves, breaker or CircuitBreakerState())
    if changes := [f for f in facts if isinstance(f, LimitChanged)]:
        limits = _decode(_bot_state(connection), _LIMITS, tuple[ChangedLimit, ...])
        values[_LIMITS] = reduce(limits_after, changes, limits or ())
        for change in changes:
            if change.name == HIGH_WATER_MARK:
                values[_PEAK_EQUITY] = float(change.after)
    if pauses := [f for f in facts if isinstance(f, SymbolPaused | SymbolResumed)]:
        paused = _decode(_bot_state(connection), _PAUSES, tuple[Pause, ...])
        values[_PAUSES] = reduce(pauses_after, pauses, paused or ())
    if kills := [f for f in facts if isinstance(f, PartKilled | PartRearmed)]:
        killed = _decode(_bot_state(connection), _KILLED_PARTS, tuple[KilledPart, ...])
        values[_KILLED_PARTS] = reduce(killed_parts_after, kills, killed or ())
    if changes := [f for f in facts if isinstance(f, BracketChanged)]:
        brackets = _decode(_bot_state(connection), _BRACKETS, tuple[Bracket, ...])
        values[_BRACKETS] = reduce(brackets_after, changes, brackets or ())
    return values


def _put(connection: Connection, values: Mapping[str, Any]) -> None:
    rows = [{"key": key, "value": json.encode(value).decode()} for key, value in values.items()]
    if rows:
        connection.execute(upsert(connection.dialect.name, models.BotState), rows)


# --- restoring -----------------------------------------------------------------------------------


def _restored(connection: Connection, starting_cash: Decimal, day_start_ts: int | None) -> Restored:
    state = _bot_state(connection)
    day = _decode(state, _TRADING_DAY, TradingDayStarted)
    market = _decode(state, _MARKET, _Market)
    opening = _decode(state, _STARTING_CASH, Decimal)
    if opening is None:
        opening = starting_cash
        _put(connection, {_STARTING_CASH: opening})
    fills = _rows(connection, select(models.Trade), Fill)
    if day_start_ts is None and day is not None:
        day_start_ts = day.ts
    orders = _orders_since(connection, day_start_ts)
    recent_ts = max((fill.ts for fill in fills), default=0) - FILLS_KEPT
    recent = sorted(
        (f for f in ledger.standing(fills) if f.ts >= recent_ts), key=lambda fill: fill.ts
    )
    return Restored(
        cash=ledger.cash(opening, fills),
        orders=orders,
        positions=tuple(_rows(connection, select(models.Position), Position)),
        marks=market.marks if market else {},
        execution_ids=_execution_ids(fills, {order.client_order_id for order in orders}),
        strategies=tuple(_strategy_states(connection)),
        kill=_decode(state, _KILL_SWITCH, KillSwitchState) or KillSwitchState(),
        breaker=_decode(state, _BREAKER, CircuitBreakerState) or CircuitBreakerState(),
        limits=_decode(state, _LIMITS, tuple[ChangedLimit, ...]) or (),
        pauses=_decode(state, _PAUSES, tuple[Pause, ...]) or (),
        brackets=_decode(state, _BRACKETS, tuple[Bracket, ...]) or (),
        killed_parts=_decode(state, _KILLED_PARTS, tuple[KilledPart, ...]) or (),
        day=day.day if day else "",
        day_equity=day.equity if day else None,
        peak_equity=_decode(state, _PEAK_EQUITY, float),
        fills=tuple(recent),
        violations=tuple(violations_of(state.get(VIOLATIONS))),
        fintrac=reports_since(connection, recent_ts),
    )


def _witnessed(connection: Connection) -> Witnessed:
    head = head_of(connection.scalar(RECORDED_HEAD))
    return Witnessed(head, connection.scalar(ORDERS) or 0)


def _orders_since(connection: Connection, ts: int | None) -> tuple[Order, ...]:
    """Orders that are not final, and those created since `ts`, oldest first."""
    table = models.Order
    wanted = _IS_OPEN if ts is None else or_(_IS_OPEN, table.created_ts >= ts)
    query = select(table).where(wanted).order_by(table.created_ts)
    return tuple(_rows(connection, query, Order))


def _execution_ids(fills: Sequence[Fill], orders: set[str]) -> tuple[str, ...]:
    oldest = max((fill.ts for fill in fills), default=0) - EXECUTION_IDS_KEPT
    kept = [fill for fill in fills if fill.ts >= oldest or fill.client_order_id in orders]
    return tuple(fill.execution_id for fill in sorted(kept, key=lambda fill: fill.ts))


def _bot_state(connection: Connection) -> dict[str, str]:
    table = models.BotState
    rows = connection.execute(select(table.key, table.value))
    return {row.key: row.value for row in rows}


def _decode(state: Mapping[str, str], key: str, kind: type[T]) -> T | None:
    return json.decode(state[key], type=kind) if key in state else None


def _strategy_states(connection: Connection) -> list[StrategyState]:
    rows = connection.execute(select(models.StrategyState))
    return [msgspec.convert(dict(row), StrategyState) for row in rows.mappings()]


def _rows(connection: Connection, query: Select[Any], kind: Callable[..., T]) -> list[T]:
    return [kind(**row) for row in connection.execute(query).mappings()]


def _ledger_differences(connection: Connection) -> list[str]:
    fills = _rows(connection, select(models.Trade), Fill)
    positions = _rows(connection, select(models.Position), Position)
    orders = _rows(connection, select(models.Order), Order)
    state = _bot_state(connection)
    opening = _decode(state, _STARTING_CASH, Decimal) or ZERO
    recorded = _decode(state, _CASH, Decimal)
    differences: list[str] = []
    if fills and recorded != (cash := ledger.cash(opening, fills)):
        differences.append(f"cash is {recorded}, the executions make it {cash}")
    differences += ledger.position_differences(positions, fills)
    differences += ledger.order_differences(orders, fills)
    return differences
