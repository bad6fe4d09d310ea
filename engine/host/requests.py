"""Requests to brokers: each in a task of its own and with a deadline, sent once.

Nothing here waits for another request, so a broker that never answers holds up no other one, and
no cancel waits behind a submit.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from engine.core.events import (
    BarClosed,
    CancelOrder,
    Effect,
    QueryOrder,
    QuoteUpdate,
    ReplaceOrder,
    RequestStatement,
    SubmitOrder,
)
from engine.core.model import Order
from engine.core.orders import OrderBook
from engine.host.broker_link import BrokerLink
from engine.host.tasks import Tasks
from engine.host.untold import WORKING
from engine.view.snapshot import BrokerHealth


class InFlight:
    """How many intents and requests are under way, and one more while too many facts wait for the
    disk; `idle` is set while there are none."""

    def __init__(self) -> None:
        self.count = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def begin(self) -> None:
        self.count += 1
        self.idle.clear()

    def end(self) -> None:
        self.count -= 1
        if not self.count:
            self.idle.set()


class Requests:
    """Carries out the effects that concern brokers; each order goes to its instrument's `venue`.

    `failed` is told of an error that is none of a broker's: then half-blind is not traded.
    """

    def __init__(
        self,
        links: Mapping[str, BrokerLink],
        venues: Mapping[str, str],
        orders: OrderBook,
        in_flight: InFlight,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._links = links
        self._venues = venues
        self._orders = orders
        self._in_flight = in_flight
        self._tasks = Tasks(failed)

    def carry_out(self, effect: Effect) -> bool:
        """Start the request; False where the effect is none for a broker."""
        match effect:
            case SubmitOrder(order=order):
                self._start(self._link(order).submit(order, self._orders.is_wanted))
            case CancelOrder(order=order):
                self._start(self._link(order).cancel(order, self._is_open))
            case ReplaceOrder(order=order, terms=terms):
                self._start(self._link(order).replace(order, terms, self._orders.is_wanted))
            case QueryOrder(order=order):
                self._start(self._link(order).query(order))
            case RequestStatement(broker=name, asked_ts=asked_ts, since=since):
                self._start(self._links[name].statement(asked_ts, since))
            case _:
                return False
        return True

    def on_market(self, event: QuoteUpdate | BarClosed) -> None:
        """Market data, before the machine sees it: what a simulated broker says of them comes
        first."""
        symbol = event.quote.symbol if isinstance(event, QuoteUpdate) else event.bar.symbol
        venue = self._venues.get(symbol)
        if venue is not None:
            link = self._links[venue]
            for said in link.broker.on_market(event):
                link.hear(said)

    def announce(self) -> None:
        """Say of each broker whether it is connected."""
        for link in self._links.values():
            link.announce()

    async def run(self) -> None:
        """Keep the connections to all brokers, and listen to them, until cancelled or until each
        needs a person."""
        await asyncio.gather(*(self._run(link) for link in self._links.values()))

    @property
    def clock_offset(self) -> int:
        """How far market time is from that of the venue from which it is the farthest (ns); ahead
        of it where positive."""
        return max((link.clock_offset or 0 for link in self._links.values()), key=abs, default=0)

    @property
    def health(self) -> tuple[BrokerHealth, ...]:
        """What was measured of each broker."""
        return tuple(link.health for link in self._links.values())

    async def tried(self) -> None:
        """Until the first attempt to connect to each broker has ended. Raises OtherAccount where
        the account of one is not that of its books."""
        for link in self._links.values():
            await link.tried.wait()
            if link.other_account is not None:
                raise link.other_account

    async def close(self) -> None:
        """Give up what is still under way, and disconnect."""
        await self._tasks.close()
        await asyncio.gather(*(link.disconnect() for link in self._links.values()))

    async def _run(self, link: BrokerLink) -> None:
        beside = [
            asyncio.create_task(link.watch_clock()),
            asyncio.create_task(link.watch_orders(lambda: self._working(link.name))),
        ]
        try:
            await link.run()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    def _working(self, venue: str) -> list[Order]:
        """The orders that work at `venue`, with nothing under way."""
        orders = self._orders.open.values()
        return [o for o in orders if o.state in WORKING and self._venues.get(o.symbol) == venue]

    def _is_open(self, client_order_id: str) -> bool:
        return client_order_id in self._orders.open

    def _link(self, order: Order) -> BrokerLink:
        return self._links[self._venues[order.symbol]]

    def _start(self, request: Coroutine[Any, Any, None]) -> None:
        self._in_flight.begin()
        self._tasks.start(request).add_done_callback(lambda _: self._in_flight.end())
