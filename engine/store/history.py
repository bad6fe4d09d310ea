"""What the database answers: each function reads a bounded number of rows."""

from typing import Any

from sqlalchemy import Connection, Double, Select, cast, func, or_, select, tuple_

from engine.core.model import Fill, Order, Position
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.questions import (
    MOST_ORDERS,
    MOST_POINTS,
    Equity,
    EquityCurve,
    EquityPoint,
    OrderPage,
    Orders,
)
from engine.store import models
from engine.store.statements import values_of

MOST_FILLS = 200


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
    query = select(*table.__table__.columns).where(since).order_by(table.ts).limit(MOST_FILLS)
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
