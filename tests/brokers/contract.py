"""What the contract suite needs of each broker: its adapter, and what is behind it.

`peer_<name>.py` beside this file makes them: its `PEERS` maps the names of brokers to builders, and
`IN_BASE`, where there is one, those of venues that take `COSTS` of what is bought.
"""

import asyncio
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from engine.brokers.base import BaseBroker
from engine.core.events import Event, ExecutionReport
from engine.core.matching import ExchangeRules
from engine.core.model import (
    Capabilities,
    Fill,
    Instrument,
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Side,
)
from engine.core.order_moves import client_order_id
from engine.host.broker_link import BrokerLink
from tests.loopback.faults import Fault, Faults, Streams
from tests.loopback.venue import Placed, Venue

E = TypeVar("E", bound=Event)

ANSWER_S = 10.0
"""No test waits longer. An adapter under test has to give a request up within a second or two."""
FOLDER = Path(__file__).parent
COSTS = ExchangeRules(Decimal("0.25"), Decimal(0), Decimal(100))


class Peer(ABC):
    """A broker, connected, as `BrokerLink` runs it; its market at about 100.

    `unit` is a quantity of which ten can be bought and one be filled. `events` is all that the
    broker said without being asked; who is `listening` hears it too.
    """

    def __init__(self, broker: BaseBroker, instrument: Instrument, unit: Decimal, now: int) -> None:
        self.broker = broker
        self.instrument = instrument
        self.unit = unit
        self.events: list[Event] = []
        self.listening: Callable[[Event], None] = lambda _: None
        self._now = now
        self._orders = 0
        self._heard = asyncio.Event()
        self.link = BrokerLink(broker.name, broker, self._hear, lambda: now, ANSWER_S)
        self._running = asyncio.create_task(self.link.run())

    async def close(self) -> None:
        """As the engine does at its end."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self.broker.disconnect()

    @property
    def able(self) -> Capabilities:
        """What the broker can do with the instrument."""
        return self.broker.capabilities.of(self.instrument.asset_class)

    @abstractmethod
    def quote(self, bid: float, ask: float, units: int = 1000) -> None:
        """The market of `instrument` moves, with so many units on each side."""

    def order(self, units: int = 10, limit: str | None = "99", side: Side = Side.BUY) -> Order:
        """A new order of ours; at the market where there is no limit."""
        self._orders += 1
        return Order(
            client_order_id(type(self).__name__, self.instrument.symbol, self._now, self._orders),
            "s",
            self.instrument.symbol,
            side,
            OrderType.MARKET if limit is None else OrderType.LIMIT,
            units * self.unit,
            OrderPurpose.ENTRY,
            self._now,
            self._now,
            Decimal(100),
            limit_price=None if limit is None else Decimal(limit),
            time_in_force=self.able.times_in_force[0],
        )

    # --- what was heard -------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        self._heard.set()
        self.listening(event)

    async def hears(self, kind: type[E], where: Callable[[E], bool] = lambda _: True) -> E:
        """The first such event, which may have come already."""
        async with asyncio.timeout(ANSWER_S):
            seen = 0
            while True:
                new, seen = self.events[seen:], len(self.events)
                for event in new:
                    if isinstance(event, kind) and where(event):
                        return event
                self._heard.clear()
                await self._heard.wait()

    async def sees(self, order: Order, state: OrderState) -> ExecutionReport:
        """The report that `order` is in `state`."""
        key = order.client_order_id
        return await self.hears(
            ExecutionReport, lambda e: e.client_order_id == key and e.state is state
        )

    def executions(self, order: Order) -> list[Fill]:
        """What was heard of the order's executions, as often as it was said."""
        return [
            event.fill
            for event in self.events
            if isinstance(event, ExecutionReport)
            and event.fill is not None
            and event.client_order_id == order.client_order_id
        ]


class WiredPeer(Peer):
    """A broker with a loopback server at the other end of the wire. `cannot` are the faults that
    its protocol does not have; `other` is traded there too."""

    other: Instrument
    venue: Venue
    faults: Faults
    streams: Streams
    cannot: frozenset[Fault] = frozenset()

    @property
    def symbol(self) -> str:
        """What the venue calls the instrument."""
        return self.name_of(self.instrument)

    def name_of(self, instrument: Instrument) -> str:
        """What the venue calls it."""
        return instrument.symbol.removeprefix(f"{self.broker.name}:")

    def quote(self, bid: float, ask: float, units: int = 1000) -> None:
        self.venue.quote(self.symbol, bid, ask, float(units * self.unit))

    def by_hand(self, limit: str = "99") -> Placed:
        """An order that somebody made at the venue, without a client order id."""
        order = self.order(limit=limit)
        return self.venue.submit(replace(order, client_order_id="", symbol=self.symbol))

    @property
    def successors(self) -> Collection[int]:
        """Numbers of the orders that the venue made where one was to be replaced."""
        return ()

    @abstractmethod
    def another(self, *instruments: Instrument) -> BaseBroker:
        """A broker that knows nothing, as after a restart; of `instruments`, where any are
        given."""

    @abstractmethod
    async def start_server(self) -> None:
        """It listens again, on the same port."""

    @abstractmethod
    async def stop_server(self) -> None:
        """The port is closed, and every connection with it."""


Builder = Callable[[], AbstractAsyncContextManager[Peer]]


def builders(kind: str = "PEERS") -> Mapping[str, Builder]:
    """All of a kind that are there, by the broker's name."""
    found: dict[str, Builder] = {}
    for file in sorted(FOLDER.glob("peer_*.py")):
        found |= getattr(importlib.import_module(f"tests.brokers.{file.stem}"), kind, {})
    return found
