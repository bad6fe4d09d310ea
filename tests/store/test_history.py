"""What the database answers, of a file and of a server: pages of orders and of fills, the equity
curve."""

import asyncio
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.event import listen

from engine.core.events import PositionChanged, TradeReversed
from engine.core.model import NANOS, OPENING, Fill, OrderState, Position, Side
from engine.store import history
from engine.store.database import read_database
from engine.store.place import Place
from engine.store.repository import Repository
from engine.view.questions import (
    MOST_FILLS,
    MOST_ORDERS,
    Equity,
    EquityCurve,
    FillPage,
    Fills,
    OrderPage,
    Orders,
)

from .conftest import Database, MakeFill, MakeOrder, Stamp

FILLED = OrderState.FILLED
CASH = Decimal(1_000)


async def page(place: Place, asked: Orders) -> OrderPage:
    return await asyncio.to_thread(read_database, place, partial(history.orders, asked=asked))


async def fill_page(place: Place, asked: Fills) -> FillPage:
    return await asyncio.to_thread(read_database, place, partial(history.executions, asked=asked))


async def curve(place: Place, asked: Equity) -> EquityCurve:
    return await asyncio.to_thread(read_database, place, partial(history.equity, asked=asked))


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


# --- equity --------------------------------------------------------------------------------------


async def save(store: Repository, values: list[int], currency: str = "USD", start: int = 1) -> None:
    for ts, value in enumerate(values, start):
        await store.save_equity(ts, Decimal(value), Decimal(1), currency, float("nan"))


async def test_a_short_curve_is_whole(store: Repository, place: Place) -> None:
    await save(store, [100, 102, 101])
    found = await curve(place, Equity(points=4))
    assert found.currency == "USD"
    assert [(p.ts, p.equity, p.cash) for p in found.points] == [
        (1, Decimal(100), Decimal(1)),
        (2, Decimal(102), Decimal(1)),
        (3, Decimal(101), Decimal(1)),
    ]


async def test_a_long_curve_keeps_its_ends_and_its_extremes(
    store: Repository, place: Place
) -> None:
    values = [1_000 + n % 7 for n in range(60)]
    values[23], values[47] = 9, 10_000  # as numbers: as text they would be the other way round
    await save(store, values)
    points = (await curve(place, Equity(points=12))).points
    assert len(points) <= 12
    times = [p.ts for p in points]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (1, 60)
    assert {Decimal(9), Decimal(10_000)} <= {p.equity for p in points}


MINUTE = 60 * NANOS
MINUTES = {
    True: "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 49999)",
    False: "WITH n(i) AS (SELECT generate_series(0, 49999)::bigint)",
}
MANY = """
    INSERT INTO equity_curve(ts, equity, cash, currency)
    {} SELECT i * 60000000000,
    i % 13 + CASE i WHEN 34321 THEN -5 WHEN 12345 THEN 100000 ELSE 80 END, 1, 'USD' FROM n"""
"""A curve of 50,000 minutes, with one low and one high."""


@pytest.mark.usefixtures("store")
async def test_a_very_long_curve_is_read_by_stretches_of_its_key(database: Database) -> None:
    database.edit(MANY.format(MINUTES[database.is_file]))
    asked, executed = Equity(points=1_000, since=10), list[tuple[str, Any]]()

    def look(connection: Connection) -> tuple[EquityCurve, str]:
        listen(connection, "before_cursor_execute", lambda *of: executed.append((of[2], of[3])))
        found = history.equity(connection, asked)
        explain = "EXPLAIN QUERY PLAN" if database.is_file else "EXPLAIN"
        (query,) = [each for each in executed if "stretch" in each[0]]
        plan = connection.exec_driver_sql(f"{explain} {query[0]}", query[1])
        return found, "\n".join(map(str, plan))

    found, plan = await asyncio.to_thread(read_database, database.place, look)
    points = found.points
    assert len(points) in range(900, 1_001)
    assert (points[0].ts, points[-1].ts) == (MINUTE, 49_999 * MINUTE)
    told = {point.ts // MINUTE: point.equity for point in points}
    assert (told[34_321], told[12_345]) == (34_321 % 13 - 5, 12_345 % 13 + 100_000)
    key = "(ts>? AND ts<?)" if database.is_file else "equity_curve_pkey"
    assert plan.count(key) == 2, plan
    assert "SCAN equity_curve" not in plan
    assert "Seq Scan on equity_curve" not in plan


async def test_a_curve_begins_where_it_is_asked_to(store: Repository, place: Place) -> None:
    await save(store, list(range(10)))
    assert [p.ts for p in (await curve(place, Equity(points=100, since=8))).points] == [8, 9, 10]


async def test_sums_in_a_former_currency_are_no_part_of_the_curve(
    store: Repository, place: Place
) -> None:
    await save(store, [100, 101], "CAD")
    await save(store, [75, 76], "USD", start=3)
    found = await curve(place, Equity(points=100))
    assert (found.currency, [p.ts for p in found.points]) == ("USD", [3, 4])


async def test_there_is_no_curve_before_its_first_point(store: Repository, place: Place) -> None:
    assert await curve(place, Equity(points=100)) == EquityCurve("", ())
