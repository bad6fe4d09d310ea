"""A kill at the real adapters: a machine, and orders that work at their loopback servers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal

from msgspec.structs import replace

from engine.core.events import BrokerChanged, ClockTick, Event, Restored
from engine.core.machine import Machine, MachineConfig
from engine.core.model import NANOS, Order, OrderState
from engine.host.requests import InFlight, Requests
from tests.brokers.contract import WiredPeer, builders

TICK_S = 0.1
WITHIN_S = 20.0
"""Nothing is waited for longer; it takes a second or two where the computer is not busy."""


class Desk:
    """A machine that trades the instrument of each peer; `failed` is what it should not have."""

    def __init__(self, *peers: WiredPeer) -> None:
        self.traded = {p.broker.name: replace(p.instrument, venue=p.broker.name) for p in peers}
        self.machine = Machine(MachineConfig(tuple(self.traded.values())), {})
        self.failed: list[BaseException] = []
        self._loop = asyncio.get_running_loop()
        links = {peer.broker.name: peer.link for peer in peers}
        venues = {instrument.symbol: name for name, instrument in self.traded.items()}
        orders, in_flight = self.machine.orders, InFlight()
        self.requests = Requests(links, venues, orders, in_flight, self.failed.append)
        for peer in peers:
            peer.listening = self.publish

    @property
    def _now(self) -> int:
        return round(self._loop.time() * NANOS)

    def publish(self, event: Event) -> None:
        for effect in self.machine.process(replace(event, ts=self._now)):
            self.requests.carry_out(effect)

    async def restore(self, count: int, *peers: WiredPeer) -> None:
        """So many orders work at each venue, and are known here."""
        known: list[Order] = []
        for peer in peers:
            name = peer.broker.name
            said = BrokerChanged(name, True, capabilities=peer.broker.capabilities, ts=self._now)
            self.machine.process(said)
            known += await working(peer, count)
        self.machine.process(Restored({}, tuple(known), ts=self._now))

    def left(self, peer: WiredPeer) -> int:
        symbol = self.traded[peer.broker.name].symbol
        return sum(order.symbol == symbol for order in self.machine.orders.open.values())

    async def until(self, holds: Callable[[], bool]) -> None:
        """Tick until it holds."""
        async with asyncio.timeout(WITHIN_S):
            while not holds():
                await asyncio.sleep(TICK_S)
                self.publish(ClockTick(self._now, 0))


async def working(peer: WiredPeer, count: int) -> list[Order]:
    """So many orders that rest far from the market, as the engine knew them when it ended."""
    orders = [replace(peer.order(units=1), limit_price=Decimal(9)) for _ in range(count)]
    for order in orders:
        peer.venue.submit(replace(order, symbol=peer.symbol))
    listed = [venue_order.order for venue_order in await peer.broker.get_open_orders()]
    named = {order.client_order_id: order.venue_order_id for order in listed}
    unnamed = iter(order.venue_order_id for order in listed)  # where they have only that name
    return [
        replace(
            order,
            state=OrderState.ACCEPTED,
            venue_order_id=named.get(order.client_order_id) or next(unnamed),
        )
        for order in orders
    ]


@asynccontextmanager
async def killing(count: int, *names: str) -> AsyncIterator[tuple[Desk, list[WiredPeer]]]:
    """A desk with so many orders at each of the brokers."""
    async with AsyncExitStack() as stack:
        peers: list[WiredPeer] = []
        for name in names:
            peer = await stack.enter_async_context(builders()[name]())
            assert isinstance(peer, WiredPeer)
            peers.append(peer)
        desk = Desk(*peers)
        await desk.restore(count, *peers)
        for peer in peers:
            peer.faults.requests.clear()
        yield desk, peers
        await desk.requests.close()
        assert desk.failed == []
