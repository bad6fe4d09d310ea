"""The equity curve of a file and of a server: its points, and those that a few of them are."""

import asyncio
from decimal import Decimal
from functools import partial
from math import nan
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.event import listen

from engine.core.model import MINUTE
from engine.store import equity
from engine.store.database import read_database
from engine.store.equity import HOUR
from engine.store.migrations.versions import v7
from engine.store.place import Place
from engine.store.repository import Repository
from engine.view.questions import Equity, EquityCurve

from .conftest import Database


async def curve(place: Place, asked: Equity) -> EquityCurve:
    return await asyncio.to_thread(read_database, place, partial(equity.curve, asked=asked))


async def save(store: Repository, values: list[int], currency: str = "USD", start: int = 1) -> None:
    for ts, value in enumerate(values, start):
        await store.save_equity(ts, Decimal(value), Decimal(1), currency, nan)


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
async def test_a_very_long_curve_is_read_by_its_hours(database: Database) -> None:
    database.edit(MANY.format(MINUTES[database.is_file]))
    database.edit(v7.FILL)
    asked, executed = Equity(points=1_000, since=10), list[tuple[str, Any]]()

    def look(connection: Connection) -> tuple[EquityCurve, str]:
        listen(connection, "before_cursor_execute", lambda *of: executed.append((of[2], of[3])))
        found = equity.curve(connection, asked)
        explain = "EXPLAIN QUERY PLAN" if database.is_file else "EXPLAIN"
        (query,) = [each for each in executed if "stretch" in each[0] and "_hour" in each[0]]
        plan = connection.exec_driver_sql(f"{explain} {query[0]}", query[1])
        return found, "\n".join(map(str, plan))

    found, plan = await asyncio.to_thread(read_database, database.place, look)
    points = found.points
    assert len(points) in range(800, 1_001)
    assert (points[0].ts, points[-1].ts) == (MINUTE, 49_999 * MINUTE)
    told = {point.ts // MINUTE: point.equity for point in points}
    assert (told[34_321], told[12_345]) == (34_321 % 13 - 5, 12_345 % 13 + 100_000)
    key = "(ts>? AND ts<?)" if database.is_file else "equity_hour_pkey"
    assert plan.count(key) == 2, plan
    assert not [line for line in plan.splitlines() if "SCAN equity" in line or "Seq Scan" in line]


async def test_of_whole_hours_the_extremes_are_those_that_stand(
    store: Repository, place: Place
) -> None:
    """Points come in any order, some in the place of others, also of those in another currency."""
    saved = {n * HOUR // 3: n * 37 % 101 for n in range(1, 64) if n not in range(42, 45)}
    saved[HOUR], saved[5 * HOUR // 3] = 300, 200  # too early to be told, and of a part of an hour
    saved[11 * HOUR], saved[12 * HOUR] = 3, 55  # where the highest and the lowest were at first
    at_first = [(11 * HOUR, 999), (12 * HOUR, -999), (14 * HOUR, 1_000)]
    in_order = sorted(saved.items(), key=lambda each: each[1])
    for ts, worth in (*at_first, *in_order):
        await store.save_equity(ts, Decimal(worth), Decimal(1), "USD", nan)
    for ts in (14 * HOUR, 15 * HOUR + 1):
        await store.save_equity(ts, Decimal(2_000), Decimal(1), "CAD", nan)
    told = {ts: worth for ts, worth in saved.items() if ts > HOUR}
    stretches = [[ts for ts in told if (ts // HOUR - 1) // 4 == number] for number in range(6)]
    extremes = {best(each, key=saved.__getitem__) for each in stretches for best in (min, max)}
    points = (await curve(place, Equity(points=14, since=HOUR + 1))).points
    assert {p.ts: p.equity for p in points} == {ts: saved[ts] for ts in extremes | {min(told)}}


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
