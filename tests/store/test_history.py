"""What the database answers, of a file and of a server: pages of orders and of fills."""

import asyncio
from decimal import Decimal
from functools import partial

import pytest

from engine.core.events import PositionChanged, TradeReversed
from engine.core.model import OPENING, Fill, OrderState, Position, Side
from engine.store import history
from engine.store.database import read_database
from engine.store.place import Place
from engine.store.repository import Repository
from engine.view.questions import (
    MOST_FILLS,
    MOST_ORDERS,
    FillPage,
    Fills,
    OrderPage,
    Orders,
)

from .conftest import MakeFill, MakeOrder, Stamp

FILLED = OrderState.FILLED
CASH = Decimal(1_000)


async def page(place: Place, asked: Orders) -> OrderPage:
    return await asyncio.to_thread(read_database, place, partial(history.orders, asked=asked))


async def fill_page(place: Place, asked: Fills) -> FillPage:
    return await asyncio.to_thread(read_database, place, partial(history.executions, asked=asked))


def ids(found: OrderPage) -> list[str]:
    return [order.client_order_id for order in found.orders]


# --- orders --------------------------------------------------------------------------------------


async def test_pages_follow_each_other_without_a_gap_and_without_an_order_twice(
    store: Repository, place: Place, make_order: MakeOrder
) -> None:
    made = [make_order(f"tb-{n}", created_ts=1_000 + n // 3) for n in range(10)]
    await store.commit_intents(made)
    first = await page(place, Orders(count=4))
    second = await page(place, Orders(count=4, before=first.before))
    third = await page(place, Orders(count=4, before=second.before))
    assert [len(ids(p)) for p in (first, second, third)] == [4, 4, 2]
    assert ids(first) + ids(second) + ids(third) == [f"tb-{n}" for n in range(9, -1, -1)]
    assert first.before is not None
    assert third.before is None
    assert first.orders[0] == made[-1]


async def test_the_last_page_may_be_full(
    store: Repository, place: Place, make_order: MakeOrder
) -> None:
    await store.commit_intents([make_order(f"tb-{n}") for n in range(4)])
    assert (await page(place, Orders(count=4))).before is None


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (Orders(symbol="SPY"), ["b"]),
        (Orders(strategy="breakout"), ["c"]),
        (Orders(states=(FILLED, OrderState.REJECTED)), ["c", "b"]),
        (Orders(text="BUYING"), ["c"]),
        (Orders(text="spy"), ["b"]),
        (Orders(text="BREAK"), ["c"]),
        (Orders(text="100%"), ["a"]),
        (Orders(text="v-7"), ["a"]),
        (Orders(text="%"), ["a"]),
        (Orders(symbol="SPY", states=(OrderState.REJECTED,)), []),
    ],
)
async def test_orders_are_chosen_by_what_they_say(
    store: Repository, place: Place, make_order: MakeOrder, asked: Orders, found: list[str]
) -> None:
    await store.commit_intents(
        [
            make_order("a", reason="100% of it", venue_order_id="v-7"),
            make_order("b", symbol="SPY", state=FILLED),
            make_order(
                "c", strategy="breakout", state=OrderState.REJECTED, reason="no buying power"
            ),
        ]
    )
    assert ids(await page(place, asked)) == found


async def test_a_page_has_a_most_and_a_least(
    store: Repository, place: Place, make_order: MakeOrder
) -> None:
    await store.commit_intents([make_order(f"tb-{n:04}") for n in range(MOST_ORDERS + 1)])
    assert len(ids(await page(place, Orders(count=10**9)))) == MOST_ORDERS
    assert len(ids(await page(place, Orders(count=-1)))) == 1


# --- fills ---------------------------------------------------------------------------------------


async def fill(store: Repository, stamp: Stamp, *fills: Fill) -> None:
    position = Position("sma_crossover", "BTC-USD")
    await store.record([stamp(PositionChanged(position, each, CASH)) for each in fills])


def executions(found: FillPage) -> list[str]:
    return [row.fill.execution_id for row in found.fills]


async def test_pages_of_fills_follow_each_other_without_a_gap(
    store: Repository, place: Place, make_fill: MakeFill, stamp: Stamp
) -> None:
    made = [make_fill(f"x-{n}", ts=1_000 + n // 3) for n in range(9)]
    twin = make_fill("x-8", ts=1_002, symbol="ETH-USD")  # some venues number by symbol
    await fill(store, stamp, *made, twin)
    first = await fill_page(place, Fills(count=4))
    second = await fill_page(place, Fills(count=4, before=first.before))
    third = await fill_page(place, Fills(count=4, before=second.before))
    assert [row.fill for row in (*first.fills, *second.fills, *third.fills)] == [
        twin,
        *reversed(made),
    ]
    assert first.before is not None
    assert [len(found.fills) for found in (first, second, third)] == [4, 4, 2]
    assert third.before is None


async def test_a_fill_that_was_taken_back_says_so_and_an_opening_is_no_fill(
    store: Repository, place: Place, make_fill: MakeFill, stamp: Stamp
) -> None:
    back, stands = make_fill("x-1", ts=3), make_fill("x-2", ts=2)
    instead = make_fill("x-1:corrected", ts=4, quantity=Decimal("0.5"))
    await fill(store, stamp, make_fill(f"BTC-USD{OPENING}", ts=1), stands, back)
    position = Position("sma_crossover", "BTC-USD")
    await store.record([stamp(TradeReversed(back, instead, position, CASH, "bust"))])
    found = await fill_page(place, Fills())
    told = [(row.fill, row.is_reversed) for row in found.fills]
    assert told == [(instead, False), (back, True), (stands, False)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("X-A", ["x-a"]),
        ("tb-2", ["x-b"]),
        ("V_7", ["x-a"]),
        ("break", ["x-b"]),
        ("spy", ["x-b"]),
        ("KRAKEN", ["x-a"]),
        ("%", []),
    ],
)
async def test_fills_are_found_by_what_they_say(
    store: Repository,
    place: Place,
    make_fill: MakeFill,
    stamp: Stamp,
    text: str,
    found: list[str],
) -> None:
    one = make_fill("x-a", venue_order_id="v_7", venue="kraken")
    other = make_fill(
        "x-b", client_order_id="tb-2", symbol="SPY", strategy="breakout", side=Side.SELL
    )
    await fill(store, stamp, one, other)
    assert executions(await fill_page(place, Fills(text=text))) == found


async def test_a_page_of_fills_has_a_most_and_a_least(
    store: Repository, place: Place, make_fill: MakeFill, stamp: Stamp
) -> None:
    await fill(store, stamp, *(make_fill(f"x-{n}") for n in range(MOST_FILLS + 1)))
    assert len(executions(await fill_page(place, Fills(count=10**9)))) == MOST_FILLS
    assert len(executions(await fill_page(place, Fills(count=-1)))) == 1
