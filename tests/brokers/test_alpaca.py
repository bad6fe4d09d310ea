"""What of Alpaca is its own: how orders look on the wire, replaces, accounts that may not trade."""

import asyncio
import json
import logging
import sys
import threading
import time
from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import BasicAuth
from msgspec.structs import replace
from pydantic import SecretStr

from engine.brokers.alpaca import AlpacaBroker, Login
from engine.brokers.alpaca.broker import FEES_ASKED
from engine.brokers.alpaca.rest import ASKED_AT_ONCE
from engine.brokers.base import InDoubt, NotAuthenticated, NotPermitted, NotSent, RateLimited
from engine.core.events import (
    AccountStatement,
    BrokerChanged,
    ExecutionReport,
    ReplaceRejected,
    Restored,
    TradeBusted,
)
from engine.core.model import (
    ORDER_TYPES,
    TIMES_IN_FORCE,
    ZERO,
    AssetClass,
    Fill,
    Instrument,
    OrderState,
    OrderTerms,
    OrderType,
    Position,
    Side,
    TimeInForce,
)
from engine.feeds.alpaca import instruments
from engine.ops.errors import UserError
from tests.brokers.peer_alpaca import AAPL, BTC, IN_BASE, PEERS, AlpacaPeer
from tests.loopback.alpaca import COUNTS_ANEW_S, KEY, MOST_ORDERS, SECRET
from tests.loopback.faults import Fault

S = OrderState
BASIC = BasicAuth(KEY, SECRET).encode().removeprefix("Basic ")


@pytest.fixture
async def alpaca() -> AsyncGenerator[AlpacaPeer]:
    async with PEERS["alpaca"]() as peer:
        yield peer


# --- on the wire ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "sent"),
    [
        ({"type": OrderType.MARKET}, {}),
        ({"type": OrderType.LIMIT, "limit_price": "180.10"}, {"limit_price": "180.10"}),
        ({"type": OrderType.STOP, "stop_price": "0.00001"}, {"stop_price": "0.00001"}),
        (
            {"type": OrderType.STOP_LIMIT, "stop_price": "1.1", "limit_price": "1.2"},
            {"stop_price": "1.1", "limit_price": "1.2"},
        ),
        (
            {"type": OrderType.TRAILING_STOP, "trail": "2.5", "stop_price": "97.5"},
            {"trail_price": "2.5"},
        ),
    ],
)
@pytest.mark.parametrize("time_in_force", TIMES_IN_FORCE)
async def test_every_order_is_sent_exactly_as_meant(
    alpaca: AlpacaPeer, terms: dict[str, Any], sent: dict[str, str], time_in_force: TimeInForce
) -> None:
    numbers = {k: Decimal(v) if isinstance(v, str) and k != "type" else v for k, v in terms.items()}
    order = replace(
        alpaca.order(limit=None),
        quantity=Decimal("12345678.123456789123456789"),
        time_in_force=time_in_force,
        **numbers,
    )
    await alpaca.broker.submit_order(order)
    (body,) = alpaca.server.bodies
    assert (
        body
        == {
            "symbol": "AAPL",
            "side": "buy",
            "type": str(order.type),
            "time_in_force": str(time_in_force),
            "qty": "12345678.123456789123456789",
            "client_order_id": order.client_order_id,
        }
        | sent
    )


async def test_a_stop_of_crypto_has_a_limit_there_and_none_here() -> None:
    """Alpaca refuses a stop of crypto without one."""
    async with PEERS["alpaca-crypto"]() as peer:
        bought = peer.order()
        await peer.broker.submit_order(bought)
        peer.quote(98, 99)
        await peer.sees(bought, S.FILLED)
        stop = replace(
            peer.order(limit=None, side=Side.SELL, units=5),
            type=OrderType.STOP,
            stop_price=Decimal("95.55"),
        )
        report = await peer.broker.submit_order(stop)
        assert report.state is S.ACCEPTED, report.reason
        body = peer.server.bodies[-1]
        assert (body["type"], body["stop_price"]) == ("stop_limit", "95.55")
        assert Decimal(body["limit_price"]) == BTC.price(Decimal("85.995"))
        (listed,) = await peer.broker.get_open_orders()
        assert (listed.order.type, listed.order.terms) == (OrderType.STOP, stop.terms)
        higher = OrderTerms(stop.quantity, None, Decimal("97.77"))
        changed = await peer.broker.replace_order(stop, higher)
        assert isinstance(changed, ExecutionReport)
        assert changed.terms == higher
        assert Decimal(peer.server.bodies[-1]["limit_price"]) == BTC.price(Decimal("87.993"))
        peer.quote(97, 97.01)
        filled = await peer.sees(stop, S.FILLED)
        assert filled.fill is not None
        assert filled.fill.price == 97


async def test_a_stop_limit_of_somebody_else_in_crypto_stays_one() -> None:
    async with PEERS["alpaca-crypto"]() as peer:
        peer.quote(100, 100.01)
        terms = {"stop_price": Decimal(110), "limit_price": Decimal(111)}
        theirs = replace(
            peer.order(), client_order_id="by-hand", type=OrderType.STOP_LIMIT, **terms
        )
        peer.venue.submit(replace(theirs, symbol="BTC/USD"))
        (listed,) = await peer.broker.get_open_orders()
        assert (listed.order.type, listed.order.limit_price) == (OrderType.STOP_LIMIT, 111)


async def test_with_crypto_nothing_is_declared_that_it_does_not_take() -> None:
    async with PEERS["alpaca-crypto"]() as peer:
        can = peer.able
        assert OrderType.TRAILING_STOP not in can.order_types
        assert OrderType.STOP in can.order_types
        assert can.times_in_force == (TimeInForce.GTC, TimeInForce.IOC)
        for refused in (
            replace(peer.order(), time_in_force=TimeInForce.DAY),
            replace(peer.order(), time_in_force=TimeInForce.FOK),
        ):
            assert (await peer.broker.submit_order(refused)).state is S.REJECTED


async def test_a_pair_has_its_own_name_at_the_venue_and_ours_here() -> None:
    async with PEERS["alpaca-crypto"]() as peer:
        order = peer.order()
        await peer.broker.submit_order(order)
        assert peer.server.bodies[0]["symbol"] == "BTC/USD"
        (listed,) = await peer.broker.get_open_orders()
        assert listed.order.symbol == BTC.symbol
        peer.quote(98, 99)
        await peer.sees(order, S.FILLED)
        assert list(await peer.broker.get_positions()) == [BTC.symbol]


async def test_a_pair_trades_in_the_steps_that_alpaca_tells(alpaca: AlpacaPeer) -> None:
    least = replace(BTC, symbol="BTC/USD", min_quantity=Decimal("0.0005"))
    alpaca.venue.instruments["BTC/USD"] = least
    (pair,) = await asyncio.to_thread(instruments, alpaca.login, ["BTC/USD"])
    assert (pair.tick, pair.lot) == (least.tick, least.lot)
    assert (pair.min_quantity, pair.min_notional) == (least.min_quantity, 10)


async def test_a_limit_order_of_the_day_works_in_extended_hours_where_asked(
    alpaca: AlpacaPeer,
) -> None:
    broker = AlpacaBroker([AAPL], alpaca.login, time.time_ns, extended_hours=True)
    await broker.connect()
    await broker.submit_order(replace(alpaca.order(), time_in_force=TimeInForce.DAY))
    await broker.submit_order(alpaca.order(limit=None))
    await broker.disconnect()
    assert [body.get("extended_hours") for body in alpaca.server.bodies] == [True, None]


# --- replaces ------------------------------------------------------------------------------------


async def test_an_intent_is_one_order_here_whatever_replaces_it(alpaca: AlpacaPeer) -> None:
    """Also for a broker that comes later, and has seen nothing of it."""
    order = alpaca.order()
    await alpaca.broker.submit_order(order)
    terms = order.terms
    for price in ("98.5", "98.25"):
        terms = OrderTerms(order.quantity, Decimal(price))
        assert isinstance(await alpaca.broker.replace_order(order, terms), ExecutionReport)
    keys = [placed.order.client_order_id for placed in alpaca.venue.orders.values()]
    assert keys == [order.client_order_id + suffix for suffix in ("", "-r1", "-r2")]
    alpaca.quote(98, 98.25, units=4)
    await alpaca.sees(order, S.PARTIALLY_FILLED)
    later = AlpacaBroker([AAPL], alpaca.login, time.time_ns)
    await later.connect()
    (fill,) = await later.get_fills(0)
    assert (fill.client_order_id, fill.quantity) == (order.client_order_id, 4)
    (listed,) = await later.get_open_orders()
    assert listed.order.client_order_id == order.client_order_id
    found = await later.get_order(order)
    await later.cancel_order(order)
    await later.disconnect()
    assert found is not None
    assert (found.state, found.terms) == (
        S.PARTIALLY_FILLED,
        OrderTerms(order.quantity, terms.limit_price),
    )
    assert not alpaca.venue.open


async def test_what_an_order_replaced_is_asked_for_once(alpaca: AlpacaPeer) -> None:
    """The list of open orders is asked for every few seconds."""
    order = alpaca.order()
    await alpaca.broker.submit_order(order)
    await alpaca.broker.replace_order(order, OrderTerms(order.quantity, Decimal("98.5")))
    first = await alpaca.broker.get_open_orders()
    before = dict(alpaca.faults.requests)
    assert await alpaca.broker.get_open_orders() == first
    asked = {k: n - before.get(k, 0) for k, n in alpaca.faults.requests.items()}
    assert sum(asked.values()) == 1, asked


async def test_a_cancel_finds_the_order_that_replaced_the_known_one(alpaca: AlpacaPeer) -> None:
    order = alpaca.order()
    first = await alpaca.broker.submit_order(order)
    await alpaca.broker.replace_order(order, OrderTerms(order.quantity, Decimal("98.5")))
    await alpaca.broker.cancel_order(replace(order, venue_order_id=first.venue_order_id))
    assert not alpaca.venue.open
    await alpaca.sees(order, S.CANCELED)


async def test_a_trailing_stop_is_made_smaller_wherever_its_stop_is(alpaca: AlpacaPeer) -> None:
    alpaca.quote(100, 101)
    order = replace(
        alpaca.order(limit=None, side=Side.SELL),
        type=OrderType.TRAILING_STOP,
        trail=Decimal(2),
        stop_price=Decimal("97.5"),
    )
    await alpaca.broker.submit_order(order)
    terms = OrderTerms(8 * alpaca.unit, None, order.stop_price)
    answer = await alpaca.broker.replace_order(order, terms)
    assert isinstance(answer, ExecutionReport)
    assert answer.terms == terms
    assert alpaca.server.bodies[-1] == {
        "qty": "8",
        "client_order_id": f"{order.client_order_id}-r1",
    }
    found = await alpaca.broker.get_order(order)
    assert found is not None
    assert found.terms == terms


async def test_what_has_filled_something_is_not_replaced(alpaca: AlpacaPeer) -> None:
    order = alpaca.order()
    await alpaca.broker.submit_order(order)
    alpaca.quote(98, 99, units=4)
    answer = await alpaca.broker.replace_order(order, OrderTerms(order.quantity, Decimal("98.5")))
    assert isinstance(answer, ReplaceRejected)
    assert not alpaca.faults.requests["replace"]


async def test_a_replace_that_crosses_a_fill_leaves_no_order_that_asks_for_too_much(
    alpaca: AlpacaPeer,
) -> None:
    order = alpaca.order()
    await alpaca.broker.submit_order(order)
    alpaca.server.before_replace = lambda _: alpaca.quote(98, 99, units=4)
    await alpaca.broker.replace_order(order, OrderTerms(order.quantity, Decimal("98.5")))
    assert not alpaca.venue.open
    await alpaca.sees(order, S.CANCELED)
    assert [fill.quantity for fill in alpaca.executions(order)] == [4]
    (fill,) = await alpaca.broker.get_fills(0)
    assert [fill] == alpaca.executions(order)


async def test_a_replace_without_an_answer_is_found(alpaca: AlpacaPeer) -> None:
    order = alpaca.order()
    await alpaca.broker.submit_order(order)
    terms = OrderTerms(8 * alpaca.unit, Decimal("98.5"))
    alpaca.faults.plan("replace", Fault.GATEWAY_TIMEOUT)
    with pytest.raises(InDoubt):
        await alpaca.broker.replace_order(order, terms)
    found = await alpaca.broker.get_order(order)
    assert found is not None
    assert (found.state, found.terms) == (S.ACCEPTED, terms)
    assert alpaca.faults.requests["replace"] == 1


async def test_a_replace_that_was_taken_is_never_told_as_not_sent(alpaca: AlpacaPeer) -> None:
    order = alpaca.order()
    await alpaca.broker.submit_order(order)
    # What it looks at before; then it, and the stream, look where the replace has led.
    alpaca.faults.plan("order", Fault.SLOW, Fault.RATE_LIMITED, Fault.RATE_LIMITED)
    with pytest.raises(InDoubt):
        await alpaca.broker.replace_order(order, OrderTerms(order.quantity, Decimal("98.5")))
    assert alpaca.faults.requests["replace"] == 1


async def test_what_somebody_replaces_by_hand_is_ours_no_more(alpaca: AlpacaPeer) -> None:
    order = alpaca.order()
    await alpaca.broker.submit_order(order)
    (placed,) = alpaca.venue.open
    alpaca.server.replace(placed, {"limit_price": "97"})
    await alpaca.sees(order, S.CANCELED)
    (listed,) = await alpaca.broker.get_open_orders()
    assert listed.order.client_order_id != order.client_order_id
    alpaca.quote(96, 97)
    (fill,) = await alpaca.broker.get_fills(0)
    assert fill.client_order_id == listed.order.client_order_id


# --- the account ---------------------------------------------------------------------------------


async def test_an_account_that_is_blocked_is_not_traded_until_it_is_open_again(
    alpaca: AlpacaPeer,
) -> None:
    order = alpaca.order()
    await alpaca.broker.submit_order(order)
    alpaca.server.account["trading_blocked"] = True
    await alpaca.broker.get_account_balance()
    told = await alpaca.hears(BrokerChanged, lambda event: not event.connected)
    assert "blocked" in told.reason
    with pytest.raises(NotPermitted):
        await alpaca.broker.submit_order(alpaca.order())
    assert alpaca.faults.requests["submit"] == 1
    await alpaca.broker.cancel_order(order)
    assert not alpaca.venue.open
    alpaca.events.clear()
    alpaca.server.account["trading_blocked"] = False
    await alpaca.hears(BrokerChanged, lambda event: event.connected)
    assert (await alpaca.broker.submit_order(alpaca.order())).state is S.ACCEPTED


@pytest.mark.parametrize("counted", [2, 0, None])
async def test_a_statement_has_the_day_trades_that_alpaca_counts(
    alpaca: AlpacaPeer, counted: int | None
) -> None:
    """The field is being retired: what is not there is not none."""
    alpaca.server.account.pop("daytrade_count", None)
    if counted is not None:
        alpaca.server.account["daytrade_count"] = counted
    await alpaca.link.statement(1, 0)
    statement = await alpaca.hears(AccountStatement)
    assert statement.day_trades == counted


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.FORBIDDEN])
async def test_a_key_that_is_taken_no_more_ends_the_connection(
    alpaca: AlpacaPeer, fault: Fault
) -> None:
    """Which is made anew where it was taken once more."""
    alpaca.faults.plan("balance", fault)
    with pytest.raises((NotAuthenticated, NotPermitted)):
        await alpaca.broker.get_account_balance()
    await alpaca.hears(BrokerChanged, lambda event: not event.connected)
    alpaca.events.clear()
    await alpaca.hears(BrokerChanged, lambda event: event.connected)
    assert (await alpaca.broker.submit_order(alpaca.order())).state is S.ACCEPTED


@pytest.mark.parametrize(("key", "live"), [("PKPAPER", True), ("AKREAL", False)])
def test_a_key_of_the_other_kind_is_not_even_sent(key: str, live: bool) -> None:
    login = Login(SecretStr(key), SecretStr(SECRET), live=live)
    with pytest.raises(UserError, match="account"):
        AlpacaBroker([AAPL], login, time.time_ns)


@pytest.mark.parametrize(
    "url",
    [
        "https://alpaca.markets.evil.example",
        "http://api.alpaca.markets",
        "https://evil.example/api.alpaca.markets",
        "https://api.alpaca.markets@evil.example",
    ],
)
@pytest.mark.parametrize("which", ["url", "stream_url", "data_url", "data_stream_url"])
def test_keys_go_to_nobody_else(url: str, which: str) -> None:
    login = replace(Login(SecretStr(KEY), SecretStr(SECRET)), **{which: url})
    with pytest.raises(UserError, match="not Alpaca's"):
        AlpacaBroker([AAPL], login, time.time_ns)


@pytest.mark.parametrize(("number", "live"), [("PA3TEST", True), ("123456789", False)])
async def test_an_account_of_the_other_kind_is_refused(
    alpaca: AlpacaPeer, number: str, live: bool
) -> None:
    """Whatever the key looks like."""
    alpaca.server.key = "CKOTHER"
    alpaca.server.account["account_number"] = number
    login = replace(alpaca.login, live=live, key=SecretStr("CKOTHER"))
    broker = AlpacaBroker([AAPL], login, time.time_ns)
    with pytest.raises(UserError, match="account"):
        await broker.connect()
    await broker.disconnect()


async def test_a_key_that_is_not_taken_needs_a_person(alpaca: AlpacaPeer) -> None:
    broker = AlpacaBroker([AAPL], replace(alpaca.login, secret=SecretStr("wrong")), time.time_ns)
    before = alpaca.faults.requests.total()
    with pytest.raises(UserError, match="key"):
        await broker.connect()
    await broker.disconnect()
    assert alpaca.faults.requests.total() == before + 1


async def test_a_server_that_comes_back_is_found_again_and_nothing_is_missed(
    alpaca: AlpacaPeer,
) -> None:
    order = alpaca.order()
    await alpaca.broker.submit_order(order)
    await alpaca.server.stop()
    await alpaca.hears(BrokerChanged, lambda event: not event.connected)
    alpaca.quote(98, 99, units=4)
    alpaca.events.clear()
    await alpaca.server.start()
    await alpaca.hears(BrokerChanged, lambda event: event.connected)
    (fill,) = await alpaca.broker.get_fills(0)
    assert fill.quantity == 4
    alpaca.quote(98, 99)
    await alpaca.sees(order, S.FILLED)
    assert alpaca.faults.requests["submit"] == 1


@pytest.mark.parametrize("traded", [[AAPL], [AAPL, BTC]], ids=["alone", "beside crypto"])
@pytest.mark.parametrize("extended", [False, True])
async def test_stocks_lose_nothing_to_what_else_is_traded(
    alpaca: AlpacaPeer, traded: list[Instrument], extended: bool
) -> None:
    broker = AlpacaBroker(traded, alpaca.login, time.time_ns, extended_hours=extended)
    can = broker.capabilities.of(AssetClass.STOCK)
    assert (can.order_types, can.times_in_force) == (ORDER_TYPES, TIMES_IN_FORCE)
    assert (can.short, can.fractional, can.extended_hours) == (True, False, extended)
    crypto = broker.capabilities.of(AssetClass.CRYPTO)
    assert (crypto.short, crypto.fractional, crypto.extended_hours) == (False, True, False)


async def test_a_limit_of_requests_lasts_until_alpaca_counts_anew(alpaca: AlpacaPeer) -> None:
    """It tells the time at which it does, and not how long to wait."""
    alpaca.faults.plan("positions", Fault.RATE_LIMITED_BARE)
    with pytest.raises(RateLimited) as limited:
        await alpaca.broker.get_positions()
    assert COUNTS_ANEW_S - 5 < limited.value.wait_s <= COUNTS_ANEW_S


async def test_requests_that_hang_hold_no_thread_for_good(alpaca: AlpacaPeer) -> None:
    await alpaca.broker.get_positions()
    most = len(threading.enumerate()) + ASKED_AT_ONCE
    for _ in range(2):
        alpaca.faults.plan("positions", *[Fault.HANG] * ASKED_AT_ONCE)
        asked = [alpaca.broker.get_positions() for _ in range(ASKED_AT_ONCE)]
        ended = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(error, InDoubt) for error in ended)
    assert len(threading.enumerate()) <= most
    assert await alpaca.broker.get_positions() == {}


async def test_a_request_that_hangs_does_not_hold_up_the_end(alpaca: AlpacaPeer) -> None:
    """Also where nobody waits for it any more."""
    loop = asyncio.get_running_loop()
    login = replace(alpaca.login, read_s=5.0)
    broker = AlpacaBroker([AAPL], login, time.time_ns)
    await broker.connect()
    alpaca.faults.plan("positions", Fault.HANG)
    asked = asyncio.create_task(broker.get_positions())
    await alpaca.faults.has_come("positions", 1)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    before = loop.time()
    await broker.disconnect()
    assert loop.time() - before < login.read_s / 2


async def test_more_executions_than_a_page_has_are_all_told(alpaca: AlpacaPeer) -> None:
    await alpaca.broker.submit_order(alpaca.order(units=120))
    for _ in range(120):
        alpaca.quote(98, 99, units=1)
    fills = await alpaca.broker.get_fills(0)
    assert len({fill.execution_id for fill in fills}) == 120


async def test_more_open_orders_than_a_page_has_are_all_listed(alpaca: AlpacaPeer) -> None:
    placed = [alpaca.by_hand() for _ in range(MOST_ORDERS + 10)]
    broker = AlpacaBroker([AAPL], replace(alpaca.login, read_s=30.0), time.time_ns)
    await broker.connect()
    listed = await broker.get_open_orders()
    await broker.disconnect()
    assert len({each.order.venue_order_id for each in listed}) == len(placed)


async def test_what_is_sold_short_is_held_less_than_nothing(alpaca: AlpacaPeer) -> None:
    order = alpaca.order(side=Side.SELL, limit="101")
    await alpaca.broker.submit_order(order)
    alpaca.quote(101, 102)
    await alpaca.sees(order, S.FILLED)
    assert await alpaca.broker.get_positions() == {"AAPL": -order.quantity}


# --- what is said without being asked ------------------------------------------------------------


async def test_an_order_may_be_rejected_after_it_was_accepted(alpaca: AlpacaPeer) -> None:
    order = alpaca.order()
    await alpaca.broker.submit_order(order)
    alpaca.venue.reject(1, "halted")
    report = await alpaca.sees(order, S.REJECTED)
    assert report.reason


async def test_a_trade_that_is_taken_back_is_the_one_that_was_told(alpaca: AlpacaPeer) -> None:
    order = alpaca.order()
    await alpaca.broker.submit_order(order)
    alpaca.quote(98, 99)
    await alpaca.sees(order, S.FILLED)
    alpaca.venue.bust(alpaca.venue.fills[0])
    busted = await alpaca.hears(TradeBusted)
    (fill,) = alpaca.executions(order)
    assert (busted.execution_id, busted.symbol) == (fill.execution_id, "AAPL")
    assert busted.corrected is None


async def test_an_update_that_makes_no_sense_harms_no_other(alpaca: AlpacaPeer) -> None:
    order = alpaca.order()
    await alpaca.broker.submit_order(order)
    for garbage in (
        b"\x00\xff{",
        b"[]",
        b'{"stream": "trade_updates"}',
        b'{"stream": "trade_updates", "data": {"event": "fill", "order": null}}',
    ):
        alpaca.streams.say(garbage)
    alpaca.quote(98, 99)
    await alpaca.sees(order, S.FILLED)
    assert not any(isinstance(e, BrokerChanged) and not e.connected for e in alpaca.events)


async def test_what_the_venue_writes_is_harmless(alpaca: AlpacaPeer) -> None:
    report = await alpaca.broker.submit_order(
        replace(alpaca.order(), symbol="\x1b]52;c;eA==\x07[/x]")
    )
    assert report.state is S.REJECTED
    assert report.reason.isprintable()
    assert not set("[]").intersection(report.reason)


async def test_events_that_were_missed_are_told_when_the_stream_is_back() -> None:
    """And none of another account of the same firm, or that makes no sense."""
    async with PEERS["alpaca-broker"]() as alpaca:
        order = alpaca.order()
        await alpaca.broker.submit_order(order)
        alpaca.quote(98, 99, units=3)
        await alpaca.sees(order, S.PARTIALLY_FILLED)
        alpaca.streams.refuses = True
        await alpaca.streams.close()
        await alpaca.hears(BrokerChanged, lambda event: not event.connected)
        alpaca.quote(98, 99, units=4)
        alpaca.events.clear()
        alpaca.streams.refuses = False
        await alpaca.hears(BrokerChanged, lambda event: event.connected)
        for strange in (b"{", b"[]", b'{"account_id": "another", "event": "fill"}'):
            alpaca.streams.say(strange)
        alpaca.quote(98, 99)
        await alpaca.sees(order, S.FILLED)
        assert [fill.quantity for fill in alpaca.executions(order)] == [4, 3]


@pytest.mark.parametrize("name", PEERS)
async def test_no_secret_is_told(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nor written to a log of whatever level."""
    caplog.set_level(logging.DEBUG)
    async with PEERS[name]() as alpaca:
        texts: list[str] = []
        for fault in (Fault.UNAUTHORIZED, Fault.FORBIDDEN, Fault.RESET, Fault.HANG, Fault.GARBAGE):
            alpaca.faults.plan("submit", fault)
            with pytest.raises((InDoubt, NotSent)) as failed:
                await alpaca.broker.submit_order(alpaca.order())
            texts += [str(failed.value), repr(failed.value.__context__)]
        texts += [caplog.text, repr(alpaca.login), repr(alpaca.events)]
    assert not [text for text in texts if SECRET in text or BASIC in text]


async def test_the_package_that_is_missing_is_named(
    alpaca: AlpacaPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "alpaca"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("rest", "stream", "events"):
        monkeypatch.delitem(sys.modules, f"engine.brokers.alpaca.{name}")
    monkeypatch.setitem(sys.modules, "alpaca", None)
    broker = AlpacaBroker([AAPL], alpaca.login, time.time_ns)
    with pytest.raises(UserError, match=r"tradebot-tui\[alpaca\]"):
        await broker.connect()


# --- fees of crypto ------------------------------------------------------------------------------

FEE = Decimal("0.000375")
"""A quarter of a percent of ten units."""


async def test_the_fees_of_executions_that_are_told_twice_and_out_of_order_add_up() -> None:
    async with IN_BASE["alpaca"]() as peer:
        order = peer.order()
        await peer.broker.submit_order(order)
        peer.streams.doubled = peer.streams.reordered = True
        peer.quote(98, 99, units=4)
        peer.quote(98, 99, units=6)
        await peer.sees(order, S.FILLED)
        await peer.sees(order, S.PARTIALLY_FILLED)
        heard = {fill.execution_id: fill.commission_quantity for fill in peer.executions(order)}
        assert len(heard) == 2
        assert sum(heard.values()) == FEE


async def test_the_fee_of_an_execution_that_a_mute_stream_did_not_tell_is_known() -> None:
    async with IN_BASE["alpaca"]() as peer:
        order = peer.order()
        await peer.broker.submit_order(order)
        peer.streams.mute = True
        peer.quote(98, 99, units=4)
        peer.quote(98, 99)
        first, second = await peer.broker.get_fills(0)
        assert (first.commission_quantity, second.commission_quantity) == (
            Decimal("0.00015"),
            Decimal("0.000225"),
        )
        assert await peer.broker.get_fills(0) == [first, second]


async def test_the_fee_of_what_was_filled_between_two_sessions_is_known() -> None:
    async with IN_BASE["alpaca"]() as peer:
        before = peer.order()
        await peer.broker.submit_order(before)
        peer.quote(98, 99)
        told = (await peer.sees(before, S.FILLED)).fill
        assert told is not None
        await peer.broker.submit_order(peer.order())
        peer.streams.mute = True
        peer.quote(98, 99)
        held = Position("s", BTC.symbol, quantity=told.position_change)
        broker = AlpacaBroker([AAPL, BTC], peer.login, time.time_ns)
        broker.restore(Restored({}, positions=(held,), execution_ids=(told.execution_id,)))
        await broker.connect()
        _, missed = await broker.get_fills(0)
        assert missed.commission_quantity == FEE
        await broker.disconnect()


@pytest.mark.parametrize("withdrawn", ["0.01", "-1"])
async def test_what_somebody_took_from_the_account_or_brought_is_no_fee(withdrawn: str) -> None:
    """It is told as a difference; the next fee is known again."""
    async with IN_BASE["alpaca"]() as peer:
        fees: list[Decimal] = []
        for gone in (withdrawn, "0"):
            peer.venue.positions["BTC/USD"] = peer.venue.positions.get("BTC/USD", ZERO)
            peer.venue.positions["BTC/USD"] -= Decimal(gone)
            order = peer.order()
            await peer.broker.submit_order(order)
            peer.quote(98, 99)
            await peer.sees(order, S.FILLED)
            fees += [fill.commission_quantity for fill in peer.executions(order)]
        assert fees == [0, FEE]


async def test_a_fee_that_was_not_told_at_first_is_asked_for_again() -> None:
    async with IN_BASE["alpaca, told gross"]() as peer:
        order = peer.order()
        await peer.broker.submit_order(order)
        peer.faults.plan("positions", Fault.SERVER_ERROR)
        peer.quote(98, 99)
        fill = (await peer.sees(order, S.FILLED)).fill
        assert fill is not None
        assert (fill.quantity, fill.commission_quantity) == (order.quantity, FEE)


async def bought_without_fee(peer: AlpacaPeer, units: int = 10) -> Fill:
    """A purchase that is told while the account does not answer."""
    order = peer.order(units)
    await peer.broker.submit_order(order)
    peer.faults.plan("positions", *[Fault.SERVER_ERROR] * FEES_ASKED)
    peer.quote(98, 99)
    fill = (await peer.sees(order, S.FILLED)).fill
    assert fill is not None
    assert fill.commission_quantity == 0
    return fill


async def test_a_fee_that_becomes_known_corrects_the_execution_before_a_statement_has_it() -> None:
    async with IN_BASE["alpaca, told gross"]() as peer:
        told = await bought_without_fee(peer)
        (listed,) = await peer.broker.get_fills(0)
        said = peer.events[-1]
        assert isinstance(said, TradeBusted)
        assert (said.execution_id, said.symbol) == (told.execution_id, BTC.symbol)
        assert said.corrected is not None
        assert said.corrected.execution_id != told.execution_id
        assert replace(said.corrected, execution_id=told.execution_id) == listed
        assert listed == replace(told, commission_quantity=FEE)
        assert await peer.broker.get_fills(0) == [listed]
        assert sum(isinstance(event, TradeBusted) for event in peer.events) == 1


async def test_a_fee_is_found_out_without_anybody_asking_for_a_statement() -> None:
    async with IN_BASE["alpaca, told gross"]() as peer:
        order = peer.order()
        await peer.broker.submit_order(order)
        peer.faults.plan("positions", Fault.RATE_LIMITED)
        peer.quote(98, 99)
        await peer.sees(order, S.FILLED)
        said = await peer.hears(TradeBusted)
        assert said.corrected is not None
        assert said.corrected.commission_quantity == FEE


async def test_several_fees_that_become_known_together_are_shared_by_quantity() -> None:
    async with IN_BASE["alpaca, told gross"]() as peer:
        first = await bought_without_fee(peer, units=4)
        second = await bought_without_fee(peer)
        sale = peer.order(5, None, Side.SELL)
        await peer.broker.submit_order(sale)
        peer.quote(98, 99)
        sold = (await peer.sees(sale, S.FILLED)).fill
        assert sold is not None
        assert sold.commission_quantity == 0
        corrected = {
            event.execution_id: event.corrected.commission_quantity
            for event in peer.events
            if isinstance(event, TradeBusted) and event.corrected is not None
        }
        assert corrected == {
            first.execution_id: Decimal("0.00015"),
            second.execution_id: FEE,
        }
        assert await peer.broker.get_positions() == {
            BTC.symbol: first.quantity + second.quantity - sold.quantity - FEE - Decimal("0.00015")
        }


async def test_what_somebody_took_while_a_fee_was_not_known_is_no_fee() -> None:
    async with IN_BASE["alpaca, told gross"]() as peer:
        await bought_without_fee(peer)
        peer.venue.positions["BTC/USD"] -= Decimal("0.01")
        (listed,) = await peer.broker.get_fills(0)
        assert listed.commission_quantity == 0
        order = peer.order()
        await peer.broker.submit_order(order)
        peer.quote(98, 99)
        await peer.sees(order, S.FILLED)
        assert [fill.commission_quantity for fill in peer.executions(order)] == [FEE]
        assert not any(isinstance(event, TradeBusted) for event in peer.events)


async def test_a_fee_that_was_not_known_when_the_engine_ended_is_told_by_the_next() -> None:
    async with IN_BASE["alpaca, told gross"]() as peer:
        told = await bought_without_fee(peer)
        held = Position("s", BTC.symbol, quantity=told.position_change)
        broker = AlpacaBroker([AAPL, BTC], peer.login, time.time_ns)
        broker.restore(
            Restored({}, positions=(held,), execution_ids=(told.execution_id,), fills=(told,))
        )
        await broker.connect()
        asked = asyncio.create_task(broker.get_fills(0))
        said = await anext(aiter(broker.stream_fills()))
        assert isinstance(said, TradeBusted)
        assert (said.execution_id, said.corrected and said.corrected.commission_quantity) == (
            told.execution_id,
            FEE,
        )
        asked.cancel()
        await broker.disconnect()


async def test_a_venue_takes_back_what_was_corrected_by_its_fee() -> None:
    """The books have it under the id of the correction."""
    async with IN_BASE["alpaca, told gross"]() as peer:
        await bought_without_fee(peer)
        await peer.broker.get_fills(0)
        known = (await peer.hears(TradeBusted)).corrected
        assert known is not None
        peer.venue.bust(peer.venue.fills[0])
        busted = await peer.hears(TradeBusted, lambda event: event.corrected is None)
        assert busted.execution_id == known.execution_id


async def test_the_correction_of_a_purchase_keeps_its_fee() -> None:
    async with IN_BASE["alpaca"]() as peer:
        order = peer.order()
        await peer.broker.submit_order(order)
        peer.quote(98, 99)
        await peer.sees(order, S.FILLED)
        (fill,) = peer.executions(order)
        row = json.loads(peer.server.told[-1])
        row["data"] |= {"event": "trade_correct", "price": "98.5"}
        peer.streams.say(json.dumps(row).encode())
        bust = await peer.hears(TradeBusted)
        assert bust.execution_id == fill.execution_id
        assert bust.corrected is not None
        assert (bust.corrected.price, bust.corrected.commission_quantity) == (Decimal("98.5"), FEE)
