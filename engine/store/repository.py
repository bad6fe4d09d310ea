"""The database: intents before anything is sent, then every fact, and what a restart needs.

SQLite (in WAL mode with full synchronisation) or PostgreSQL (with synchronous commits) through
SQLAlchemy's asynchronous engine: what a method wrote is on the disk when it returns, over a power
cut as well. One connection serves all calls in the order in which they came, so an intent waits
for one batch of facts at most.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from math import isfinite
from typing import Any, TypeVar

import msgspec
from msgspec.structs import asdict
from sqlalchemy import Connection, Select, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.core.events import ConfigUsed, Event, Restored, TradingDayStarted
from engine.core.model import Bar, Fill, Order, Position
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.lock import EngineLocked
from engine.store import DuplicateIntent, StoreUnavailable, ledger, models
from engine.store.account_state import put, read_state
from engine.store.audit import RECORDED_HEAD, AuditHead, head_of
from engine.store.database import FAULTS, open_database, reason_of, transact
from engine.store.durable import Market, market_at
from engine.store.equity import save_point
from engine.store.identity import Identities
from engine.store.place import Place
from engine.store.postgresql import ANSWER_SECONDS
from engine.store.recording import Tail, next_session, read_tail, record
from engine.store.restoring import opened, restored, unrecorded_openings
from engine.store.statements import insert_new, upsert, values_of
from engine.store.witness import ORDERS, Witnessed, difference
from engine.view.questions import EquityPoint

T = TypeVar("T")

NOTHING: Mapping[str, Any] = {}
NOBODY: Identities = {}

log = logging.getLogger(__name__)


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
        self._tail: Tail | None = None

    @classmethod
    async def open(cls, place: Place) -> "Repository":
        """The database, made where there is none (a file 0600, new folders 0700).

        An older file is upgraded, after a backup. Raises UserError for what is no sound database
        of this schema and mode, which is left as it is, and where it cannot be opened.
        """
        return cls(await open_database(place))

    async def close(self) -> None:
        """End the connection; SQLite then folds its write-ahead log into the file. A server that
        hangs is not waited for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._database.dispose()

    # --- writing --------------------------------------------------------------------------------

    async def commit_intent(self, order: Order) -> None:
        """Make one order durable. Raises DuplicateIntent where its client order id was committed
        before."""
        if not await self.commit_intents([order]):
            raise DuplicateIntent(order.client_order_id)

    async def commit_intents(
        self,
        orders: Sequence[Order],
        facts: Sequence[Event] = (),
        standing: Mapping[str, Any] = NOTHING,
    ) -> frozenset[str]:
        """Make `orders` durable before they may leave, and with them what `record` takes: all of it
        or, where it raises, nothing.

        Returns the client order ids that are new; the others were committed before. Where the
        server is lost while it commits, the rows are looked for: what is there then is these.
        """
        rows = [asdict(order) for order in orders]
        new: set[str] = set()

        def insert(connection: Connection) -> None:
            new.update(connection.scalars(self._insert_intents, rows))

        try:
            await self._write(facts, standing, insert)
        except StoreUnavailable:
            if not (new and await self._has_orders(new)):
                raise
        return frozenset(new)

    async def record(self, facts: Sequence[Event], standing: Mapping[str, Any] = NOTHING) -> None:
        """Record stamped `facts` in one transaction: all of them or, where it raises, none.

        A fact of this session that is recorded already is passed over, so a batch may be given
        again. The facts of one input belong in one batch: an order's fill is then never recorded
        without its position. `standing` are fields of `AccountState` that no facts make.
        """
        await self._write(facts, standing)

    async def save_equity(
        self, ts: int, equity: Decimal, cash: Decimal, currency: str, peak: float
    ) -> None:
        """Add a point to the equity curve, and keep the high-water mark where it is a number."""

        def save(connection: Connection) -> None:
            save_point(connection, EquityPoint(ts, equity, cash), currency)
            if isfinite(peak):
                put(connection, {"peak_equity": peak})

        await self._transact(save)

    async def open_accounts(
        self,
        opening: Mapping[str, Decimal],
        currencies: Mapping[str, str],
        base: str,
        fills: Sequence[Fill] = (),
        identities: Identities = NOBODY,
    ) -> bool:
        """Open the accounts that are traded with from now on, by their venues, where they are not
        open yet: each begins its ledger with `opening`, in the currency of `currencies`, and with
        `fills`, which are recorded as executions later. What an account that is open began with is
        not looked at any more. `identities` says whose they are, and is kept.

        False where equity is of other accounts, or in another currency than `base`, than it was:
        its peak and the day's first are then none of theirs, and are forgotten. Raises UserError
        where an account has another currency than it had, OtherAccount where it is another one.
        """
        return await self._read(
            partial(
                opened,
                opening=opening,
                fills=fills,
                currencies=currencies,
                base=base,
                identities=identities,
            )
        )

    async def identities(self) -> Identities:
        """Whose the books are, as far as it was kept."""
        return await self._read(lambda connection: read_state(connection)[0].identities)

    async def opened_accounts(self) -> frozenset[str]:
        """The accounts that were ever opened, by their venues."""
        return await self._read(
            lambda connection: frozenset(read_state(connection)[0].opening_cash)
        )

    async def unrecorded_openings(self) -> Sequence[Fill]:
        """The executions with which accounts began, as far as they are not recorded yet."""
        return await self._read(unrecorded_openings)

    async def save_market_time(self, ts: int, marks: Mapping[str, float]) -> None:
        """Keep the market time and the mark prices. One that is no finite number is left out."""
        await self._transact(partial(put, values={"market": market_at(ts, marks)}))

    async def save_bars(self, bars: Sequence[Bar], oldest: int) -> None:
        """Keep bars that the engine decided on, and let go of those that closed before `oldest`.
        A bar that is there already is replaced: the venue corrected it."""
        rows = {bar.key: asdict(bar) for bar in bars}

        def save(connection: Connection) -> None:
            connection.execute(upsert(self._dialect, models.MarketData), list(rows.values()))
            connection.execute(delete(models.MarketData).where(models.MarketData.ts < oldest))

        await self._transact(save)

    # --- reading --------------------------------------------------------------------------------

    async def restore(self, day_start_ts: int | None) -> Restored:
        """The durable state at the start of a session.

        Cash of an account is what it was opened with and the sum of all its executions. Orders are
        those not final and those made since `day_start_ts`, by default the start of the last
        trading day that was recorded. Execution ids are those of these orders and of the last 30
        days before the newest one, oldest first.

        Like every reading, raises UserError where a row holds what cannot be read.
        """
        return await self._read(partial(restored, day_start_ts=day_start_ts))

    async def last_market(self) -> Market | None:
        """The market time last saved, and the prices at it; None before the first."""
        account, _ = await self._read(read_state)
        return account.market

    async def first_start(self) -> int | None:
        """The market time at which the account's first session began; None before it."""
        audit = models.AuditLog
        query = (
            select(audit.ts).where(audit.kind == ConfigUsed.__name__).order_by(audit.id).limit(1)
        )
        return await self._read(lambda c: c.scalar(query))

    async def ledger_check(self) -> list[str]:
        """What does not agree: cash, positions and filled quantities against the executions.

        Empty where the ledger is whole. To be asked while no facts wait to be recorded.
        """
        return await self._read(_ledger_differences)

    async def orders(self, limit: int) -> list[Order]:
        """The newest orders, newest first."""
        newest = select(models.Order).order_by(models.Order.created_ts.desc()).limit(limit)
        return await self._values(newest, Order)

    async def trades(self, limit: int) -> list[Fill]:
        """The newest executions, newest first."""
        newest = select(models.Trade).order_by(models.Trade.ts.desc()).limit(limit)
        return await self._values(newest, Fill)

    async def bars(self, symbol: str, interval: int, limit: int) -> list[Bar]:
        """The newest bars of a symbol, oldest first."""
        table = models.MarketData
        chosen = (table.symbol == symbol) & (table.interval == interval)
        newest = select(table).where(chosen).order_by(table.ts.desc()).limit(limit)
        return (await self._values(newest, Bar))[::-1]

    async def audit_head(self) -> AuditHead:
        """The newest row of the audit log."""
        return (await self.witnessed()).head

    async def witnessed(self) -> Witnessed:
        """What a file outside is to keep of the database."""
        return await self._read(_witnessed)

    async def doubt(self, seen: Witnessed) -> str:
        """How the database is not the one of which `seen` was kept; empty where it is."""
        audit = models.AuditLog
        query = select(audit.hash).where(audit.id == seen.head.id)
        return await self._read(lambda c: difference(seen, _witnessed(c), c.scalar(query)))

    async def _values(self, query: Select[Any], kind: Callable[..., T]) -> list[T]:
        return await self._read(lambda c: values_of(c, query, kind))

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

    async def _write(
        self,
        facts: Sequence[Event],
        standing: Mapping[str, Any],
        before: Callable[[Connection], None] | None = None,
    ) -> None:
        """Record in one transaction; `before` is done in it first."""
        tail, self._tail = self._tail, None  # not known where this fails half-way

        def write(connection: Connection) -> Tail | None:
            if before is not None:
                before(connection)
            put(connection, standing)
            return self._record(connection, tail, facts) if facts else tail

        self._tail = after = await self._transact(write)
        if after and any(isinstance(fact, TradingDayStarted) for fact in facts):
            log.info("audit head %s", after.head)

    def _record(self, connection: Connection, tail: Tail | None, facts: Sequence[Event]) -> Tail:
        # From the first try on: its facts may be there although its commit was not answered.
        self._session = self._session or next_session(connection)
        return record(connection, tail or read_tail(connection, self._session), facts)


def _ledger_differences(connection: Connection) -> list[str]:
    fills = values_of(connection, select(models.Trade), Fill)
    account, _ = read_state(connection)
    differences: list[str] = []
    made = ledger.cash(account.opening_cash, fills, account.adjustments)
    for venue in dict.fromkeys(entry.venue for entry in (*fills, *account.adjustments)):
        cash = account.cash.get(venue)
        if venue not in account.opening_cash:
            differences.append(f"executions at {venue}, where no account was opened")
        if cash != made[venue]:
            what = f"cash at {venue} is {cash}, its entries make it {made[venue]}"
            differences.append(what)
    positions = values_of(connection, select(models.Position), Position)
    differences += ledger.position_differences(positions, fills)
    orders = values_of(connection, select(models.Order), Order)
    differences += ledger.order_differences(orders, fills)
    return differences


def _witnessed(connection: Connection) -> Witnessed:
    head = head_of(connection.scalar(RECORDED_HEAD))
    return Witnessed(head, connection.scalar(ORDERS) or 0)
