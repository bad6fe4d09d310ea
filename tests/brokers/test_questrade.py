"""What only Questrade has: no client order ids, chains of replaced orders, scopes of tokens."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from msgspec import json
from msgspec.structs import replace

from engine.brokers.base import InDoubt, NotPermitted, NotSent, RateLimited
from engine.brokers.questrade import QuestradeBroker, news, wire
from engine.core.events import BrokerChanged, CancelRejected, ExecutionReport
from engine.core.model import (
    NANOS,
    Order,
    OrderState,
    OrderTerms,
    OrderType,
    Side,
    TimeInForce,
    nanos,
)
from engine.ops.errors import UserError
from tests.brokers.peer_questrade import SHOP, QuestradePeer, questrade
from tests.loopback.faults import Fault
from tests.loopback.questrade import ACCOUNT, CHAIN

S = OrderState
AGAIN = 130 * NANOS
"""Later than an order of the same terms is still taken for one whose answer was lost."""


@pytest.fixture
async def peer() -> AsyncGenerator[QuestradePeer]:
    async with questrade() as peer:
        yield peer


@pytest.fixture
async def restarted(peer: QuestradePeer) -> AsyncGenerator[QuestradeBroker]:
    """Another session, which knows only what the engine tells it."""
    broker = peer.another()
    await broker.connect()
    yield broker
    await broker.disconnect()


# --- on the wire ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({}, '"quantity":10,"orderType":"Limit","timeInForce":"Day","action":"Buy"'),
        ({"limit_price": Decimal("0.10")}, '"limitPrice":0.10'),
        ({"side": Side.SELL, "time_in_force": TimeInForce.IOC}, '"ImmediateOrCancel","action":"Se'),
        ({"time_in_force": TimeInForce.GTC}, '"timeInForce":"GoodTillCanceled"'),
        (
            {"type": OrderType.MARKET, "limit_price": None},
            '"orderType":"Market","timeInForce":"Day',
        ),
        (
            {"type": OrderType.STOP_LIMIT, "stop_price": Decimal("98.07")},
            '"limitPrice":99,"stopPrice":98.07',
        ),
    ],
)
async def test_an_order_is_on_the_wire_as_it_is_meant(
    peer: QuestradePeer, changes: dict[str, object], body: str
) -> None:
    report = await peer.broker.submit_order(replace(peer.order(), **changes))
    assert report.state is S.ACCEPTED
    (sent,) = peer.server.bodies
    assert body in sent
    assert sent.startswith(f'{{"accountNumber":"{ACCOUNT}","symbolId":8049,"quantity":10,')


async def test_a_symbol_is_looked_up_once(peer: QuestradePeer) -> None:
    before = peer.faults.requests["symbol"]
    for _ in range(3):
        await peer.broker.submit_order(peer.order())
        await peer.broker.get_quote(SHOP.symbol)
    assert peer.faults.requests["symbol"] == before + 1


async def test_an_order_is_not_in_doubt_while_its_symbol_is_looked_up(peer: QuestradePeer) -> None:
    peer.faults.plan("symbol", Fault.HANG)
    with pytest.raises(NotSent, match="cannot be looked up"):
        await peer.broker.submit_order(peer.order())
    unknown = await peer.broker.submit_order(replace(peer.order(), symbol="questrade:NOSUCH"))
    assert (unknown.state, unknown.reason) == (S.REJECTED, "Questrade has no symbol NOSUCH")
    assert not peer.server.bodies


async def test_an_order_that_is_made_and_refused_at_once_is_rejected(peer: QuestradePeer) -> None:
    peer.server.objection = "[bold]no\x1b[2J margin"
    report = await peer.broker.submit_order(peer.order())
    assert (report.state, report.reason) == (S.REJECTED, "(bold)no (2J margin")
    assert report.venue_order_id


async def test_without_the_permission_for_orders_the_rest_works(peer: QuestradePeer) -> None:
    peer.server.scoped = True
    with pytest.raises(NotPermitted, match="permission as a partner"):
        await peer.broker.submit_order(peer.order())
    peer.quote(99, 101)
    assert await peer.broker.get_quote(SHOP.symbol)
    assert not await peer.broker.get_positions()
    assert not peer.venue.orders


async def test_a_limit_that_is_used_up_holds_up_its_own_calls_alone(peer: QuestradePeer) -> None:
    order = peer.order()
    await peer.broker.submit_order(order)
    reset = int(time.time()) + 60
    peer.server.headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)}
    await peer.broker.get_positions()
    peer.server.headers = {}
    with pytest.raises(RateLimited) as limited:
        await peer.broker.get_positions()
    assert 55 < limited.value.wait_s <= 60
    peer.quote(98.5, 101)
    assert await peer.broker.get_quote(SHOP.symbol)
    assert isinstance(await peer.broker.cancel_order(order), ExecutionReport)


async def test_cancels_all_leave_at_once_until_questrade_says_that_they_are_too_many(
    peer: QuestradePeer,
) -> None:
    """More than its other calls: of orders no limit is documented."""
    orders = [peer.order(units=1) for _ in range(3)]
    for order in orders:
        await peer.broker.submit_order(order)
    room = left(peer)
    await peer.broker.cancel_order(orders[0])
    assert left(peer) >= room
    peer.faults.retry_after_s = 0
    peer.faults.plan("cancel", Fault.RATE_LIMITED)
    with pytest.raises(RateLimited):
        await peer.broker.cancel_order(orders[1])
    await peer.broker.cancel_order(orders[1])
    await peer.broker.cancel_order(orders[2])
    assert left(peer) < room
    assert not peer.venue.open


def left(peer: QuestradePeer) -> float:
    """How many requests about orders may leave now."""
    room = peer.broker.room()
    assert room is not None
    return room.left


async def test_no_redirect_is_followed(peer: QuestradePeer) -> None:
    peer.server.redirects = True
    with pytest.raises(InDoubt, match="307"):
        await peer.broker.get_positions()


async def test_an_order_that_came_with_an_invalid_token_goes_again_once(
    peer: QuestradePeer,
) -> None:
    await peer.broker.get_quote(SHOP.symbol)
    peer.server.access_tokens.clear()
    report = await peer.broker.submit_order(peer.order())
    assert report.state is S.ACCEPTED
    assert (peer.faults.requests["submit"], len(peer.venue.orders)) == (2, 1)


async def test_a_session_that_takes_a_person_ends_the_stream_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(news, "LOOK_S", 0.01)
    async with questrade() as peer:
        await peer.streams.has_joined()
        peer.server.expired = True
        changed = await peer.hears(BrokerChanged, lambda event: not event.connected)
        assert "QUESTRADE_REFRESH_TOKEN" in changed.reason
        assert len(peer.server.logins) == 2


# --- which order is ours -------------------------------------------------------------------------


async def lost(peer: QuestradePeer, order: Order) -> Order:
    """An order that Questrade has, and whose answer was lost."""
    peer.faults.plan("submit", Fault.LOST)
    with pytest.raises(InDoubt):
        await peer.broker.submit_order(order)
    return order


@pytest.mark.parametrize(
    "changes",
    [
        lambda _: {"quantity": Decimal(11)},
        lambda _: {"limit_price": Decimal("99.01")},
        lambda _: {"side": Side.SELL},
        lambda order: {"created_ts": order.created_ts - AGAIN},
        lambda order: {"created_ts": order.created_ts + AGAIN},
    ],
)
async def test_a_lost_order_is_found_by_what_it_is_like_alone(
    peer: QuestradePeer, changes: Callable[[Order], dict[str, Any]]
) -> None:
    peer.streams.mute = True
    order = await lost(peer, peer.order())
    other = replace(order, client_order_id="other", **changes(order))
    assert await peer.broker.get_order(other) is None
    found = await peer.broker.get_order(order)
    assert found is not None
    assert (found.state, found.terms) == (S.ACCEPTED, order.terms)


async def test_of_several_that_are_like_it_none_is_taken_for_it(peer: QuestradePeer) -> None:
    peer.streams.mute = True
    first, second = peer.order(), peer.order()
    await lost(peer, first)
    peer.by_hand()
    with pytest.raises(InDoubt, match="2 orders at Questrade are like it"):
        await peer.broker.get_order(first)
    await peer.broker.submit_order(second)
    with pytest.raises(InDoubt, match="2 orders at Questrade are like it"):
        await peer.broker.get_order(first)


async def test_an_order_whose_id_is_known_is_taken_for_no_other(peer: QuestradePeer) -> None:
    first, second = peer.order(), peer.order()
    await peer.broker.submit_order(first)
    assert await peer.broker.get_order(second) is None


async def test_what_is_told_before_the_answer_comes_is_of_that_order(peer: QuestradePeer) -> None:
    order = peer.order()
    peer.faults.plan("submit", Fault.MUTE)
    submitting = asyncio.create_task(peer.broker.submit_order(order))
    await peer.sees(order, S.ACCEPTED)
    peer.quote(98, 99)
    await peer.sees(order, S.FILLED)
    (fill,) = peer.executions(order)
    assert fill.quantity == order.quantity
    with pytest.raises(InDoubt):
        await submitting


async def test_another_session_knows_orders_by_questrades_ids(
    peer: QuestradePeer, restarted: QuestradeBroker
) -> None:
    order = peer.order()
    report = await peer.broker.submit_order(order)
    peer.quote(98, 99, units=4)
    await peer.sees(order, S.PARTIALLY_FILLED)
    named = replace(order, venue_order_id=report.venue_order_id)
    (listed,) = await restarted.get_open_orders()
    (fill,) = await restarted.get_fills(0)
    assert listed.order.venue_order_id == fill.venue_order_id == report.venue_order_id
    assert fill.client_order_id == ""
    found = await restarted.get_order(named)
    assert found is not None
    assert found.fill is not None
    assert (found.state, found.fill.quantity) == (S.PARTIALLY_FILLED, 4)
    assert isinstance(await restarted.cancel_order(named), ExecutionReport)
    assert not peer.venue.open


async def test_executions_are_told_one_by_one_to_who_asks_for_the_order(
    peer: QuestradePeer,
) -> None:
    peer.streams.mute = True
    order = peer.order()
    await peer.broker.submit_order(order)
    peer.quote(98, 99, units=4)
    peer.quote(97, 98, units=6)
    told: list[tuple[Decimal, Decimal]] = []
    for _ in range(3):
        found = await peer.broker.get_order(order)
        assert found is not None
        if found.fill is not None:
            told.append((found.fill.quantity, found.fill.price))
            order = replace(order, filled=order.filled + found.fill.quantity)
    assert told == [(4, 99), (6, 98)]


async def test_a_replaced_order_keeps_its_name_and_goes_by_its_new_id(
    peer: QuestradePeer, restarted: QuestradeBroker
) -> None:
    order = peer.order()
    report = await peer.broker.submit_order(order)
    order = replace(order, venue_order_id=report.venue_order_id)
    for price in ("98.5", "98.4"):
        answer = await peer.broker.replace_order(order, OrderTerms(Decimal(8), Decimal(price)))
        assert isinstance(answer, ExecutionReport)
        assert answer.venue_order_id == report.venue_order_id == str(CHAIN + 10)
    assert isinstance(await restarted.cancel_order(order), CancelRejected), "by its first id"
    found = await restarted.get_order(order)
    assert found is not None
    assert found.terms == OrderTerms(Decimal(8), Decimal("98.4"))
    assert isinstance(await restarted.cancel_order(order), ExecutionReport)
    assert not peer.venue.open


async def test_a_replace_without_an_answer_is_found_too(peer: QuestradePeer) -> None:
    order = peer.order()
    await peer.broker.submit_order(order)
    peer.faults.plan("replace", Fault.LOST)
    terms = OrderTerms(Decimal(8), Decimal("98.5"))
    with pytest.raises(InDoubt):
        await peer.broker.replace_order(order, terms)
    found = await peer.broker.get_order(order)
    assert found is not None
    assert (found.state, found.terms) == (S.ACCEPTED, terms)
    assert isinstance(await peer.broker.cancel_order(order), ExecutionReport)
    assert not peer.venue.open


async def test_an_execution_waits_for_the_answer_that_says_whose_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(news, "LOOK_S", 0.01)
    async with questrade() as peer:
        peer.streams.mute = True
        order = await lost(peer, peer.order())
        peer.quote(98, 99)
        await peer.faults.has_come("fills", peer.faults.requests["fills"] + 3)
        assert not [event for event in peer.events if isinstance(event, ExecutionReport)]
        await peer.broker.get_order(order)
        report = await peer.hears(ExecutionReport)
        assert report.client_order_id == order.client_order_id


async def test_what_a_mute_stream_does_not_tell_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(news, "LOOK_S", 0.01)
    async with questrade() as peer:
        peer.streams.mute = True
        order = peer.order()
        await peer.broker.submit_order(order)
        peer.quote(98, 99)
        report = await peer.hears(ExecutionReport)
        assert report.client_order_id == order.client_order_id
        assert report.fill is not None


# --- the account ---------------------------------------------------------------------------------


async def test_of_several_accounts_one_is_to_be_chosen(peer: QuestradePeer) -> None:
    peer.server.accounts = [ACCOUNT, "26598146"]
    for wanted in ("", "1"):
        broker = peer.another(account=wanted)
        with pytest.raises(UserError, match="26598145, 26598146"):
            await broker.connect()
        await broker.disconnect()
    broker = peer.another(account=ACCOUNT)
    await broker.connect()
    assert not await broker.get_positions()
    await broker.disconnect()


async def test_the_balance_is_in_the_currency_of_what_is_traded(peer: QuestradePeer) -> None:
    dollars = replace(SHOP, symbol="SHOP", currency="USD")
    cash: list[Decimal | None] = []
    for traded in ([SHOP], [dollars], [SHOP, dollars]):
        broker = peer.another(*traded)
        await broker.connect()
        cash.append((await broker.get_account_balance()).cash)
        await broker.disconnect()
    assert cash == [1_000_000, Decimal("6.304468"), None]


# --- market data ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row", [{"bidPrice": None}, {"askPrice": None}, {"delay": 15}, {"isHalted": True}]
)
async def test_what_cannot_be_traded_on_is_no_quote(
    peer: QuestradePeer, row: dict[str, object]
) -> None:
    peer.quote(99, 101)
    assert await peer.broker.get_quote(SHOP.symbol)
    peer.server.quotes = row
    assert await peer.broker.get_quote(SHOP.symbol) is None


# --- documented answers --------------------------------------------------------------------------


def test_an_execution_is_read_as_documented() -> None:
    """https://www.questrade.com/api/documentation, whose examples write sides in capitals."""
    raw = b"""{"parentId": 2, "id": 1002, "orderId": 5002, "orderChainId": 7002,
      "exchangeExecId": "EX67890", "symbol": "TSLA", "symbolId": 102, "quantity": 5,
      "side": "SELL", "price": 900.75, "timestamp": "2024-02-12T09:15:00.00Z", "notes": "",
      "venue": "NYSE", "totalCost": 4503.75, "orderPlacementCommission": 7.50, "commission": 3.75,
      "executionFee": 2.00, "secFee": 1.00, "canadianExecutionFee": 0.75}"""
    fill = wire.fill_of(json.decode(raw, type=wire.ExecutionRow), "", "TSLA", 0)
    assert (fill.side, fill.quantity, fill.price) == (Side.SELL, 5, Decimal("900.75"))
    assert (fill.commission, fill.venue_order_id) == (Decimal("15.00"), "7002")
    assert fill.ts == nanos(datetime(2024, 2, 12, 9, 15, tzinfo=UTC))


@pytest.mark.parametrize(
    ("state", "filled", "ours"),
    [
        ("Pending", "null", S.ACCEPTED),
        ("Queued", "0", S.ACCEPTED),
        ("CancelPending", "3", S.PARTIALLY_FILLED),
        ("ANewWord", "3", S.PARTIALLY_FILLED),
        ("PartialCanceled", "3", S.CANCELED),
        ("Failed", "0", S.REJECTED),
        ("Executed", "10", S.FILLED),
    ],
)
def test_every_state_of_questrade_is_one_of_ours(state: str, filled: str, ours: S) -> None:
    raw = f"""{{"id": 416308737, "symbol": "AAPL", "totalQuantity": 10, "side": "Buy",
      "filledQuantity": {filled}, "orderType": "Limit", "limitPrice": 150.0, "stopPrice": null,
      "state": "{state}", "chainId": 416308737, "creationTime": "2025-03-05T20:17:58.39Z"}}"""
    row = json.decode(raw, type=wire.OrderRow)
    assert wire.report_of(row, "tb-1", 0).state is ours
    assert row.terms == OrderTerms(Decimal(10), Decimal(150))
