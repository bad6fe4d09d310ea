"""The whole console in a real terminal at Alpaca, whose servers stop, start, fall silent and lose
answers: the screen tells it, nobody presses a key, and the books agree in the end."""

import asyncio
import signal
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from engine.core.model import OrderState
from engine.simulation.process_laws import Kept, kept
from tests.loopback.faults import Fault
from tests.street import Street
from tests.terminal import Terminal
from tests.test_console import PROGRAM, environment

TRADEBOT = Path(sys.executable).with_name("tradebot")
PATIENCE_S = 40


class Desk:
    """A console at a street, of which a test sees no more than its screen."""

    def __init__(self, street: Street, terminal: Terminal) -> None:
        self.street = street
        self.terminal = terminal

    async def shows(self, *words: str) -> None:
        await self.sees(lambda screen: all(word in screen for word in words))

    async def sees(self, what: Callable[[str], bool], within: float = PATIENCE_S) -> None:
        await asyncio.to_thread(self.terminal.wait_for, what, within)

    async def bars(self, until: Callable[[str], bool]) -> None:
        """Three more bars, of which the strategy makes its next signal; and another one, where a
        busy machine took the stream for mute just then: what was missed is asked for with it."""
        for _ in range(3):
            self.street.bar()
        try:
            await self.sees(until, PATIENCE_S / 3)
        except AssertionError:
            self.street.bar()
            await self.sees(until)

    def has_position_and_stop(self, screen: str) -> bool:
        """The screen shows what the venue has."""
        held = self.street.venue.positions.get("BTC/USD", Decimal(0))
        one = len(self.street.venue.open) == 1 and " 1 open of" in screen
        return one and held > 0 and f"{held:f}" in screen

    def is_flat(self, screen: str) -> bool:
        held = self.street.venue.positions.get("BTC/USD", Decimal(0))
        return held == 0 and "no position: flat" in screen


async def test_a_day_of_troubles(tmp_path: Path) -> None:
    street = Street(tmp_path)
    async with street.open():
        variables = street.environment(in_doubt_lag_s=5)
        with Terminal([str(PROGRAM)], environment(**variables), folder=tmp_path) as terminal:
            await live_through(Desk(street, terminal))
            terminal.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(terminal.wait)
    settings = street.settings()
    assert_same_books(street, kept(settings))
    verified = await asyncio.create_subprocess_exec(
        TRADEBOT, "audit", "verify", env=environment(**variables), cwd=tmp_path
    )
    assert await verified.wait() == 0


async def live_through(desk: Desk) -> None:
    street, data = desk.street, desk.street.data.streams
    up = "alpaca ● up  feed alpaca ● up"
    await desk.shows(up, "no position: flat", "account PA3TEST")
    await data.has_joined()
    await desk.bars(desk.has_position_and_stop)

    joined = data.joined
    await street.data.stop()
    await desk.shows("feed alpaca ✗ DOWN")
    await street.data.start()
    await data.has_joined(joined + 1)
    await desk.shows(up)

    await street.server.stop()
    await desk.shows("broker alpaca ✗ DOWN")
    await street.server.start()
    await desk.shows(up)

    joined, data.mute = data.joined, True
    await desk.shows("the stream is mute")
    data.mute = False
    await data.has_joined(joined + 1)
    await desk.shows(up)

    await desk.bars(desk.is_flat)

    street.server.streams.mute = True
    street.server.faults.plan("submit", Fault.GATEWAY_TIMEOUT)
    street.server.faults.plan("order", *[Fault.SERVER_ERROR] * 3)
    await desk.bars(lambda screen: "in doubt" in screen)
    street.server.streams.mute = False
    await desk.sees(desk.has_position_and_stop)


def assert_same_books(street: Street, now: Kept) -> None:
    """One to one: the orders of both sides, what they filled, positions and cash."""
    venue = street.venue
    there = {p.order.client_order_id: p.order.filled for p in venue.orders.values()}
    assert len(there) == len(venue.orders) == street.server.faults.requests["submit"]
    assert there == {key: order.filled for key, order in now.orders.items()}
    assert {p.order.client_order_id for p in venue.open} == set(now.open)
    assert not any(order.state is OrderState.IN_DOUBT for order in now.orders.values())
    held = {p.symbol: p.quantity for p in now.positions.values() if p.quantity}
    assert list(held.values()) == [q for q in venue.positions.values() if q]
    assert venue.cash == 100_000 + sum(fill.cash_change for fill in now.trades.values())
