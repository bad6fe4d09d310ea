"""What only Interactive Brokers has: one socket for everything, floats, errors for answers."""

import asyncio
from collections.abc import AsyncGenerator
from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.brokers.base import NotSent, RateLimited
from engine.core.events import CancelRejected, ExecutionReport
from engine.core.model import OrderState
from engine.ops.errors import UserError
from tests.brokers.peer_interactive_brokers import (
    AAPL,
    InteractiveBrokersPeer,
    interactive_brokers,
)
from tests.loopback.ib import ACCOUNT

S = OrderState


@pytest.fixture
async def peer() -> AsyncGenerator[InteractiveBrokersPeer]:
    async with interactive_brokers() as peer:
        yield peer


async def test_an_order_is_on_the_wire_as_it_is_meant(peer: InteractiveBrokersPeer) -> None:
    order = replace(peer.order(), limit_price=Decimal("99.01"))
    await peer.broker.submit_order(order)
    (sent,) = [fields for fields in peer.server.sent if fields[0] == "3"]
    assert sent[16:22] == ["BUY", "10.0", "LMT", "99.01", "", "DAY"]
    assert (sent[2], sent[23], sent[26]) == ("265598", ACCOUNT, order.client_order_id)


@pytest.mark.parametrize(
    "change",
    [{"quantity": Decimal("10.00000000000000000001")}, {"limit_price": Decimal(2**53 + 1)}],
)
async def test_a_number_that_would_change_on_the_way_does_not_leave(
    peer: InteractiveBrokersPeer, change: dict[str, Decimal]
) -> None:
    with pytest.raises(NotSent, match="exactly"):
        await peer.broker.submit_order(replace(peer.order(), **change))
    assert not peer.faults.requests["submit"]


async def test_a_cancel_that_did_not_take_leaves_the_order_as_it_is(
    peer: InteractiveBrokersPeer,
) -> None:
    """ib_async itself has the order as cancelled then."""
    order = peer.order()
    await peer.broker.submit_order(order)
    peer.server.keeps = True
    refused = await peer.broker.cancel_order(order)
    assert isinstance(refused, CancelRejected)
    assert "cannot be cancelled" in refused.reason
    found = await peer.broker.get_order(order)
    assert found is not None
    assert found.state is S.ACCEPTED
    states = {event.state for event in peer.events if isinstance(event, ExecutionReport)}
    assert states <= {S.ACCEPTED}
    peer.server.keeps = False
    assert isinstance(await peer.broker.cancel_order(order), ExecutionReport)
    assert not peer.venue.open


async def test_another_session_finds_what_is_open_and_what_is_filled(
    peer: InteractiveBrokersPeer,
) -> None:
    filled, resting = peer.order(), peer.order(limit="90")
    await peer.broker.submit_order(filled)
    await peer.broker.submit_order(resting)
    peer.quote(98, 99)
    await peer.sees(filled, S.FILLED)
    await peer.close()
    broker = peer.another()
    await broker.connect()
    found = await broker.get_order(filled)
    assert found is not None
    assert found.fill is not None
    assert (found.state, found.fill.quantity, found.fill.price) == (S.FILLED, 10, 99)
    assert isinstance(await broker.cancel_order(resting), ExecutionReport)
    assert not peer.venue.open
    assert await broker.get_order(peer.order()) is None
    await broker.disconnect()


async def test_cancels_have_room_that_orders_cannot_take(peer: InteractiveBrokersPeer) -> None:
    orders = [peer.order() for _ in range(40)]
    await peer.broker.submit_order(orders[0])
    submits = [peer.broker.submit_order(order) for order in orders[1:]]
    ended = await asyncio.gather(*submits, return_exceptions=True)
    assert any(isinstance(error, RateLimited) for error in ended)
    assert len(peer.venue.orders) >= 20
    for order in orders[:10]:
        assert isinstance(await peer.broker.cancel_order(order), ExecutionReport)


async def test_a_symbol_that_is_not_there_makes_no_order(peer: InteractiveBrokersPeer) -> None:
    unknown = replace(AAPL, symbol="NOSUCH")
    await peer.close()
    broker = peer.another(unknown)
    await broker.connect()
    with pytest.raises(NotSent):
        await broker.submit_order(replace(peer.order(), symbol="NOSUCH"))
    await broker.disconnect()
    assert not peer.faults.requests["submit"]


async def test_of_several_accounts_one_is_to_be_chosen(peer: InteractiveBrokersPeer) -> None:
    await peer.close()
    peer.server.accounts = [ACCOUNT, "DU7654321"]
    for wanted in ("", "DU1"):
        broker = peer.another(account=wanted)
        with pytest.raises(UserError, match="DU1234567, DU7654321"):
            await broker.connect()
        await broker.disconnect()
    broker = peer.another(account=ACCOUNT)
    await broker.connect()
    assert not await broker.get_positions()
    await broker.disconnect()
