"""The kill switch at the real adapters, with more orders than the venues take requests for.

Each adapter talks to its loopback server through the real client; the machine and the requests are
the engine's own. Only the ticks come faster.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.brokers.base import RateLimited
from engine.core.events import BrokerChanged, ClockTick, Event, Restored, TripKillSwitch
from engine.core.machine import Machine, MachineConfig
from engine.core.model import NANOS, Order, OrderState
from engine.host.broker_link import SHUT
from engine.host.requests import InFlight, Requests
from tests.brokers.contract import WiredPeer, builders
from tests.brokers.peer_alpaca import AlpacaPeer
from tests.loopback.faults import Fault, Limit

MANY, TAKEN, MORE = 60, 40, 30
TICK_S = 0.1
WITHIN_S = 20.0
"""No test waits longer; each ends within a second or two where the computer is not busy."""
KILL = TripKillSwitch(source="key", author="me")


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


def asked(peer: WiredPeer) -> int:
    """How many requests the venue got for the kill."""
    return sum(peer.faults.requests[kind] for kind in ("cancel", "cancel all", "orders"))


# --- many orders ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alpaca", "alpaca-broker", "coinbase"])
async def test_a_kill_of_many_orders_takes_fewer_requests_than_there_are_orders(name: str) -> None:
    """One for each, Alpaca would cancel the last of 150 after 25 s: it takes 200 a minute."""
    async with killing(MANY, name) as (desk, [peer]):
        peer.faults.limit = Limit(TAKEN, 60)
        desk.publish(KILL)
        await desk.until(lambda: not peer.venue.open)
        assert asked(peer) <= TAKEN
        assert not peer.faults.limited


async def test_an_order_of_somebody_else_is_not_cancelled_with_all_of_ours() -> None:
    """The kill knows nothing of it: it is no order of this account's books."""
    async with killing(MORE, "alpaca") as (desk, [peer]):
        foreign = peer.by_hand("8")
        desk.publish(KILL)
        await desk.until(lambda: not desk.left(peer))
        assert peer.venue.open == [foreign]
        assert not peer.faults.requests["cancel all"]


async def test_one_that_is_left_where_all_are_cancelled_is_asked_for_again() -> None:
    async with killing(MORE, "alpaca") as (desk, [peer]):
        assert isinstance(peer, AlpacaPeer)
        peer.server.uncancelable = {placed.number for placed in peer.venue.open[-2:]}
        desk.publish(KILL)
        await desk.until(lambda: not desk.left(peer))
        assert peer.faults.requests["cancel all"] == 1


async def test_an_order_that_is_being_made_is_not_cancelled_with_all_of_the_others() -> None:
    """As an exit, which a kill that flattens sends at once."""
    async with killing(MORE, "alpaca") as (desk, [peer]):
        peer.faults.plan("submit", Fault.SLOW)
        leaving = asyncio.create_task(peer.broker.submit_order(peer.order()))
        await peer.faults.has_come("submit", 1)
        desk.publish(KILL)
        await desk.until(lambda: not desk.left(peer))
        assert (await leaving).state is OrderState.ACCEPTED
        assert len(peer.venue.open) == 1
        assert not peer.faults.requests["cancel all"]


async def test_an_order_is_not_made_while_all_are_cancelled() -> None:
    async with killing(MORE, "alpaca") as (desk, [peer]):
        peer.faults.plan("orders", Fault.SLOW)
        desk.publish(KILL)
        await peer.faults.has_come("orders", 1)
        leaving = asyncio.create_task(peer.broker.submit_order(peer.order()))
        await desk.until(lambda: not desk.left(peer))
        assert (await leaving).state is OrderState.ACCEPTED
        assert len(peer.venue.open) == peer.faults.requests["cancel all"] == 1


# --- a venue that takes no requests, or answers none ---------------------------------------------


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("alpaca", Fault.RATE_LIMITED),
        ("binance", Fault.RATE_LIMITED),
        ("binance", Fault.BANNED),
        ("questrade", Fault.RATE_LIMITED),
    ],
)
async def test_what_a_venue_says_of_waiting_is_obeyed_and_then_the_cancels_come_first(
    name: str, fault: Fault
) -> None:
    async with killing(3, name, "kraken") as (desk, [shut, other]):
        shut.faults.retry_after_s = 1
        shut.faults.plan("positions", fault)
        with pytest.raises(RateLimited):
            await shut.broker.get_positions()
        before = shut.faults.requests.total()
        desk.publish(KILL)
        await desk.until(lambda: not desk.left(other))
        assert (desk.left(shut), shut.faults.requests.total()) == (3, before)
        room = shut.broker.room()
        assert room is not None
        assert room.shut_s > 0
        assert set(desk.machine.orders.refused.values()) == {SHUT}
        await desk.until(lambda: not desk.left(shut))
        assert asked(shut) >= 1


@pytest.mark.parametrize("name", ["alpaca", "coinbase"])
async def test_a_venue_that_never_answers_holds_up_no_other_and_is_asked_until_it_does(
    name: str,
) -> None:
    async with killing(MORE, name, "binance") as (desk, [mute, other]):
        for kind in ("cancel", "cancel all", "orders", "order"):
            mute.faults.plan(kind, *[Fault.HANG] * 1000)
        desk.publish(KILL)
        await desk.until(lambda: not desk.left(other))
        assert desk.left(mute) == MORE
        mute.faults.heal()
        await desk.until(lambda: not desk.left(mute))
        assert not mute.venue.open
