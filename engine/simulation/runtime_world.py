"""What the engine of the runtime ring reaches: a disk that fails, and a venue behind a bad line.

Both outlive the engine. When its power goes off, nothing that it still does reaches them; a request
that is on the line may arrive all the same.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

import aiosqlite
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from engine.brokers.base import Balance, InDoubt, NotSent
from engine.brokers.paper import PaperBroker
from engine.core.events import (
    BarClosed,
    CancelRejected,
    Event,
    ExecutionReport,
    QuoteUpdate,
    ReplaceRejected,
    VenueOrder,
)
from engine.core.model import Fill, Order, OrderTerms
from engine.store.place import Place
from engine.store.repository import Repository
from engine.store.sqlite import BUSY_SECONDS, make_durable

T = TypeVar("T")

LINE_S, DISK_S = 0.2, 0.002
"""The longest way to the venue, and the longest call of the database, where nothing fails."""
OUTAGE_S = 3.0


class Power:
    """The engine's: off when it has crashed. `faults` is whether anything else may fail."""

    def __init__(self, random: Random, faults: bool) -> None:
        self.random = random
        self.faults = faults
        self.on = True
        self.calls = 0
        self.die_at = 0
        self.die: Callable[[], None] = lambda: None

    def happens(self, chance: float) -> bool:
        return self.faults and self.random.random() < chance

    def wait(self, most: float) -> Awaitable[None]:
        return asyncio.sleep(self.random.uniform(0, most))


# --- the disk ------------------------------------------------------------------------------------


class Disk:
    """Opens a Repository whose connection is used on the loop itself, without a thread."""

    def __init__(self, power: Power) -> None:
        self._power = power
        self._connections: list[_Inline] = []
        self._out_until = 0.0

    async def open(self, place: Place) -> Repository:
        database = create_async_engine(
            place.url,
            connect_args={"async_creator_fn": self._connect},
            hide_parameters=True,
            pool_size=1,
            max_overflow=0,
            pool_timeout=BUSY_SECONDS,
            pool_reset_on_return=None,
        )
        event.listen(database.sync_engine, "connect", make_durable)
        return Repository(database)

    def pull_the_plug(self) -> None:
        """What was not committed is gone, as it is when a process dies."""
        for connection in self._connections:
            connection.die()

    async def call(self, work: Callable[[], T], *, may_fail: bool) -> T:
        """A call of the database: it takes time, and it may fail before it has done anything."""
        power = self._power
        power.calls += 1
        await power.wait(DISK_S)
        now = asyncio.get_running_loop().time()
        if power.happens(0.01):
            self._out_until = now + power.random.uniform(0, OUTAGE_S)
        if power.calls == power.die_at:
            power.die()
            await asyncio.Event().wait()
        if may_fail and now < self._out_until:
            raise _fault("disk I/O error")
        if not power.on:
            raise _fault("the power is off")
        return work()

    def _connect(self, database: str, **options: Any) -> "_Inline":
        connection = _Inline(lambda: sqlite3.connect(database, **options), self.call)
        self._connections.append(connection)
        return connection


def _fault(reason: str) -> OperationalError:
    """As SQLAlchemy tells it, within which the call is made."""
    return OperationalError(None, None, sqlite3.OperationalError(reason))


class _Inline(aiosqlite.Connection):
    """aiosqlite's connection, but for its thread."""

    def __init__(
        self,
        connector: Callable[[], sqlite3.Connection],
        call: Callable[..., Awaitable[Any]],
    ) -> None:
        super().__init__(connector, 64)
        self._open = connector
        self._call = call

    def __await__(self) -> Any:
        return self._connect().__await__()

    async def _connect(self) -> "_Inline":
        self._connection = self._open()
        return self

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        may_fail = fn.__name__ in ("execute", "executemany", "commit", "_in_transaction")
        return await self._call(lambda: fn(*args, **kwargs), may_fail=may_fail)

    async def close(self) -> None:
        self.die()

    def stop(self) -> None:
        self.die()

    def die(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


# --- the venue -----------------------------------------------------------------------------------


class Venue(PaperBroker):
    """The simulated exchange behind a line that is slow, loses requests, and loses answers.

    `accepted` counts, by client order id, how often an order reached it.
    """

    power: Power
    accepted: dict[str, int]
    line: asyncio.Queue[Event]

    def plug_in(self, power: Power, now: Callable[[], int]) -> None:
        """Serve another engine."""
        self.power = power
        self._now = now
        self.line = asyncio.Queue()

    async def stream_fills(self) -> AsyncIterator[Event]:
        while True:
            yield await self.line.get()

    def on_market(self, event: QuoteUpdate | BarClosed) -> Sequence[Event]:
        """What it says is on the line for a while, and may come twice."""
        loop = asyncio.get_running_loop()
        for report in super().on_market(event):
            delay = self.power.random.uniform(0, LINE_S)
            loop.call_later(delay, self.line.put_nowait, report)
            if self.power.happens(0.1):
                loop.call_later(2 * delay, self.line.put_nowait, report)
        return ()

    async def submit_order(self, order: Order) -> ExecutionReport:
        async def arrive() -> ExecutionReport:
            key = order.client_order_id
            self.accepted[key] = self.accepted.get(key, 0) + 1
            return await PaperBroker.submit_order(self, order)

        return await self._ask(arrive)

    async def cancel_order(self, order: Order) -> ExecutionReport | CancelRejected:
        return await self._ask(lambda: PaperBroker.cancel_order(self, order))

    async def replace_order(
        self, order: Order, terms: OrderTerms
    ) -> ExecutionReport | ReplaceRejected:
        return await self._ask(lambda: PaperBroker.replace_order(self, order, terms))

    async def get_order(self, order: Order) -> ExecutionReport | None:
        return await self._ask(lambda: PaperBroker.get_order(self, order))

    async def get_open_orders(self) -> Sequence[VenueOrder]:
        return await self._ask(lambda: PaperBroker.get_open_orders(self))

    async def get_fills(self, since: int) -> Sequence[Fill]:
        return await self._ask(lambda: PaperBroker.get_fills(self, since))

    async def get_positions(self) -> Mapping[str, Decimal]:
        return await self._ask(lambda: PaperBroker.get_positions(self))

    async def get_account_balance(self) -> Balance:
        return await self._ask(lambda: PaperBroker.get_account_balance(self))

    def open_there(self) -> Sequence[VenueOrder]:
        """The open orders, without the line between."""
        return self._exchange.open_orders()

    def held_there(self) -> Mapping[str, Decimal]:
        return self._positions

    async def _ask(self, arrive: Callable[[], Awaitable[T]]) -> T:
        power = self.power
        if not power.on or power.happens(0.02):
            raise NotSent("connection refused")
        if power.happens(0.02):
            await power.wait(LINE_S)
            raise InDoubt("connection lost on the way")
        try:
            await power.wait(LINE_S)
        except asyncio.CancelledError:
            if not power.on and power.random.random() < 0.5:
                await arrive()  # it was on the line when the engine died
            raise
        if not power.on:
            raise NotSent("the power is off")
        answer = await arrive()
        if power.happens(0.02):
            await asyncio.Event().wait()  # no answer, ever
        await power.wait(LINE_S)
        if power.happens(0.02):
            raise InDoubt("connection lost on the way back")
        return answer
