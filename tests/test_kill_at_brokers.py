"""The kill switch at the real adapters, with more orders than the venues take requests for.

Each adapter talks to its loopback server through the real client; the machine and the requests are
the engine's own. Only the ticks come faster.
"""

import asyncio

import pytest
from msgspec.structs import replace

from engine.brokers.base import RateLimited
from engine.core.events import TripKillSwitch
from engine.core.model import OrderState
from engine.host.broker_link import SHUT
from tests.brokers import peer_alpaca
from tests.brokers.contract import WiredPeer
from tests.brokers.killing import killing
from tests.brokers.peer_alpaca import AlpacaPeer, login
from tests.brokers.peer_ccxt import CcxtPeer
from tests.loopback.faults import Fault, Limit
from tests.loopback.kraken import Kraken

MANY, TAKEN, MORE = 60, 40, 30
KILL = TripKillSwitch(source="key", author="me")


def asked(peer: WiredPeer) -> int:
    """How many requests the venue got for the kill."""
    return sum(peer.faults.requests[kind] for kind in ("cancel", "cancel all", "orders"))


# --- many orders ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alpaca", "alpaca-broker", "coinbase", "kraken"])
async def test_a_kill_of_many_orders_takes_fewer_requests_than_there_are_orders(name: str) -> None:
    """One for each, Alpaca would cancel the last of 150 after 25 s: it takes 200 a minute."""
    async with killing(MANY, name) as (desk, [peer]):
        peer.faults.limit = Limit(TAKEN, 60)
        desk.publish(KILL)
        await desk.until(lambda: not peer.venue.open)
        assert asked(peer) <= TAKEN
        assert not peer.faults.limited
        if isinstance(peer, CcxtPeer) and isinstance(peer.spoken, Kraken):
            assert not peer.spoken.overtaken  # each has a nonce, and they come in its order


async def test_an_order_of_somebody_else_is_not_cancelled_with_all_of_ours() -> None:
    """The kill knows nothing of it: it is no order of this account's books."""
    async with killing(MORE, "alpaca") as (desk, [peer]):
        foreign = peer.by_hand("8")
        desk.publish(KILL)
        await desk.until(lambda: not desk.left(peer))
        assert peer.venue.open == [foreign]
        assert not peer.faults.requests["cancel all"]


async def test_orders_that_are_cancelled_one_by_one_are_all_there_is_room_for_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that stays keeps the others from being cancelled in one request, as a protective stop
    does in a kill that keeps those."""
    few = lambda server: replace(login(server), requests_a_minute=MORE + 15)  # noqa: E731
    monkeypatch.setattr(peer_alpaca, "login", few)
    async with killing(MORE, "alpaca") as (desk, [peer]):
        staying = peer.by_hand("8")
        peer.faults.limit = Limit(MORE + 1, 60)
        desk.publish(KILL)
        await desk.until(lambda: peer.venue.open == [staying])
        assert not peer.faults.limited


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
