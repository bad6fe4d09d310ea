"""The equity curve: its points are saved, and read again as a few, with the extremes among them.

A curve of years has a million points. The lowest and the highest of each hour are kept beside them:
the extremes of any whole hours are found among these alone.
"""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Select,
    cast,
    column,
    delete,
    insert,
    select,
    values,
)
from sqlalchemy.orm import InstrumentedAttribute

from engine.core.model import MINUTE
from engine.store.audited import Until
from engine.store.models import EquityCurve as Point
from engine.store.models import EquityHour as Hour
from engine.store.statements import upsert
from engine.view.questions import MOST_POINTS, Equity, EquityCurve, EquityPoint

HOUR = 60 * MINUTE
LATEST = 2**63 - 1
"""A time (ns UTC) after all others."""

Stretch = tuple[int, int]
"""From its begin to before its end, ns UTC."""

Best = tuple[InstrumentedAttribute[Decimal], InstrumentedAttribute[int]]
"""A worth, and the time of the point that has it."""


class Source(NamedTuple):
    """Where the lowest and the highest points of stretches are looked for."""

    table: type[Point | Hour]
    lowest: Best
    highest: Best


POINTS = Source(Point, (Point.equity, Point.ts), (Point.equity, Point.ts))
HOURS = Source(Hour, (Hour.lowest, Hour.lowest_ts), (Hour.highest, Hour.highest_ts))


def save_point(connection: Connection, point: EquityPoint, currency: str) -> None:
    """Add a point to the curve; one at its time is replaced."""
    row = {"ts": point.ts, "equity": point.equity, "cash": point.cash, "currency": currency}
    connection.execute(upsert(connection.dialect.name, Point), row)
    hour = point.ts - point.ts % HOUR
    within = (Point.ts >= hour) & (Point.ts < hour + HOUR)
    of_hour = select(Point.currency, Point.equity, Point.ts).where(within)
    worth: defaultdict[str, list[tuple[Decimal, int]]] = defaultdict(list)
    for each, equity, ts in connection.execute(of_hour):
        worth[each].append((equity, ts))
    connection.execute(delete(Hour).where(Hour.ts == hour))
    connection.execute(insert(Hour), [_extremes_of(hour, *each) for each in worth.items()])


def _extremes_of(hour: int, currency: str, worth: list[tuple[Decimal, int]]) -> dict[str, Any]:
    (lowest, lowest_ts), (highest, highest_ts) = min(worth), max(worth)
    return {
        "ts": hour,
        "currency": currency,
        "lowest": lowest,
        "lowest_ts": lowest_ts,
        "highest": highest,
        "highest_ts": highest_ts,
    }


def curve(connection: Connection, asked: Equity, until: Until | None = None) -> EquityCurve:
    """The points that were saved in the currency of the newest one: sums in another are no part of
    its curve. Of more than are asked for, the ends, and the lowest and highest of each stretch of
    time."""
    end = LATEST if until is None else until.ts
    newest = select(Point.ts, Point.currency).where(Point.ts <= end).order_by(Point.ts.desc())
    last = connection.execute(newest.limit(1)).first()
    if last is None:
        return EquityCurve("", ())
    most = max(4, min(asked.points, MOST_POINTS))
    points = select(Point.ts, Point.equity, Point.cash).order_by(Point.ts)
    whole = points.where(Point.currency == last.currency, Point.ts.between(asked.since, end))
    rows = connection.execute(whole.limit(most + 1)).all()
    if len(rows) > most:
        first = rows[0].ts
        stretches = _stretches(first, last.ts + 1, (most - 2) // 2)
        times = {first, last.ts, *_extremes(connection, last.currency, stretches)}
        rows = connection.execute(points.where(Point.ts.in_(times))).all()
    return EquityCurve(last.currency, tuple(EquityPoint(*row) for row in rows))


def _stretches(first: int, stop: int, count: int) -> list[Stretch]:
    """At most `count`, as wide as each other: where that is more than an hour, they are of whole
    hours but for what is before `first` or not before `stop`."""
    begin, width = first, -(-(stop - first) // count)
    if width > HOUR:
        begin -= begin % HOUR
        width = -(-(stop - begin) // (count * HOUR)) * HOUR
    return [(max(ts, first), min(ts + width, stop)) for ts in range(begin, stop, width)]


def _extremes(connection: Connection, currency: str, stretches: list[Stretch]) -> Iterator[int]:
    """The times of the lowest and the highest point in each of the stretches."""
    hours = [(begin, end) for begin, end in stretches if begin % HOUR == end % HOUR == 0]
    parts = [(begin, end) for begin, end in stretches if begin % HOUR or end % HOUR]
    for source, within in ((HOURS, hours), (POINTS, parts)):
        if within:
            for pair in connection.execute(_lowest_and_highest(source, currency, within)):
                yield from (ts for ts in pair if ts is not None)


def _lowest_and_highest(
    source: Source, currency: str, stretches: list[Stretch]
) -> Select[int, int]:
    """Each stretch is a range of the primary key, of which only the best row so far is kept: to
    sort a million points takes ten times as long."""
    columns = column("begin", BigInteger), column("stop", BigInteger)
    stretch = values(*columns, name="stretch").data(stretches).cte()
    table = source.table
    within = (table.ts >= stretch.c.begin) & (table.ts < stretch.c.stop)

    def time_of(best: Best, worth: ColumnElement[float]) -> ColumnElement[int]:
        found = select(best[1]).where(table.currency == currency, within).order_by(worth)
        return found.limit(1).correlate(stretch).scalar_subquery()

    lowest = time_of(source.lowest, cast(source.lowest[0], Double))
    highest = time_of(source.highest, cast(source.highest[0], Double).desc())
    return select(lowest, highest).select_from(stretch)
