"""What only Interactive Brokers has: one socket for everything, floats, errors for answers."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.brokers.base import InDoubt, NotConnected, NotPermitted, NotSent, RateLimited
from engine.core.events import (
    BrokerChanged,
    CancelRejected,
    ExecutionReport,
    ReplaceRejected,
    TradeBusted,
)
from engine.core.model import OrderState, OrderTerms, OrderType, Side
from engine.ops.errors import UserError
from tests.brokers.peer_interactive_brokers import (
    AAPL,
    InteractiveBrokersPeer,
    interactive_brokers,
)
from tests.loopback.faults import Fault
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
    again = await peer.broker.cancel_order(order)
    assert isinstance(again, CancelRejected)
    assert "cannot be cancelled" in again.reason, "it was asked for again"
    found = await peer.broker.get_order(order)
    assert found is not None
    assert found.state is S.ACCEPTED
    states = {event.state for event in peer.events if isinstance(event, ExecutionReport)}
    assert states <= {S.ACCEPTED}
    peer.server.keeps = False
    assert isinstance(await peer.broker.cancel_order(order), ExecutionReport)
    assert not peer.venue.open


@pytest.mark.parametrize("code", [399, 10349, 10999])
async def test_what_is_said_of_an_order_that_stays_is_no_refusal(
    peer: InteractiveBrokersPeer, code: int
) -> None:
    """ib_async itself has it as cancelled then, but for the first of these codes."""
    peer.server.remarks = [(code, "Order TIF was set to DAY based on order preset.")]
    order = peer.order()
    assert (await peer.broker.submit_order(order)).state is S.ACCEPTED
    await peer.broker.get_order(order)
    states = {event.state for event in peer.events if isinstance(event, ExecutionReport)}
    assert states <= {S.ACCEPTED}
    assert isinstance(await peer.broker.cancel_order(order), ExecutionReport)


@pytest.mark.parametrize("code", [110, 201, 321, 434])
async def test_an_order_that_is_not_taken_is_rejected(
    peer: InteractiveBrokersPeer, code: int
) -> None:
    """Some of these ib_async takes for warnings."""
    peer.server.refusals = [(code, "No [b]way")]
    order = peer.order()
    report = await peer.broker.submit_order(order)
    assert report.state is S.REJECTED
    assert "No (b)way" in report.reason
    found = await peer.broker.get_order(order)
    assert found is not None
    assert found.state is S.REJECTED


async def test_an_error_of_unknown_meaning_for_an_order_that_was_not_made(
    peer: InteractiveBrokersPeer,
) -> None:
    peer.server.refusals = [(10999, "Something new")]
    order = peer.order()
    with pytest.raises(InDoubt):
        await peer.broker.submit_order(order)
    assert await peer.broker.get_order(order) is None
    assert not [event for event in peer.events if isinstance(event, ExecutionReport)]


@pytest.mark.parametrize("code", [105, 201, 10999])
async def test_a_replace_that_is_refused_leaves_the_order_as_it_is(
    peer: InteractiveBrokersPeer, code: int
) -> None:
    order = peer.order()
    await peer.broker.submit_order(order)
    peer.server.refusals = [(code, "No [b]way")]
    answer = await peer.broker.replace_order(order, OrderTerms(Decimal(5), Decimal("98.5")))
    assert isinstance(answer, ReplaceRejected)
    assert answer.reason == "No (b)way"
    found = await peer.broker.get_order(order)
    assert found is not None
    assert (found.state, found.terms) == (S.ACCEPTED, order.terms)
    states = {event.state for event in peer.events if isinstance(event, ExecutionReport)}
    assert states <= {S.ACCEPTED}
    assert isinstance(await peer.broker.cancel_order(order), ExecutionReport)
    assert not peer.venue.open


async def test_a_stop_that_waits_is_replaced(peer: InteractiveBrokersPeer) -> None:
    order = replace(
        peer.order(limit=None), type=OrderType.STOP, stop_price=Decimal(90), side=Side.SELL
    )
    await peer.broker.submit_order(order)
    terms = OrderTerms(order.quantity, None, Decimal("91.5"))
    answer = await peer.broker.replace_order(order, terms)
    assert isinstance(answer, ExecutionReport)
    assert answer.terms == terms


async def test_an_order_of_another_client_is_not_touched(peer: InteractiveBrokersPeer) -> None:
    """Its number may be that of another order here."""
    order, mine = peer.order(), peer.order()
    await peer.broker.submit_order(order)
    await peer.close()
    other = peer.another(client_id=8)
    await other.connect()
    await other.submit_order(mine)
    asked = Counter(peer.faults.requests)
    assert isinstance(await other.cancel_order(order), CancelRejected)
    answer = await other.replace_order(order, OrderTerms(Decimal(5), Decimal("98.5")))
    assert isinstance(answer, ReplaceRejected)
    assert "another client" in answer.reason
    assert {kind: peer.faults.requests[kind] for kind in ("submit", "replace", "cancel")} == {
        kind: asked[kind] for kind in ("submit", "replace", "cancel")
    }
    assert len(peer.venue.open) == 2
    await other.disconnect()


async def test_a_tws_that_lost_its_own_connection_says_so(peer: InteractiveBrokersPeer) -> None:
    await peer.streams.has_joined()
    for code in (1100, 2110):
        peer.server.say_error(code, "Connectivity has been [b]lost\x1b")
        lost = await peer.hears(BrokerChanged, lambda event: not event.connected)
        assert lost.reason == "Connectivity has been (b)lost "
        with pytest.raises(NotConnected):
            await peer.broker.submit_order(peer.order())
        peer.events.clear()
        peer.server.say_error(1102, "Connectivity has been restored")
        await peer.hears(BrokerChanged, lambda event: event.connected)
        assert not peer.faults.requests["submit"]
    assert (await peer.broker.submit_order(peer.order())).state is S.ACCEPTED


async def test_a_question_that_did_not_leave_ends_no_connection(
    peer: InteractiveBrokersPeer,
) -> None:
    """Whoever asks may give up while TWS has no connection of its own."""
    await peer.broker.submit_order(peer.order())
    joined = peer.streams.joined
    peer.server.say_error(1100, "Connectivity has been lost")
    await peer.hears(BrokerChanged, lambda event: not event.connected)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await peer.broker.get_positions()
    peer.server.say_error(1102, "Connectivity has been restored - data maintained")
    await peer.broker.get_positions()
    assert peer.streams.joined == joined


async def test_what_keeps_a_client_out_is_told(peer: InteractiveBrokersPeer) -> None:
    await peer.close()
    peer.server.taken.add(7)
    with pytest.raises(NotConnected, match="client id is already in use"):
        await peer.broker.connect()
    peer.server.taken.clear()
    peer.server.read_only = True
    with pytest.raises(NotPermitted, match="is read-only; allow orders"):
        await peer.broker.connect()


async def test_a_correction_takes_the_place_of_an_execution(peer: InteractiveBrokersPeer) -> None:
    order = peer.order()
    await peer.broker.submit_order(order)
    peer.quote(98, 99)
    await peer.sees(order, S.FILLED)
    (before,) = peer.executions(order)
    peer.server.correct(peer.venue.fills[0], Decimal("98.5"))
    busted = await peer.hears(TradeBusted)
    assert busted.execution_id == before.execution_id
    assert busted.corrected is not None
    assert (busted.corrected.price, busted.corrected.quantity) == (Decimal("98.5"), 10)
    assert busted.corrected.execution_id != before.execution_id
    assert list(await peer.broker.get_fills(0)) == [busted.corrected]
    assert len(peer.executions(order)) == 1


async def test_a_commission_that_is_no_amount_is_none(peer: InteractiveBrokersPeer) -> None:
    peer.venue.submit(peer.order())
    peer.quote(98, 99)
    largest = Decimal("1.7976931348623157E308")  # so IB writes what it does not know
    peer.venue.fills[0] = replace(peer.venue.fills[0], commission=largest)
    (fill,) = await peer.broker.get_fills(0)
    assert (fill.quantity, fill.commission) == (10, 0)


async def test_what_is_of_another_account_is_left_out(peer: InteractiveBrokersPeer) -> None:
    await peer.close()
    peer.server.accounts = [ACCOUNT, "DU7654321"]
    broker = peer.another(account=ACCOUNT)
    await broker.connect()
    ours, other = peer.order(), peer.order()
    await broker.submit_order(ours)
    peer.server.foreign.add(2)
    peer.venue.submit(replace(other, symbol="AAPL"))
    (listed,) = await broker.get_open_orders()
    assert listed.order.client_order_id == ours.client_order_id
    peer.quote(98, 99)
    (fill,) = await broker.get_fills(0)
    assert fill.client_order_id == ours.client_order_id
    assert len(peer.venue.fills) == 2
    await broker.disconnect()


async def test_a_balance_in_another_currency_is_none(peer: InteractiveBrokersPeer) -> None:
    assert (await peer.broker.get_account_balance()).cash == 1_000_000
    await peer.close()
    broker = peer.another(replace(AAPL, currency="CAD"))
    await broker.connect()
    assert (await broker.get_account_balance()).cash is None
    await broker.disconnect()


@pytest.mark.parametrize("said", ["NaN", "1.7976931348623157E308", "-Infinity"])
async def test_a_balance_that_is_no_amount_is_none(peer: InteractiveBrokersPeer, said: str) -> None:
    """So IB writes what it does not know."""
    peer.venue.cash = Decimal(said)
    balance = await peer.broker.get_account_balance()
    assert (balance.cash, balance.buying_power) == (None, None)


async def test_a_balance_that_is_given_up_is_no_longer_asked_for(
    peer: InteractiveBrokersPeer,
) -> None:
    """IB answers two at a time, and then none."""
    peer.faults.plan("balance", Fault.MUTE)
    with pytest.raises(InDoubt):
        await peer.broker.get_account_balance()
    assert (await peer.broker.get_account_balance()).cash == 1_000_000
    asked = [fields[2] for fields in peer.server.sent if fields[0] == "62"]
    given_up = [fields[2] for fields in peer.server.sent if fields[0] == "63"]
    assert given_up == asked[: len(given_up)]
    assert given_up


async def test_a_list_without_an_end_ends_the_connection(peer: InteractiveBrokersPeer) -> None:
    """Its end, coming late, would be taken for that of the next one."""
    order = peer.order()
    await peer.broker.submit_order(order)
    joined = peer.streams.joined
    peer.faults.plan("order", Fault.MUTE)
    with pytest.raises(InDoubt):
        await peer.broker.get_order(order)
    found = await peer.broker.get_order(order)
    assert found is not None
    assert found.state is S.ACCEPTED
    assert peer.streams.joined == joined + 1


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
    """They ask for their turn right after more orders than may leave, in the same step of the loop;
    the answers may take their time."""
    await peer.close()
    broker = peer.another(timeout_s=60)
    await broker.connect()
    first = [peer.order() for _ in range(10)]
    await asyncio.gather(*map(broker.submit_order, first))
    submits = [broker.submit_order(peer.order()) for _ in range(200)]
    cancels = [broker.cancel_order(order) for order in first]
    ended = await asyncio.gather(*submits, *cancels, return_exceptions=True)
    assert any(isinstance(error, RateLimited) for error in ended)
    assert all(isinstance(answer, ExecutionReport) for answer in ended[len(submits) :])
    await broker.disconnect()


async def test_a_symbol_that_is_not_there_makes_no_order(peer: InteractiveBrokersPeer) -> None:
    unknown = replace(AAPL, symbol="NOSUCH")
    await peer.close()
    broker = peer.another(unknown)
    await broker.connect()
    with pytest.raises(NotSent):
        await broker.submit_order(replace(peer.order(), symbol="NOSUCH"))
    await broker.disconnect()
    assert not peer.faults.requests["submit"]


@pytest.mark.parametrize(("account", "live"), [("DU1234567", False), ("U1234567", True)])
async def test_an_account_is_a_real_one_until_it_is_known_to_be_for_paper(
    peer: InteractiveBrokersPeer, account: str, live: bool
) -> None:
    peer.server.accounts = [account]
    broker = peer.another()
    assert broker.live
    await broker.connect()
    assert broker.live is live
    await broker.disconnect()


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
