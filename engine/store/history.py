"""What the database answers: each function reads a bounded number of rows."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.orm import aliased

from engine.core.average_cost import REVERSED
from engine.core.model import OPENING, Fill, Order, Position
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.store import audited, models
from engine.store.audited import Until
from engine.store.statements import values_of
from engine.view.questions import (
    MOST_FILLS,
    MOST_ORDERS,
    FillPage,
    Fills,
    OrderPage,
    Orders,
)
from engine.view.snapshot import FillRow

MOST_OF_A_TRIP = 200
"""Executions of one round trip that are told."""
NO_ORDERS: Mapping[str, Order] = {}
NO_FILLS: Mapping[tuple[str, str], FillRow] = {}

_TEXTS = ("client_order_id", "venue_order_id", "strategy", "symbol", "reason")


def orders(
    connection: Connection,
    asked: Orders,
    until: Until | None = None,
    known: Mapping[str, Order] = NO_ORDERS,
) -> OrderPage:
    """Up to `until`, where that is given, with each order as it was then; of those that are `known`
    that need not be looked for. Such a page may be shorter than was asked for."""
    table = models.Order
    key = tuple_(table.created_ts, table.client_order_id)
    wanted = _wanted(asked)
    if until is not None:
        wanted = _was_there(until, known) & (wanted | (table.updated_ts >= until.ts))
    query = select(*table.__table__.columns).where(wanted)
    if asked.before is not None:
        query = query.where(key < asked.before)
    count = max(1, min(asked.count, MOST_ORDERS))
    newest = query.order_by(table.created_ts.desc(), table.client_order_id.desc())
    found = values_of(connection, newest.limit(count + 1), Order)
    page = found[:count]
    last = page[-1] if len(found) > count else None
    before = None if last is None else (last.created_ts, last.client_order_id)
    if until is not None:
        then = (_at(connection, order, until, known) for order in page)
        page = [order for order in then if order is not None and _is_asked(order, asked)]
    return OrderPage(tuple(page), before)


def _was_there(until: Until, known: Mapping[str, Order]) -> ColumnElement[bool]:
    """What was made at the same time may have been made later: that is not known then."""
    table = models.Order
    new = [order.client_order_id for order in known.values() if order.created_ts == until.ts]
    return (table.created_ts < until.ts) | table.client_order_id.in_(new)


def _at(
    connection: Connection, order: Order, until: Until, known: Mapping[str, Order]
) -> Order | None:
    """The order as it was at `until`; None where it was not there yet."""
    then = known.get(order.client_order_id)
    if then is None and order.updated_ts >= until.ts:
        return audited.at(connection, order, until)
    return then or order


def _is_asked(order: Order, asked: Orders) -> bool:
    """Whether `_wanted` would find the order, had the database not another one by now."""
    texts = (getattr(order, name) for name in _TEXTS)
    return (
        any(asked.text.lower() in text.lower() for text in texts)
        and asked.strategy in ("", order.strategy)
        and asked.symbol in ("", order.symbol)
        and (not asked.states or order.state in asked.states)
    )


def _wanted(asked: Orders) -> ColumnElement[bool]:
    table = models.Order
    wanted: list[ColumnElement[bool]] = [true()]
    if asked.text:
        texts = (getattr(table, name) for name in _TEXTS)
        wanted.append(or_(*(t.icontains(asked.text, autoescape=True) for t in texts)))
    if asked.strategy:
        wanted.append(table.strategy == asked.strategy)
    if asked.symbol:
        wanted.append(table.symbol == asked.symbol)
    if asked.states:
        wanted.append(table.state.in_(asked.states))
    return and_(*wanted)


def executions(
    connection: Connection,
    asked: Fills,
    until: Until | None = None,
    known: Mapping[tuple[str, str], FillRow] = NO_FILLS,
) -> FillPage:
    """Without what stands for an account's opening. An entry that reverses an execution is told by
    that one. Up to `until` as `orders` are; `known` are the last that were heard of then, by
    execution id and symbol."""
    table, entry = models.Trade, aliased(models.Trade)
    told = (entry.symbol == table.symbol) & (entry.execution_id == table.execution_id + REVERSED)
    query = select(*table.__table__.columns, select(entry).where(told).exists().label("reversed"))
    for end in (OPENING, REVERSED):
        query = query.where(~table.execution_id.endswith(end, autoescape=True))
    if asked.text:
        ids = (table.execution_id, table.client_order_id, table.venue_order_id)
        texts = (*ids, table.strategy, table.symbol, table.venue)
        query = query.where(or_(*(t.icontains(asked.text, autoescape=True) for t in texts)))
    if until is not None:
        query = query.where(table.ts <= until.ts)
    key = (table.ts, table.execution_id, table.symbol)
    if asked.before is not None:
        query = query.where(tuple_(*key) < asked.before)
    count = max(1, min(asked.count, MOST_FILLS))
    newest = query.order_by(*(column.desc() for column in key)).limit(count + 1)
    found = [_fill_row(**row) for row in connection.execute(newest).mappings()]
    page = found[:count]
    last = page[-1].fill if len(found) > count else None
    before = None if last is None else (last.ts, last.execution_id, last.symbol)
    if until is not None:
        page = [then for row in page if (then := _fill_at(row, until, known)) is not None]
    return FillPage(tuple(page), before)


def _fill_at(
    row: FillRow, until: Until, known: Mapping[tuple[str, str], FillRow]
) -> FillRow | None:
    """The execution as it was told at `until`; None where nobody had heard of it yet, as happens
    to one of that session that is not known, and is no older than all that are."""
    fill = row.fill
    oldest = min((each.fill.ts for each in known.values()), default=0)
    is_older = fill.ts < max(until.began, oldest)
    return known.get((fill.execution_id, fill.symbol), row if is_older else None)


def _fill_row(*, reversed: bool, **fields: Any) -> FillRow:
    return FillRow(Fill(**fields), is_reversed=bool(reversed))


def fill(
    connection: Connection, execution_id: str, symbol: str, until: Until | None = None
) -> Fill:
    """Raises UserError where no such execution is, or was, recorded."""
    table = models.Trade
    is_it = (table.execution_id == execution_id) & (table.symbol == symbol)
    if until is not None:
        is_it &= table.ts <= until.ts
    found = values_of(connection, select(*table.__table__.columns).where(is_it), Fill)
    if not found:
        what = f"no execution {clean(execution_id)} of {clean(symbol)} is recorded"
        raise UserError(what, "ask again in a moment")
    return found[0]


def fills(connection: Connection, position: Position, until: Until | None = None) -> list[Fill]:
    """The executions of the round trip of `position` that is, or was, open, oldest first."""
    table = models.Trade
    of_it = (table.strategy == position.strategy) & (table.symbol == position.symbol)
    since = of_it & (table.ts >= position.opened_ts)
    if until is not None:
        since &= table.ts <= until.ts
    query = select(*table.__table__.columns).where(since).order_by(table.ts).limit(MOST_OF_A_TRIP)
    return values_of(connection, query, Fill)
