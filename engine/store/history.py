"""What the database answers: each function reads a bounded number of rows."""

from typing import Any

from sqlalchemy import Connection, Double, Select, cast, func, or_, select, tuple_
from sqlalchemy.orm import aliased

from engine.core.average_cost import REVERSED
from engine.core.model import OPENING, Fill, Order, Position
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.questions import (
    MOST_FILLS,
    MOST_ORDERS,
    MOST_POINTS,
    Equity,
    EquityCurve,
    EquityPoint,
    FillPage,
    Fills,
    OrderPage,
    Orders,
)
from engine.snapshot import FillRow
from engine.store import models
from engine.store.statements import values_of

MOST_OF_A_TRIP = 200
"""Executions of one round trip that are told."""


def orders(connection: Connection, asked: Orders) -> OrderPage:
    table = models.Order
    key = tuple_(table.created_ts, table.client_order_id)
    query = _chosen(asked)
    if asked.before is not None:
        query = query.where(key < asked.before)
    count = max(1, min(asked.count, MOST_ORDERS))
    newest = query.order_by(table.created_ts.desc(), table.client_order_id.desc())
    found = values_of(connection, newest.limit(count + 1), Order)
    page = tuple(found[:count])
    last = page[-1] if len(found) > count else None
    return OrderPage(page, None if last is None else (last.created_ts, last.client_order_id))


def _chosen(asked: Orders) -> Select[Any]:
    table = models.Order
    query = select(*table.__table__.columns)
    if asked.text:
        told = (table.client_order_id, table.venue_order_id, table.strategy, table.symbol)
        texts = (*told, table.reason)
        query = query.where(or_(*(t.icontains(asked.text, autoescape=True) for t in texts)))
    if asked.strategy:
        query = query.where(table.strategy == asked.strategy)
    if asked.symbol:
        query = query.where(table.symbol == asked.symbol)
    if asked.states:
        query = query.where(table.state.in_(asked.states))
    return query


def executions(connection: Connection, asked: Fills) -> FillPage:
    """Without what stands for an account's opening. An entry that reverses an execution is told by
    that one."""
    table, entry = models.Trade, aliased(models.Trade)
    told = (entry.symbol == table.symbol) & (entry.execution_id == table.execution_id + REVERSED)
    query = select(*table.__table__.columns, select(entry).where(told).exists().label("reversed"))
    for end in (OPENING, REVERSED):
        query = query.where(~table.execution_id.endswith(end, autoescape=True))
    if asked.text:
        ids = (table.execution_id, table.client_order_id, table.venue_order_id)
        texts = (*ids, table.strategy, table.symbol, table.venue)
        query = query.where(or_(*(t.icontains(asked.text, autoescape=True) for t in texts)))
    key = (table.ts, table.execution_id, table.symbol)
    if asked.before is not None:
        query = query.where(tuple_(*key) < asked.before)
    count = max(1, min(asked.count, MOST_FILLS))
    newest = query.order_by(*(column.desc() for column in key)).limit(count + 1)
    found = [_fill_row(**row) for row in connection.execute(newest).mappings()]
    page = tuple(found[:count])
    last = page[-1].fill if len(found) > count else None
    return FillPage(page, None if last is None else (last.ts, last.execution_id, last.symbol))


def _fill_row(*, reversed: bool, **fields: Any) -> FillRow:
    return FillRow(Fill(**fields), is_reversed=bool(reversed))


def fill(connection: Connection, execution_id: str, symbol: str) -> Fill:
    """Raises UserError where no such execution is recorded."""
    table = models.Trade
    is_it = (table.execution_id == execution_id) & (table.symbol == symbol)
    found = values_of(connection, select(*table.__table__.columns).where(is_it), Fill)
    if not found:
        what = f"no execution {clean(execution_id)} of {clean(symbol)} is recorded"
        raise UserError(what, "ask again in a moment")
    return found[0]


def fills(connection: Connection, position: Position) -> list[Fill]:
    """The executions of the round trip of `position` that is open, oldest first."""
    table = models.Trade
    of_it = (table.strategy == position.strategy) & (table.symbol == position.symbol)
    since = of_it & (table.ts >= position.opened_ts)
    query = select(*table.__table__.columns).where(since).order_by(table.ts).limit(MOST_OF_A_TRIP)
    return values_of(connection, query, Fill)


def equity(connection: Connection, asked: Equity) -> EquityCurve:
    """The points that were saved in the currency of the newest one: sums in another are no part of
    its curve."""
    table = models.EquityCurve
    newest = select(table.currency).order_by(table.ts.desc()).limit(1)
    currency = connection.scalar(newest)
    if currency is None:
        return EquityCurve("", ())
    wanted = (table.currency == currency) & (table.ts >= asked.since)
    most = max(4, min(asked.points, MOST_POINTS))
    numbered = select(
        *(table.ts, table.equity, table.cash),
        func.row_number().over(order_by=table.ts).label("number"),
        func.count().over().label("total"),
    )
    saved = numbered.where(wanted).subquery()
    stretch = (saved.c.number - 1) * ((most - 2) // 2) // saved.c.total
    worth = cast(saved.c.equity, Double)
    ranked = select(
        *saved.c,
        func.row_number().over(partition_by=stretch, order_by=worth).label("low"),
        func.row_number().over(partition_by=stretch, order_by=worth.desc()).label("high"),
    ).subquery()
    kept = or_(
        *(ranked.c.total <= most, ranked.c.low == 1, ranked.c.high == 1),
        *(ranked.c.number == 1, ranked.c.number == ranked.c.total),
    )
    query = select(ranked.c.ts, ranked.c.equity, ranked.c.cash).where(kept).order_by(ranked.c.ts)
    rows = connection.execute(query)
    return EquityCurve(currency, tuple(EquityPoint(*row) for row in rows))
