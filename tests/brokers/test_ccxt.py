"""What is of ccxt's exchanges alone: the traps of the library and of each exchange."""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator
from decimal import Decimal, getcontext

import pytest
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from ccxt import OrderNotFound
from msgspec.structs import replace
from pydantic import SecretStr

from engine.brokers.base import AccountStatus, InDoubt, NotConnected, NotSent, RateLimited
from engine.brokers.ccxt import ccxt_broker
from engine.brokers.ccxt.broker import CcxtBroker
from engine.brokers.ccxt.client import Nonces, exchange
from engine.brokers.ccxt.venues import VENUES, Access
from engine.brokers.throttle import TokenBucket
from engine.brokers.turns import for_a_cancel
from engine.core.events import BrokerChanged, ExecutionReport
from engine.core.model import (
    NANOS,
    Fill,
    Idempotency,
    Instrument,
    OrderState,
    OrderTerms,
    OrderType,
    Side,
    TimeInForce,
)
from engine.ops.errors import UserError
from tests.brokers.peer_ccxt import (
    BTC,
    PEERS,
    XBT,
    CcxtPeer,
    binance,
    coinbase,
    connected,
    kraken,
)
from tests.loopback.binance import Binance, error
from tests.loopback.coinbase import PAGE as COINBASE_PAGE
from tests.loopback.coinbase import Coinbase
from tests.loopback.faults import Fault
from tests.loopback.kraken import PAGE, Kraken
from tests.loopback.venue import Venue

S = OrderState
CANARY = "canary-7f3a"
COUNTED_ONE = b'{"error": [], "result": {"count": 1}}'


@pytest.fixture
async def peer() -> AsyncGenerator[CcxtPeer[Binance]]:
    async with binance() as peer:
        yield peer


@pytest.fixture
async def at_kraken() -> AsyncGenerator[CcxtPeer[Kraken]]:
    async with kraken() as peer:
        yield peer


def broker_of(
    peer: CcxtPeer[Binance], instrument: Instrument = BTC, key: str = "key"
) -> CcxtBroker:
    """Another one at the same server, not connected."""
    access = Access(SecretStr(key), SecretStr(CANARY), url=peer.server.url, timeout_s=1)
    broker = ccxt_broker("binance", [instrument], access, time.time_ns)
    assert isinstance(broker, CcxtBroker)
    return broker


# --- orders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantity", ["0.00001", "1234.56789", "0.1", "2"])
async def test_what_was_meant_is_on_the_wire(peer: CcxtPeer[Binance], quantity: str) -> None:
    order = replace(peer.order(limit="0.07"), quantity=Decimal(quantity))
    await peer.broker.submit_order(order)
    (body,) = peer.spoken.bodies
    assert Decimal(body["quantity"]) == Decimal(quantity)
    assert Decimal(body["price"]) == Decimal("0.07")
    assert body["newClientOrderId"] == order.client_order_id
    assert (body["symbol"], body["side"], body["type"]) == ("BTCUSDT", "BUY", "LIMIT")
    (listed,) = await peer.broker.get_open_orders()
    assert listed.order.quantity == order.quantity


async def test_the_rules_of_decimal_numbers_stay_as_they_were(peer: CcxtPeer[Binance]) -> None:
    before = repr(getcontext())
    await peer.broker.submit_order(peer.order())
    assert repr(getcontext()) == before


@pytest.mark.parametrize(
    ("quantity", "limit"), [("0.000011", "99"), ("1E-18", "99"), ("1", "99.001"), ("1", "0.001")]
)
async def test_what_would_change_on_the_way_does_not_leave(
    peer: CcxtPeer[Binance], quantity: str, limit: str
) -> None:
    order = replace(peer.order(limit=limit), quantity=Decimal(quantity))
    with pytest.raises(NotSent):
        await peer.broker.submit_order(order)
    assert not peer.faults.requests["submit"]


@pytest.mark.parametrize("name", [name for name in PEERS if not name.startswith("coinbase")])
@pytest.mark.parametrize(
    ("type_", "stop", "limit"),
    [(OrderType.STOP, "98", None), (OrderType.STOP_LIMIT, "98", "97.5")],
    ids=str,
)
async def test_stops_rest_at_the_exchange(
    name: str, type_: OrderType, stop: str, limit: str | None
) -> None:
    async with PEERS[name]() as peer:
        if type_ not in peer.broker.capabilities.order_types:
            pytest.skip(f"{name} has no such order")
        order = replace(peer.order(limit=limit), type=type_, stop_price=Decimal(stop))
        report = await peer.broker.submit_order(order)
        assert report.state is S.ACCEPTED
        (placed,) = peer.venue.orders.values()
        (listed,) = await peer.broker.get_open_orders()
        assert (placed.order.type, placed.order.terms) == (type_, order.terms)
        assert (listed.order.type, listed.order.terms) == (type_, order.terms)


async def test_a_stop_at_coinbase_has_a_limit_there_and_none_here() -> None:
    """Coinbase takes none without."""
    async with PEERS["coinbase"]() as peer:
        bought = peer.order()
        await peer.broker.submit_order(bought)
        peer.quote(98, 99)
        await peer.sees(bought, S.FILLED)
        stop = replace(
            peer.order(limit=None, side=Side.SELL, units=5),
            type=OrderType.STOP,
            stop_price=Decimal(90),
        )
        report = await peer.broker.submit_order(stop)
        assert report.state is S.ACCEPTED, report.reason
        placed = list(peer.venue.orders.values())[-1]
        assert placed.order.type is OrderType.STOP_LIMIT
        assert placed.order.terms == replace(stop.terms, limit_price=Decimal(81))
        (listed,) = await peer.broker.get_open_orders()
        assert (listed.order.type, listed.order.terms) == (OrderType.STOP, stop.terms)
        peer.quote(89, 89.5)
        await peer.sees(stop, S.FILLED)
        (sold,) = [fill for fill in await peer.broker.get_fills(0) if fill.side is Side.SELL]
        assert (sold.quantity, sold.price) == (stop.quantity, 89)


@pytest.mark.parametrize("time_in_force", [TimeInForce.IOC, TimeInForce.FOK])
async def test_an_order_for_at_once_says_so(
    peer: CcxtPeer[Binance], time_in_force: TimeInForce
) -> None:
    await peer.broker.submit_order(replace(peer.order(), time_in_force=time_in_force))
    assert peer.spoken.bodies[0]["timeInForce"] == time_in_force.upper()


@pytest.mark.parametrize("code", [-1000, -1001, -1006, -1007])
async def test_a_status_that_binance_does_not_know_is_in_doubt(
    peer: CcxtPeer[Binance], code: int
) -> None:
    peer.spoken.answers.append(error(400, code, "Execution status unknown."))
    with pytest.raises(InDoubt):
        await peer.broker.submit_order(peer.order())
    assert len(peer.venue.orders) == 1


async def test_what_is_signed_goes_nowhere_else(peer: CcxtPeer[Binance]) -> None:
    before = peer.faults.requests["other"]
    elsewhere = {"Location": f"{peer.server.url}/elsewhere"}
    peer.spoken.answers.append(web.Response(status=307, headers=elsewhere))
    with pytest.raises(InDoubt):
        await peer.broker.submit_order(peer.order())
    assert peer.faults.requests["submit"] == 1
    assert peer.faults.requests["other"] == before


async def test_an_answer_cut_off_in_the_middle_is_in_doubt(peer: CcxtPeer[Binance]) -> None:
    """ccxt calls it an error of the exchange: then it would count as refused."""
    headers = {"Content-Type": "application/json", "Content-Length": "500"}
    cut = web.Response(body=b'{"orderId": 1', headers=headers)
    cut.force_close()
    peer.spoken.answers.append(cut)
    with pytest.raises(InDoubt):
        await peer.broker.submit_order(peer.order())
    assert len(peer.venue.orders) == 1


async def test_an_answer_that_names_no_order_is_in_doubt(peer: CcxtPeer[Binance]) -> None:
    peer.spoken.answers.append(web.json_response({}))
    with pytest.raises(InDoubt):
        await peer.broker.submit_order(peer.order())


async def test_an_order_of_which_the_stream_tells_before_the_answer_is_accepted(
    peer: CcxtPeer[Binance],
) -> None:
    order = peer.order()

    class Late(web.Response):
        async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
            await peer.sees(order, S.ACCEPTED)
            return await super().prepare(request)

    told = {"symbol": "BTCUSDT", "orderId": 1, "status": "NEW", "executedQty": "0"}
    peer.spoken.answers.append(Late(text=json.dumps(told), content_type="application/json"))
    report = await peer.broker.submit_order(order)
    assert (report.state, report.venue_order_id) == (S.ACCEPTED, "1")


# --- the rate ------------------------------------------------------------------------------------


async def test_cancels_leave_when_nothing_else_may(peer: CcxtPeer[Binance]) -> None:
    access = Access(SecretStr("key"), SecretStr("secret"), url=peer.server.url)
    bucket = TokenBucket(1, 100, 20, lambda: 0.0)
    made = exchange("binance", access, bucket, lambda: None)
    try:
        await made.load_markets()
        used = bucket.wait_s(100, cancel=True)
        bucket.take(80 - used)  # all that is not kept for cancels
        with pytest.raises(RateLimited):
            await made.fetch_balance()
        with pytest.raises(OrderNotFound), for_a_cancel():
            await made.cancel_order("7", "BTC/USDT")
    finally:
        await made.close()
    assert peer.faults.requests["cancel"] == 1


async def test_nothing_is_asked_before_the_time_to_wait_is_over(peer: CcxtPeer[Binance]) -> None:
    peer.faults.plan("order", Fault.RATE_LIMITED)
    order = peer.order()
    for _ in range(3):
        with pytest.raises(RateLimited):
            await peer.broker.get_order(order)
    assert peer.faults.requests["order"] == 1


# --- the account ---------------------------------------------------------------------------------


async def traded(peer: CcxtPeer[Binance]) -> Fill:
    await peer.broker.submit_order(peer.order())
    peer.quote(98, 99)
    (fill,) = await peer.broker.get_fills(0)
    return fill


@pytest.mark.parametrize(
    ("cost", "coin", "commission", "taken"),
    [("0.5", "USDT", "0.5", "0"), ("0.0001", "BTC", "0", "0.0001"), ("0.01", "BNB", "0", "0")],
)
async def test_a_fee_is_told_in_what_it_was_paid(
    peer: CcxtPeer[Binance], cost: str, coin: str, commission: str, taken: str
) -> None:
    peer.spoken.commission = (cost, coin)
    fill = await traded(peer)
    assert (fill.commission, fill.commission_quantity) == (Decimal(commission), Decimal(taken))


async def test_executions_come_page_by_page(
    peer: CcxtPeer[Binance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.brokers.ccxt.broker.AT_ONCE", 2)
    for _ in range(5):
        order = peer.order()
        await peer.broker.submit_order(order)
        peer.quote(98, 99)
        await peer.sees(order, S.FILLED)
    fills = await peer.broker.get_fills(0)
    assert len({fill.execution_id for fill in fills}) == len(fills) == 5


async def test_a_trade_of_somebody_else_in_another_pair_stops_nothing() -> None:
    """The markets of the account's own pairs alone are known."""
    other = replace(BTC, symbol="ETH/USDT")
    spoken = Binance(Venue([BTC, other], Idempotency.OPEN_ONLY))
    async with connected(spoken, BTC) as two:
        two.venue.submit(replace(two.order(), symbol=other.symbol))
        two.venue.quote(other.symbol, 98, 99, 10)
        order = two.order()
        await two.broker.submit_order(order)
        two.quote(98, 99)
        await two.sees(order, S.FILLED)
        assert spoken.listed == 1
        assert len(two.executions(order)) == 1
        assert not [e for e in two.events if isinstance(e, BrokerChanged) and not e.connected]
        assert len(await two.broker.get_fills(0)) == 1


# --- the clock ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["binance", "coinbase"])
@pytest.mark.parametrize("hours", [-1, 1])
async def test_after_a_jump_of_the_clock_requests_have_the_right_time_again(
    name: str, hours: int
) -> None:
    async with PEERS[name]() as peer:
        peer.venue.now = lambda: time.time_ns() + hours * 3600 * NANOS
        with pytest.raises(NotSent):
            await peer.broker.submit_order(peer.order())
        report = await peer.broker.submit_order(peer.order())
        assert report.state is S.ACCEPTED
        assert len(peer.venue.orders) == 1
        await peer.broker.disconnect()
        await peer.broker.connect()  # by a clock that is wrong from the beginning


async def test_nonces_pass_those_of_a_session_whose_clock_was_ahead(
    at_kraken: CcxtPeer[Kraken],
) -> None:
    at_kraken.spoken.nonce += 30 * 60_000
    access = Access(SecretStr("k"), SecretStr("c2VjcmV0"), paper=False, url=at_kraken.server.url)
    broker = ccxt_broker("kraken", [XBT], access, time.time_ns)
    try:
        for _ in range(3):
            with pytest.raises(NotSent, match="nonce"):
                await broker.connect()
        await broker.connect()
    finally:
        await broker.disconnect()


async def test_nonces_of_another_program_are_passed_in_the_end(
    at_kraken: CcxtPeer[Kraken],
) -> None:
    at_kraken.spoken.nonce += 30_000
    refused = 0
    while not at_kraken.venue.orders:
        try:
            await at_kraken.broker.submit_order(at_kraken.order())
        except NotSent:
            refused += 1
    assert 3 <= refused <= 5


async def test_a_cancel_whose_nonce_was_overtaken_leaves_once_more_at_once(
    at_kraken: CcxtPeer[Kraken],
) -> None:
    report = await at_kraken.broker.submit_order(order := at_kraken.order())
    refused = b'{"error": ["EAPI:Invalid nonce"]}'
    at_kraken.faults.plan("cancel", refused)
    told = await at_kraken.broker.cancel_order(replace(order, venue_order_id=report.venue_order_id))
    assert isinstance(told, ExecutionReport)
    assert not at_kraken.venue.open


@pytest.mark.parametrize("answer", [b'{"error": ["EOrder:Unknown order"]}', COUNTED_ONE])
async def test_orders_that_a_cancel_of_several_left_are_cancelled_one_by_one(
    at_kraken: CcxtPeer[Kraken], answer: bytes
) -> None:
    """Kraken tells how many it cancelled, and not which."""
    orders = [at_kraken.order(units=1) for _ in range(3)]
    ids = [(await at_kraken.broker.submit_order(order)).venue_order_id for order in orders]
    at_kraken.venue.cancel(at_kraken.venue.open[0].number)
    at_kraken.faults.plan("cancel", answer)
    asked = (replace(o, venue_order_id=id_) for o, id_ in zip(orders, ids, strict=True))
    told = await asyncio.gather(*map(at_kraken.broker.cancel_order, asked))
    assert all(isinstance(one, ExecutionReport) for one in told)
    assert not at_kraken.venue.open
    assert at_kraken.faults.requests["cancel"] == 3


@pytest.mark.parametrize("taken", [True, False])
def test_one_nonce_that_was_overtaken_moves_the_others_nowhere(taken: bool) -> None:
    nonces = Nonces()
    assert nonces.next(1000) == 1000
    if taken:
        nonces.was_taken()
    nonces.was_refused()
    assert nonces.next(1000) == (1001 if taken else 2000)
    assert nonces.next(500) > 1001 - taken


# --- the connection ------------------------------------------------------------------------------


async def test_a_message_that_is_not_understood_does_not_make_it_deaf(
    peer: CcxtPeer[Binance],
) -> None:
    """The library would stop to read, and tell nobody."""
    order = peer.order()
    await peer.broker.submit_order(order)
    peer.events.clear()
    peer.streams.say('{"garbage')
    peer.streams.say("{" + "\x00")
    peer.streams.say('{"subscriptionId": 0, "event": {"e": "executionReport"')
    peer.streams.say("{]}")
    await peer.hears(BrokerChanged, lambda event: not event.connected)
    await peer.hears(BrokerChanged, lambda event: event.connected)
    peer.quote(98, 99)
    await peer.sees(order, S.FILLED)


async def test_before_it_is_connected_nothing_is_sent(peer: CcxtPeer[Binance]) -> None:
    with pytest.raises(NotConnected):
        await broker_of(peer).submit_order(peer.order())


async def test_keys_that_are_not_taken_need_a_person_and_are_not_told(
    peer: CcxtPeer[Binance],
) -> None:
    peer.faults.plan("positions", Fault.UNAUTHORIZED)
    broker = broker_of(peer, key=CANARY)
    try:
        with pytest.raises(UserError, match="Check the API key") as caught:
            await broker.connect()
    finally:
        await broker.disconnect()
    assert CANARY not in str(caught.value)


async def test_a_symbol_that_is_not_there_is_named(peer: CcxtPeer[Binance]) -> None:
    broker = broker_of(peer, replace(BTC, symbol="binance:BTC/EUR"))
    try:
        with pytest.raises(UserError, match="does not trade BTC/EUR"):
            await broker.connect()
    finally:
        await broker.disconnect()


async def test_a_symbol_may_carry_the_name_of_its_exchange(peer: CcxtPeer[Binance]) -> None:
    broker = broker_of(peer, replace(BTC, symbol="binance:BTC/USDT"))
    await broker.connect()
    order = replace(peer.order(), symbol="binance:BTC/USDT")
    await broker.submit_order(order)
    (listed,) = await broker.get_open_orders()
    await broker.disconnect()
    assert listed.order.symbol == "binance:BTC/USDT"


def test_an_exchange_that_was_not_tried_is_refused() -> None:
    access = Access(SecretStr("key"), SecretStr("secret"))
    with pytest.raises(UserError, match=r"mtgox is no exchange.*\n.*binance"):
        ccxt_broker("mtgox", [BTC], access, time.time_ns)


@pytest.mark.parametrize("name", VENUES)
async def test_no_address_of_the_exchange_stays_where_it_was(name: str) -> None:
    access = Access(SecretStr("k"), SecretStr("s"), paper=False, url="http://127.0.0.1:9/x")
    made = exchange(name, access, TokenBucket(1, 1, 0, lambda: 0.0), lambda: None)
    await made.close()
    addresses = json.dumps(made.urls["api"])
    assert set(re.findall(r"\w+://[^/\"]+", addresses)) == {
        "http://127.0.0.1:9",
        "ws://127.0.0.1:9",
    }


# --- Kraken --------------------------------------------------------------------------------------


async def test_krakens_executions_come_fifty_at_once_the_newest_first(
    at_kraken: CcxtPeer[Kraken],
) -> None:
    for _ in range(PAGE + 5):
        at_kraken.venue.submit(at_kraken.order(units=1))
        at_kraken.quote(98, 99)
    fills = await at_kraken.broker.get_fills(0)
    assert len({fill.execution_id for fill in fills}) == len(fills) == PAGE + 5


async def test_a_subscription_that_is_refused_is_no_stream(at_kraken: CcxtPeer[Kraken]) -> None:
    at_kraken.spoken.refusal = "ESession:Invalid subscription"
    at_kraken.events.clear()
    await at_kraken.streams.close()
    for _ in range(2):
        await at_kraken.spoken.refused.get()
    said = [event for event in at_kraken.events if isinstance(event, BrokerChanged)]
    assert len(said) >= 2
    assert not any(event.connected for event in said)
    at_kraken.spoken.refusal = ""
    await at_kraken.hears(BrokerChanged, lambda event: event.connected)


async def test_what_was_before_the_stream_is_not_told_as_new(at_kraken: CcxtPeer[Kraken]) -> None:
    """Kraken says its last executions to whoever subscribes: others made them, or long ago."""
    at_kraken.streams.mute = True
    at_kraken.venue.submit(at_kraken.order())
    at_kraken.quote(98, 99)
    at_kraken.streams.mute = False
    at_kraken.events.clear()
    await at_kraken.streams.close()
    await at_kraken.hears(BrokerChanged, lambda event: event.connected)
    order = at_kraken.order()
    await at_kraken.broker.submit_order(order)
    at_kraken.quote(98, 99)
    await at_kraken.sees(order, S.FILLED)
    told = [event.fill for event in at_kraken.events if isinstance(event, ExecutionReport)]
    assert [fill.client_order_id for fill in told if fill] == [order.client_order_id]


async def test_a_key_that_may_make_no_orders_is_told(
    at_kraken: CcxtPeer[Kraken], at_coinbase: CcxtPeer[Coinbase]
) -> None:
    brokers = at_kraken.broker, at_coinbase.broker
    assert [await broker.get_account_status() for broker in brokers] == 2 * [AccountStatus()]
    at_kraken.spoken.permissions, at_coinbase.spoken.can_trade = ["query-funds"], False
    for broker in brokers:
        status = await broker.get_account_status()
        assert status is not None
        assert status.objection == f"{broker.name} lets the API key make no orders"


async def test_a_key_of_which_nothing_is_told_is_taken(at_kraken: CcxtPeer[Kraken]) -> None:
    at_kraken.spoken.permissions = None
    broker = at_kraken.another()
    await broker.connect()
    assert (broker.account_number, await broker.get_account_status()) == ("", None)
    await broker.disconnect()


async def test_krakens_userref_is_no_name_of_ours(at_kraken: CcxtPeer[Kraken]) -> None:
    at_kraken.venue.submit(replace(at_kraken.order(), client_order_id=""))
    order = at_kraken.order()
    await at_kraken.broker.submit_order(order)
    await at_kraken.sees(order, S.ACCEPTED)
    reports = [event for event in at_kraken.events if isinstance(event, ExecutionReport)]
    assert {report.client_order_id for report in reports} == {"", order.client_order_id}


async def test_an_order_that_has_filled_is_looked_for_among_the_closed(
    at_kraken: CcxtPeer[Kraken],
) -> None:
    order = at_kraken.order()
    report = await at_kraken.broker.submit_order(order)
    at_kraken.quote(98, 99)
    for asked in (order, replace(order, venue_order_id=report.venue_order_id)):
        found = await at_kraken.broker.get_order(asked)
        assert found is not None
        assert (found.state, found.venue_order_id) == (S.FILLED, report.venue_order_id)


@pytest.mark.parametrize(
    ("type_", "before", "after"),
    [
        (OrderType.STOP, ("98", None), ("97.5", None)),
        (OrderType.STOP_LIMIT, ("98", "97.5"), ("97", "96.5")),
    ],
    ids=str,
)
async def test_a_stop_is_moved_in_place(
    at_kraken: CcxtPeer[Kraken],
    type_: OrderType,
    before: tuple[str, str | None],
    after: tuple[str, str | None],
) -> None:
    order = replace(at_kraken.order(limit=before[1]), type=type_, stop_price=Decimal(before[0]))
    report = await at_kraken.broker.submit_order(order)
    limit = Decimal(after[1]) if after[1] else None
    terms = OrderTerms(order.quantity, limit, Decimal(after[0]))
    answer = await at_kraken.broker.replace_order(order, terms)
    assert isinstance(answer, ExecutionReport)
    assert (answer.terms, answer.venue_order_id) == (terms, report.venue_order_id)
    (placed,) = at_kraken.venue.orders.values()
    assert placed.order.terms == terms
    assert at_kraken.faults.requests["replace"] == 1


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("replace", Fault.LOST),
        ("replace", Fault.SERVER_ERROR_AFTER),
        ("replace", Fault.GARBAGE),
        ("order", Fault.RATE_LIMITED),
        ("order", Fault.RESET),
    ],
)
async def test_a_replace_that_may_have_been_taken_is_in_doubt_and_told_by_the_order(
    at_kraken: CcxtPeer[Kraken], kind: str, fault: Fault
) -> None:
    order = at_kraken.order()
    await at_kraken.broker.submit_order(order)
    at_kraken.faults.plan(kind, fault)
    terms = OrderTerms(order.quantity, Decimal("98.5"))
    with pytest.raises(InDoubt):
        await at_kraken.broker.replace_order(order, terms)
    assert at_kraken.faults.requests["replace"] == 1
    if fault is not Fault.RATE_LIMITED:
        found = await at_kraken.broker.get_order(order)
        assert found is not None
        assert found.terms == terms


async def test_terms_that_would_change_on_the_way_do_not_leave(
    at_kraken: CcxtPeer[Kraken],
) -> None:
    order = at_kraken.order()
    await at_kraken.broker.submit_order(order)
    with pytest.raises(NotSent):
        await at_kraken.broker.replace_order(order, OrderTerms(order.quantity, Decimal("98.55")))
    assert not at_kraken.faults.requests["replace"]


async def test_kraken_has_no_test_network() -> None:
    broker = ccxt_broker("kraken", [XBT], Access(SecretStr("k"), SecretStr("s")), time.time_ns)
    with pytest.raises(UserError, match="no test network"):
        await broker.connect()


# --- Coinbase ------------------------------------------------------------------------------------


@pytest.fixture
async def at_coinbase() -> AsyncGenerator[CcxtPeer[Coinbase]]:
    async with coinbase() as peer:
        yield peer


async def test_a_market_order_to_buy_is_for_the_amount_and_not_for_money(
    at_coinbase: CcxtPeer[Coinbase],
) -> None:
    """ccxt would make of it an order for as much money, under an id of its own."""
    at_coinbase.quote(99, 100)
    order = at_coinbase.order(limit=None)
    await at_coinbase.broker.submit_order(order)
    (body,) = at_coinbase.spoken.bodies
    assert body["client_order_id"] == order.client_order_id
    assert body["order_configuration"] == {"market_market_ioc": {"base_size": "0.010"}}


async def test_an_execution_at_coinbase_has_our_name_whatever_came_before_it(
    at_coinbase: CcxtPeer[Coinbase],
) -> None:
    """The answer to the submit is missing, and the first that is told of the order is its
    execution: told without our name it would be booked as that of a stranger's order."""
    order = at_coinbase.order()
    at_coinbase.streams.mute = True
    at_coinbase.venue.submit(replace(order, symbol=at_coinbase.symbol))
    at_coinbase.streams.mute = False
    at_coinbase.quote(98, 99)
    told = await at_coinbase.hears(ExecutionReport, lambda event: event.fill is not None)
    assert told.client_order_id == order.client_order_id


async def test_coinbases_executions_come_by_a_cursor(at_coinbase: CcxtPeer[Coinbase]) -> None:
    for _ in range(COINBASE_PAGE + 5):
        at_coinbase.venue.submit(replace(at_coinbase.order(units=1), client_order_id=""))
        at_coinbase.quote(98, 99)
    fills = await at_coinbase.broker.get_fills(0)
    assert len({fill.execution_id for fill in fills}) == len(fills) == COINBASE_PAGE + 5


async def test_an_order_whose_id_there_is_not_known_is_looked_for_and_cancelled(
    at_coinbase: CcxtPeer[Coinbase],
) -> None:
    order = at_coinbase.order()
    at_coinbase.venue.submit(order)
    assert isinstance(await at_coinbase.broker.cancel_order(order), ExecutionReport)
    assert not at_coinbase.venue.open
