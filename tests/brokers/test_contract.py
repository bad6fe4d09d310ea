"""The contract: what every broker has to do, whichever it is, and whatever happens on the wire."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.brokers.alpaca.sweep import ALONE
from engine.brokers.base import InDoubt, NotAuthenticated, NotConnected, NotPermitted, RateLimited
from engine.brokers.throttle import TokenBucket
from engine.core.comparison import key_of
from engine.core.events import (
    BrokerChanged,
    CancelRejected,
    ExecutionReport,
    ReplaceRejected,
    SubmitFailed,
)
from engine.core.model import (
    FINAL_STATES,
    MINUTE,
    NANOS,
    ZERO,
    AssetClass,
    Idempotency,
    Liquidity,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Side,
    TimeInForce,
)
from engine.core.order_rules import in_lots, is_dust, number_fault
from tests.brokers.contract import ANSWER_S, Peer, WiredPeer, builders
from tests.loopback.coinbase import PORTFOLIO
from tests.loopback.faults import CARRIED_OUT, RETRY_AFTER_S, Fault
from tests.loopback.haste import HastePolicy, hasty
from tests.loopback.kraken import ACCOUNT

S = OrderState
ALL = builders()
IN_BASE = builders("IN_BASE")
WIRED = [name for name in ALL if name != "paper"]
OVER_HTTP = ["alpaca", "binance", "coinbase", "kraken", "questrade"]
DOUBTFUL = [Fault.HANG, Fault.RESET, Fault.SERVER_ERROR, Fault.REDIRECT, *sorted(CARRIED_OUT)]
REFUSING = {
    Fault.UNAUTHORIZED: NotAuthenticated,
    Fault.FORBIDDEN: NotPermitted,
    Fault.RATE_LIMITED: RateLimited,
    Fault.RATE_LIMITED_BARE: RateLimited,
}


@pytest.fixture
def event_loop_policy() -> Generator[HastePolicy]:
    """Nobody waits for time-outs and pauses."""
    with hasty() as policy:
        yield policy


@pytest.fixture(params=ALL)
async def peer(request: pytest.FixtureRequest) -> AsyncGenerator[Peer]:
    async with ALL[request.param]() as peer:
        yield peer


@pytest.fixture(params=WIRED)
async def wired(request: pytest.FixtureRequest) -> AsyncGenerator[WiredPeer]:
    async with ALL[request.param]() as peer:
        assert isinstance(peer, WiredPeer)
        yield peer


def has(wired: WiredPeer, *faults: Fault) -> None:
    """Skips the test where the protocol cannot have one of the faults."""
    if missing := wired.cannot.intersection(faults):
        pytest.skip(f"{wired.broker.name} cannot have {', '.join(missing)}")


# --- the connection ------------------------------------------------------------------------------

NUMBERS = {
    "alpaca": "PA3TEST",
    "binance": "354937868",
    "coinbase": PORTFOLIO,
    "interactive_brokers": "DU1234567",
    "kraken": ACCOUNT,
    "questrade": "26598145",
}
"""What the venues call the accounts."""


CAPABILITIES = {
    "alpaca": (Idempotency.OPEN_ONLY, 2, "replace short client_order_ids"),
    "alpaca, crypto": (Idempotency.OPEN_ONLY, 2, "replace fractional client_order_ids"),
    "binance": (Idempotency.OPEN_ONLY, 10, "fractional client_order_ids"),
    "coinbase": (Idempotency.OPEN_ONLY, 10, "fractional client_order_ids"),
    "interactive_brokers": (Idempotency.NONE, 5, "replace"),
    "kraken": (Idempotency.OPEN_ONLY, 10, "replace fractional client_order_ids"),
    "paper": (
        Idempotency.FOREVER,
        0,
        "replace oco extended_hours fractional short client_order_ids",
    ),
    "questrade": (Idempotency.NONE, 10, "replace"),
}
"""For how long a client order id is refused again, how long an order may be missing in answers (s),
and what else the broker can do with the instrument that is traded here."""


async def test_what_a_broker_can_do_is_what_it_declares(peer: Peer) -> None:
    declared = peer.able
    is_crypto = peer.instrument.asset_class is AssetClass.CRYPTO
    name = "alpaca, crypto" if peer.broker.name == "alpaca" and is_crypto else peer.broker.name
    idempotency, lag_s, can = CAPABILITIES[name]
    assert (declared.idempotency, declared.visibility_lag) == (idempotency, lag_s * NANOS)
    fields = declared.__struct_fields__
    assert [name for name in fields if getattr(declared, name) is True] == can.split()
    assert {OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT} <= set(declared.order_types)
    assert {TimeInForce.GTC, TimeInForce.IOC} <= set(declared.times_in_force)
    told = await peer.hears(BrokerChanged, lambda event: event.connected)
    assert told.capabilities == peer.broker.capabilities


async def test_it_says_which_account_it_has(peer: Peer) -> None:
    await peer.hears(BrokerChanged, lambda event: event.connected)
    assert peer.broker.account_number == NUMBERS.get(peer.broker.name, "")


# --- orders --------------------------------------------------------------------------------------


async def test_an_order_is_accepted_and_fills(peer: Peer) -> None:
    peer.quote(99, 100)
    order = peer.order()
    report = await peer.broker.submit_order(order)
    assert report.client_order_id == order.client_order_id
    assert report.state is S.ACCEPTED
    assert report.venue_order_id
    peer.quote(98, 99)
    filled = await peer.sees(order, S.FILLED)
    assert filled.venue_order_id == report.venue_order_id
    (fill,) = peer.executions(order)
    assert (fill.symbol, fill.side) == (order.symbol, Side.BUY)
    assert (fill.quantity, fill.price) == (order.quantity, 99)
    assert fill.execution_id
    tells = peer.broker.name not in ("alpaca", "questrade")
    assert fill.liquidity is (Liquidity.MAKER if tells else Liquidity.UNKNOWN)


async def test_its_answers_are_timed_and_its_room_for_requests_is_told(peer: Peer) -> None:
    assert (peer.link.health.orders, peer.link.health.answer_ms) == (0, None)
    await peer.link.submit(peer.order(), lambda *_: True)
    health = peer.link.health
    assert (health.name, health.orders, health.shut_s) == (peer.broker.name, 1, 0)
    assert health.answer_ms == health.slowest_ms
    assert health.answer_ms is not None
    assert 0 <= health.answer_ms < ANSWER_S * 1000
    if peer.broker.name == "paper":
        assert (health.room, health.most) == (None, None)
    else:
        assert health.room is not None
        assert health.most is not None
        assert 0 <= health.room <= health.most


async def test_a_market_order_fills(peer: Peer) -> None:
    peer.quote(99, 100)
    order = peer.order(limit=None)
    await peer.broker.submit_order(order)
    peer.quote(99, 100)
    await peer.sees(order, S.FILLED)
    assert sum(fill.quantity for fill in peer.executions(order)) == order.quantity
    tells = peer.broker.name not in ("alpaca", "questrade")
    told = {fill.liquidity for fill in await peer.broker.get_fills(0)}
    assert told == {Liquidity.TAKER if tells else Liquidity.UNKNOWN}


async def test_an_order_fills_part_by_part(peer: Peer) -> None:
    order = peer.order()
    await peer.broker.submit_order(order)
    peer.quote(98, 99, units=4)
    await peer.sees(order, S.PARTIALLY_FILLED)
    peer.quote(97, 98, units=6)
    await peer.sees(order, S.FILLED)
    fills = peer.executions(order)
    assert [fill.quantity for fill in fills] == [4 * peer.unit, 6 * peer.unit]
    assert len({fill.execution_id for fill in fills}) == 2


async def test_a_cancel_ends_the_order(peer: Peer) -> None:
    order = peer.order()
    report = await peer.broker.submit_order(order)
    order = replace(order, venue_order_id=report.venue_order_id)
    answer = await peer.broker.cancel_order(order)
    assert isinstance(answer, ExecutionReport)
    if answer.state is not S.CANCELED:
        await peer.sees(order, S.CANCELED)
    assert not await peer.broker.get_open_orders()


async def test_a_cancel_loses_to_a_fill(peer: Peer) -> None:
    order = peer.order()
    await peer.broker.submit_order(order)
    peer.quote(98, 99)
    answer = await peer.broker.cancel_order(order)
    assert isinstance(answer, CancelRejected)
    assert answer.reason
    await peer.sees(order, S.FILLED)


async def test_an_order_that_is_not_there_cannot_be_cancelled(peer: Peer) -> None:
    assert isinstance(await peer.broker.cancel_order(peer.order()), CancelRejected)


async def test_a_replace_gives_an_order_other_terms(peer: Peer) -> None:
    if not peer.broker.capabilities.replace:
        pytest.skip(f"{peer.broker.name} cannot replace orders")
    order = peer.order()
    await peer.broker.submit_order(order)
    terms = OrderTerms(8 * peer.unit, Decimal("98.5"))
    answer = await peer.broker.replace_order(order, terms)
    assert isinstance(answer, ExecutionReport)
    assert answer.client_order_id == order.client_order_id
    assert answer.terms == terms
    (listed,) = await peer.broker.get_open_orders()
    assert listed.order.terms == terms
    assert listed.order.client_order_id == order.client_order_id
    peer.quote(98, 98.5)
    await peer.sees(order, S.FILLED)
    assert sum(fill.quantity for fill in peer.executions(order)) == 8 * peer.unit
    assert isinstance(await peer.broker.replace_order(order, terms), ReplaceRejected)


async def test_an_order_is_found_by_its_client_order_id(peer: Peer) -> None:
    order = peer.order()
    assert await peer.broker.get_order(order) is None
    submitted = await peer.broker.submit_order(order)
    found = await peer.broker.get_order(order)
    assert found is not None
    assert found.client_order_id == order.client_order_id
    assert found.state is S.ACCEPTED
    assert found.venue_order_id == submitted.venue_order_id
    assert found.terms is None or found.terms == order.terms
    peer.quote(98, 99)
    found = await peer.broker.get_order(order)
    assert found is not None
    assert found.state is S.FILLED


# --- the account ---------------------------------------------------------------------------------


async def test_open_orders_are_listed_with_what_they_filled(peer: Peer) -> None:
    assert not await peer.broker.get_open_orders()
    order = peer.order()
    await peer.broker.submit_order(order)
    peer.quote(98, 99, units=4)
    (listed,) = await peer.broker.get_open_orders()
    assert listed.state is S.PARTIALLY_FILLED
    assert listed.order.client_order_id == order.client_order_id
    assert (listed.order.symbol, listed.order.side) == (order.symbol, order.side)
    assert listed.order.type is order.type
    assert listed.order.terms == order.terms
    assert listed.order.filled == 4 * peer.unit
    peer.quote(98, 99)
    assert not await peer.broker.get_open_orders()


async def test_an_order_of_a_kind_that_we_do_not_know_is_listed_as_that(wired: WiredPeer) -> None:
    placed = wired.by_hand()
    placed.order = replace(
        placed.order,
        type=OrderType.UNKNOWN,
        time_in_force=TimeInForce.UNKNOWN,
        stop_price=Decimal(98),
    )
    (listed,) = await wired.broker.get_open_orders()
    found = listed.order
    assert (found.type, found.time_in_force) == (OrderType.UNKNOWN, TimeInForce.UNKNOWN)
    assert (found.side, found.quantity) == (placed.order.side, placed.order.quantity)


async def test_all_open_orders_are_listed_however_many(wired: WiredPeer) -> None:
    placed = [wired.by_hand() for _ in range(110)]
    listed = await wired.broker.get_open_orders()
    assert len({each.order.venue_order_id for each in listed}) == len(placed)


async def test_an_order_is_found_behind_many_newer_ones(wired: WiredPeer) -> None:
    order = wired.order()
    await wired.broker.submit_order(order)
    for _ in range(110):
        wired.by_hand("98")
    broker = wired.another()
    await broker.connect()
    found = await broker.get_order(order)
    await broker.disconnect()
    assert found is not None
    assert found.client_order_id == order.client_order_id


async def test_executions_since_a_time_are_those_that_were_heard(peer: Peer) -> None:
    assert not await peer.broker.get_fills(0)
    order = peer.order()
    await peer.broker.submit_order(order)
    peer.quote(98, 99, units=4)
    peer.quote(98, 99)
    await peer.sees(order, S.FILLED)
    fills = await peer.broker.get_fills(0)
    heard = peer.executions(order)
    assert {f.execution_id: (f.quantity, f.price, f.side, f.liquidity) for f in fills} == {
        f.execution_id: (f.quantity, f.price, f.side, f.liquidity) for f in heard
    }
    last = max(fill.ts for fill in fills)
    assert not await peer.broker.get_fills(last + 60_000_000_000)


@pytest.mark.parametrize("wrong", ["0", "-5", "NaN", Side.SELL])
async def test_an_execution_that_makes_no_sense_is_passed_on_and_holds_up_no_other(
    wired: WiredPeer, wrong: str
) -> None:
    """Where it is booked it is quarantined."""
    if wrong == "NaN" and wired.broker.name == "questrade":
        pytest.skip("questrade's numbers are JSON's, which has no NaN")
    wired.streams.mute = True
    order = wired.order()
    await wired.broker.submit_order(order)
    wired.quote(98, 99, units=4)
    wired.quote(98, 99, units=6)
    is_side = wrong is Side.SELL
    bad = {"side": wrong} if is_side else {"price": Decimal(wrong)}
    wired.venue.spoil(wired.venue.fills[0], **bad)
    told = {fill.quantity: fill for fill in await wired.broker.get_fills(0)}
    assert told.keys() == {4 * wired.unit, 6 * wired.unit}
    assert not number_fault(told[6 * wired.unit])
    assert told[6 * wired.unit].side is order.side
    if is_side:
        assert told[4 * wired.unit].side is Side.SELL
    else:
        assert number_fault(told[4 * wired.unit])


async def test_positions_and_cash_are_what_was_traded(peer: Peer) -> None:
    before = (await peer.broker.get_account_balance()).cash
    held = (await peer.broker.get_positions()).get(peer.instrument.symbol, ZERO)
    order = peer.order()
    await peer.broker.submit_order(order)
    peer.quote(98, 99)
    await peer.sees(order, S.FILLED)
    positions = await peer.broker.get_positions()
    assert positions[peer.instrument.symbol] - held == order.quantity
    after = (await peer.broker.get_account_balance()).cash
    if before is not None:
        assert after == before - order.quantity * 99


async def of_our_ledger(peer: Peer) -> Decimal:
    """What all executions that were told, heard or asked for, make of the position."""
    reports = [event for event in peer.events if isinstance(event, ExecutionReport)]
    heard = {e.fill.execution_id: e.fill for e in reports if e.fill is not None}
    asked = {fill.execution_id: fill for fill in await peer.broker.get_fills(0)}
    both = heard.keys() & asked.keys()
    assert {k: heard[k].position_change for k in both} == {
        k: asked[k].position_change for k in both
    }
    return sum((fill.position_change for fill in (asked | heard).values()), ZERO)


async def of_the_venue(peer: Peer) -> Decimal:
    return (await peer.broker.get_positions()).get(peer.instrument.symbol, ZERO)


@pytest.mark.parametrize("name", IN_BASE)
async def test_what_a_commission_took_of_what_was_bought_is_not_held_and_not_sold(
    name: str,
) -> None:
    async with IN_BASE[name]() as peer:
        bought = peer.order()
        await peer.broker.submit_order(bought)
        peer.quote(98, 99, units=4)
        await peer.sees(bought, S.PARTIALLY_FILLED)
        assert await of_our_ledger(peer) == await of_the_venue(peer)
        peer.quote(98, 99, units=6)
        await peer.sees(bought, S.FILLED)
        held = await of_the_venue(peer)
        assert held == await of_our_ledger(peer) < bought.quantity
        assert sum(fill.quantity for fill in peer.executions(bought)) == bought.quantity
        cash = (await peer.broker.get_account_balance()).cash
        if isinstance(peer, WiredPeer):
            assert cash == 1_000_000 - bought.quantity * 99
            refused = await peer.broker.submit_order(peer.order(limit=None, side=Side.SELL))
            assert refused.state is S.REJECTED
        lots = in_lots(held, peer.instrument)
        sold = replace(peer.order(limit=None, side=Side.SELL), quantity=lots)
        await peer.broker.submit_order(sold)
        peer.quote(98, 99)
        await peer.sees(sold, S.FILLED)
        left = await of_the_venue(peer)
        assert left == await of_our_ledger(peer)
        assert is_dust(left, peer.instrument, Decimal(99))


async def test_a_quote_is_told_where_it_can_be_traded_on(peer: Peer) -> None:
    peer.quote(99, 101)
    quote = await peer.broker.get_quote(peer.instrument.symbol)
    assert quote is not None
    assert (quote.symbol, quote.bid, quote.ask) == (peer.instrument.symbol, 99, 101)
    assert await peer.broker.get_quote("NOSUCH") is None


@pytest.mark.parametrize(("bid", "ask"), [(0, 101), (99, 0), (101, 99)])
async def test_what_is_no_quote_is_not_told(wired: WiredPeer, bid: float, ask: float) -> None:
    wired.quote(bid, ask)
    assert await wired.broker.get_quote(wired.instrument.symbol) is None


async def test_what_the_venue_refuses_is_its_answer(wired: WiredPeer) -> None:
    wired.quote(99, 100)
    report = await wired.broker.submit_order(wired.order(units=10**9))
    assert report.state is S.REJECTED
    assert report.reason
    assert not wired.venue.orders


async def test_an_order_made_by_hand_is_listed_and_its_fills_are_told(wired: WiredPeer) -> None:
    placed = wired.by_hand()
    (listed,) = await wired.broker.get_open_orders()
    assert listed.order.purpose is OrderPurpose.EXTERNAL
    assert listed.order.venue_order_id
    assert listed.order.symbol == wired.instrument.symbol
    assert listed.order.terms == placed.order.terms
    key = key_of(listed.order.client_order_id, listed.order.symbol, listed.order.venue_order_id)
    adopted = replace(listed.order, client_order_id=key)
    found = await wired.broker.get_order(adopted)
    assert found is not None
    assert (found.client_order_id, found.state) == (key, S.ACCEPTED)
    wired.quote(98, 99)
    assert placed.order.state is S.FILLED
    found = await wired.broker.get_order(adopted)
    assert found is not None
    assert (found.client_order_id, found.state) == (key, S.FILLED)
    (fill,) = await wired.broker.get_fills(0)
    assert fill.quantity == placed.order.quantity
    assert fill.venue_order_id == listed.order.venue_order_id


# --- faults of requests --------------------------------------------------------------------------


@pytest.mark.parametrize("fault", DOUBTFUL)
async def test_a_submit_without_an_answer_is_in_doubt_and_never_repeated(
    wired: WiredPeer, fault: Fault
) -> None:
    has(wired, fault)
    order = wired.order()
    wired.faults.plan("submit", fault)
    async with asyncio.timeout(ANSWER_S):
        with pytest.raises(InDoubt):
            await wired.broker.submit_order(order)
    found = await wired.broker.get_order(order)
    assert wired.faults.requests["submit"] == 1
    assert len(wired.venue.orders) == (fault in CARRIED_OUT)
    assert (found is not None) == (fault in CARRIED_OUT)
    assert found is None or found.state is S.ACCEPTED


@pytest.mark.parametrize("name", OVER_HTTP)
async def test_an_answer_that_is_cut_anywhere_leaves_the_order_in_doubt(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every byte, and never is it refused."""
    monkeypatch.setattr(TokenBucket, "take", lambda *_, **__: None)
    async with ALL[name]() as wired:
        assert isinstance(wired, WiredPeer)
        order = wired.order()
        await wired.broker.submit_order(order)
        answer = wired.faults.answers["submit"]
        for length in range(len(answer)):
            wired.faults.plan("submit", answer[:length])
            with pytest.raises(InDoubt):
                await wired.broker.submit_order(order)
        assert wired.faults.requests["submit"] == 1 + len(answer)


@pytest.mark.parametrize("fault", REFUSING)
async def test_a_submit_that_is_not_looked_at_says_why(wired: WiredPeer, fault: Fault) -> None:
    has(wired, fault)
    wired.faults.plan("submit", fault)
    with pytest.raises(REFUSING[fault]) as refused:
        await wired.broker.submit_order(wired.order())
    assert wired.faults.requests["submit"] == 1
    assert not wired.venue.orders
    if isinstance(refused.value, RateLimited):
        known = fault is Fault.RATE_LIMITED
        assert refused.value.wait_s == RETRY_AFTER_S if known else refused.value.wait_s > 0


async def test_what_is_not_wanted_any_more_when_its_turn_comes_does_not_leave(
    wired: WiredPeer,
) -> None:
    """As where a kill comes while it waits for a thread, a token, or the limit of requests."""
    answers = [False, True]  # the first is asked before the adapter has it
    await wired.link.submit(wired.order(), lambda *_: bool(answers) and answers.pop())
    failed = await wired.hears(SubmitFailed)
    assert (failed.in_doubt, failed.reason) == (False, "cancelled before it left")
    assert not wired.faults.requests["submit"]
    if not wired.broker.capabilities.replace:
        return
    order = wired.order()
    await wired.link.submit(order, lambda *_: True)
    accepted = await wired.sees(order, S.ACCEPTED)
    order = replace(order, venue_order_id=accepted.venue_order_id)
    answers = [False, True]
    less = OrderTerms(8 * wired.unit, order.limit_price)
    await wired.link.replace(order, less, lambda *_: bool(answers) and answers.pop())
    refused = await wired.hears(ReplaceRejected)
    assert (refused.in_doubt, refused.reason) == (False, "cancelled before it left")
    assert not wired.faults.requests["replace"]


async def test_a_submit_that_finds_no_port_was_not_sent(wired: WiredPeer) -> None:
    await wired.stop_server()
    with pytest.raises(NotConnected):
        await wired.broker.submit_order(wired.order())


async def test_a_slow_answer_is_an_answer(wired: WiredPeer) -> None:
    has(wired, Fault.SLOW)
    wired.faults.plan("submit", Fault.SLOW)
    report = await wired.broker.submit_order(wired.order())
    assert report.state is S.ACCEPTED


async def test_a_known_client_order_id_was_accepted_earlier(wired: WiredPeer) -> None:
    if not wired.broker.capabilities.client_order_ids:
        pytest.skip(f"{wired.broker.name} has no client order ids")
    order = wired.order()
    await wired.broker.submit_order(order)
    with pytest.raises(InDoubt):
        await wired.broker.submit_order(order)
    found = await wired.broker.get_order(order)
    assert found is not None
    assert found.state is S.ACCEPTED
    assert len(wired.venue.orders) == 1


@pytest.mark.parametrize("fault", [*DOUBTFUL, Fault.UNAUTHORIZED, Fault.FORBIDDEN])
async def test_a_question_without_an_answer_raises(wired: WiredPeer, fault: Fault) -> None:
    """Nothing is made of half an answer: neither "not there" nor an empty account."""
    has(wired, fault)
    order = wired.order()
    await wired.broker.submit_order(order)
    wired.faults.plan("order", fault)
    expected = REFUSING.get(fault, (InDoubt, NotConnected))
    async with asyncio.timeout(ANSWER_S):
        with pytest.raises(expected):
            await wired.broker.get_order(order)
    if expected is RateLimited:
        return  # nothing is asked before the time is over
    found = await wired.broker.get_order(order)
    assert found is not None
    wired.faults.plan("positions", fault)
    async with asyncio.timeout(ANSWER_S):
        with pytest.raises(expected):
            await wired.broker.get_positions()


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.RATE_LIMITED_BARE])
async def test_a_limit_of_requests_is_obeyed(wired: WiredPeer, fault: Fault) -> None:
    """Before it ends nothing more is sent."""
    has(wired, fault)
    wired.faults.plan("positions", fault)
    with pytest.raises(RateLimited):
        await wired.broker.get_positions()
    with pytest.raises(RateLimited):
        await wired.broker.submit_order(wired.order())
    assert not wired.faults.requests["submit"]


@pytest.fixture(params=WIRED)
async def patient(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[WiredPeer]:
    """What hangs there hangs until the server stops, also where it waits in real time."""
    monkeypatch.setattr("tests.brokers.peer_alpaca.READ_S", 10 * ANSWER_S)
    async with ALL[request.param]() as peer:
        assert isinstance(peer, WiredPeer)
        yield peer


async def test_a_cancel_waits_for_no_submit(patient: WiredPeer) -> None:
    has(patient, Fault.MUTE)
    orders = [patient.order() for _ in range(20)]
    await patient.broker.submit_order(orders[0])
    patient.faults.plan("submit", *[Fault.HANG] * 19)
    hanging = [asyncio.create_task(patient.broker.submit_order(o)) for o in orders[1:]]
    async with asyncio.timeout(ANSWER_S):
        await patient.faults.has_come("submit", 2)
        await patient.broker.cancel_order(orders[0])
        assert not patient.venue.open
        given_up = [task.exception() for task in hanging if task.done()]
        assert not any(isinstance(error, InDoubt) for error in given_up)
        await patient.stop_server()
        ended = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(error, InDoubt | NotConnected | RateLimited) for error in ended)


async def test_a_cancel_waits_for_no_cancel(patient: WiredPeer) -> None:
    """As many that hang as can be asked for at once, each by itself."""
    has(patient, Fault.MUTE)
    room = patient.broker.room()
    assert room is not None
    count = min(int(room.most) // 3, ALONE - 1)
    last, *others = await resting(patient, count + 1)
    patient.faults.plan("cancel", *[Fault.HANG] * count)
    hanging: list[asyncio.Task[object]] = []
    async with asyncio.timeout(ANSWER_S):
        for number, order in enumerate(others, start=1):  # each by itself, also where they may
            hanging.append(asyncio.create_task(patient.broker.cancel_order(order)))  # go together
            await patient.faults.has_come("cancel", number)
        await patient.broker.cancel_order(last)
        assert len(patient.venue.open) == count
        assert not any(task.done() for task in hanging)
        await patient.stop_server()
        ended = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(error, InDoubt) for error in ended)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_cancel_leaves_where_there_is_room_for_nothing_else(
    wired: WiredPeer, restarted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the order has to be looked for first: its submit had no answer, and the engine was
    started anew."""
    order = wired.order()
    await wired.broker.submit_order(order)
    broker = wired.broker
    if restarted:
        await wired.close()
        broker = wired.another()
        await broker.connect()
    monkeypatch.setattr(TokenBucket, "wait_s", only_cancels)
    answer = await broker.cancel_order(order)
    assert isinstance(answer, ExecutionReport)
    assert not wired.venue.open
    await broker.disconnect()


def only_cancels(
    _bucket: TokenBucket, cost: float = 1.0, *, cancel: bool = False, place: object | None = None
) -> float:
    """In place of `TokenBucket.wait_s`: it has what is kept for cancels, and nothing else."""
    return 0.0 if cancel or not cost else 3600.0


async def resting(wired: WiredPeer, count: int) -> list[Order]:
    """So many open orders of one unit each, with the venue's ids."""
    orders = [wired.order(units=1) for _ in range(count)]
    placed = [await wired.broker.submit_order(order) for order in orders]
    return [
        replace(order, venue_order_id=report.venue_order_id)
        for order, report in zip(orders, placed, strict=True)
    ]


async def test_a_cancel_without_an_answer_raises(wired: WiredPeer) -> None:
    has(wired, Fault.GATEWAY_TIMEOUT)
    order = wired.order()
    report = await wired.broker.submit_order(order)
    wired.faults.plan("cancel", Fault.GATEWAY_TIMEOUT)
    with pytest.raises(InDoubt):
        await wired.broker.cancel_order(replace(order, venue_order_id=report.venue_order_id))
    assert wired.faults.requests["cancel"] == 1
    found = await wired.broker.get_order(order)
    assert found is not None
    assert found.state is S.CANCELED


# --- faults of the stream ------------------------------------------------------------------------


async def test_executions_that_are_told_twice_and_out_of_order_are_the_same(
    wired: WiredPeer,
) -> None:
    order = wired.order()
    await wired.broker.submit_order(order)
    wired.streams.doubled = wired.streams.reordered = True
    wired.quote(98, 99, units=4)
    wired.quote(98, 99, units=6)
    await wired.sees(order, S.PARTIALLY_FILLED)
    await wired.sees(order, S.FILLED)
    heard = {fill.execution_id: fill.quantity for fill in wired.executions(order)}
    assert sorted(heard.values()) == [4 * wired.unit, 6 * wired.unit]
    assert len(wired.executions(order)) >= 2


@pytest.mark.parametrize("name", OVER_HTTP)
async def test_a_message_that_is_cut_short_is_none_and_what_it_told_is_known(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some leave it at that; where the library ends the connection it is made again."""
    monkeypatch.setattr("engine.ops.backoff.FIRST_PAUSE_S", 0.01)
    async with ALL[name]() as wired:
        assert isinstance(wired, WiredPeer)
        await wired.streams.has_joined()
        order = wired.order()
        await wired.broker.submit_order(order)
        with wired.streams.withheld() as said:
            wired.quote(98, 99)
        wired.events.clear()
        joined = wired.streams.joined
        wired.streams.say(said[-1][: len(said[-1]) // 2])
        if name not in ("alpaca", "questrade"):  # these pass it over
            await wired.streams.has_joined(joined + 1)
            await wired.hears(BrokerChanged, lambda event: event.connected)
        for message in said:
            wired.streams.say(message)
        await wired.sees(order, S.FILLED)
        assert {fill.quantity for fill in wired.executions(order)} <= {order.quantity}


async def test_what_a_mute_stream_did_not_tell_is_among_the_executions(wired: WiredPeer) -> None:
    order = wired.order()
    await wired.broker.submit_order(order)
    wired.streams.mute = True
    wired.quote(98, 99)
    found = await wired.broker.get_order(order)
    assert found is not None
    assert found.state in FINAL_STATES
    (fill,) = await wired.broker.get_fills(0)
    assert fill.quantity == order.quantity


async def test_a_stream_that_is_lost_is_told_and_comes_back_without_a_gap(
    wired: WiredPeer,
) -> None:
    order = wired.order()
    await wired.broker.submit_order(order)
    wired.events.clear()
    wired.streams.refuses = True
    await wired.streams.close()
    await wired.hears(BrokerChanged, lambda event: not event.connected)
    wired.quote(98, 99, units=4)
    wired.streams.refuses = False
    wired.events.clear()
    await wired.hears(BrokerChanged, lambda event: event.connected)
    told = {fill.execution_id for fill in wired.executions(order)}
    asked = {fill.execution_id for fill in await wired.broker.get_fills(0)}
    assert len(told | asked) == 1
    wired.quote(98, 99)
    await wired.sees(order, S.FILLED)


async def test_a_stream_that_is_taken_and_ended_at_once_is_tried_ever_more_slowly(
    wired: WiredPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pauses of 0.05, 0.1, 0.2, 0.4, 0.8 and 1.6 s at least."""
    monkeypatch.setattr("engine.ops.backoff.FIRST_PAUSE_S", 0.1)
    times = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(3):
            while True:
                await wired.hears(BrokerChanged, lambda event: event.connected)
                await wired.streams.has_joined(times + 1)
                wired.events.clear()
                await wired.streams.close()
                times += 1
    assert 1 <= times <= 6


async def test_a_server_that_comes_and_goes_leaves_nothing_behind(wired: WiredPeer) -> None:
    order = wired.order()
    await wired.broker.submit_order(order)
    await wired.stop_server()
    await wired.hears(BrokerChanged, lambda event: not event.connected)
    with pytest.raises((NotConnected, InDoubt)):
        await wired.broker.get_order(order)


@pytest.mark.parametrize("minutes", [0, 5, -5])
async def test_a_venue_tells_its_time(wired: WiredPeer, minutes: int) -> None:
    """To the second: some count no less."""
    clock = wired.venue.now
    wired.venue.now = lambda: clock() + minutes * MINUTE
    before = wired.venue.now()
    told = await wired.broker.get_time()
    assert told is not None
    assert before - NANOS <= told <= wired.venue.now() + NANOS


async def test_a_test_account_is_no_real_one(peer: Peer) -> None:
    """Neither Kraken nor Coinbase has one."""
    assert peer.broker.live is (peer.broker.name in ("kraken", "coinbase"))


@pytest.mark.parametrize("name", ALL)
async def test_disconnecting_leaves_no_task_and_no_thread(name: str) -> None:
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    async with ALL[name]() as peer:
        await peer.broker.submit_order(peer.order())
        await peer.broker.get_open_orders()
    assert asyncio.all_tasks() == tasks
    assert set(threading.enumerate()) == threads
