"""Finds in the audit log how an order came about.

The log has no index by order. Its rows are in the order of time, so those around the beginning and
the end of an order are found by bisection, and no more than a set number of them is read.
"""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, RowMapping, func, select

from engine.core import events
from engine.core.events import BarCorrected, Event, OrderEvent, OrderIntended
from engine.core.model import MINUTE, Order
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.store import models
from engine.store.statements import values_of

MOST_READ = 20_000
"""Rows that are looked through at the beginning of an order, and as many before its end."""
MOST_FOUND = 200
AFTERWARDS = 5 * MINUTE
"""How long after the last change of an order it is looked for what it came from being corrected."""


class Until(Struct, frozen=True):
    """A moment of the session that `began` at a market time: the market time then (both ns UTC),
    and the number of the last fact till then."""

    ts: int
    seq: int
    began: int


Told = tuple[Order, list[Event], int]
"""An order, the facts of it and of what it came from, and how many rows were not looked at."""

_audit = models.AuditLog


def story(
    connection: Connection,
    client_order_id: str,
    until: Until | None = None,
    most: int = MOST_READ,
) -> Told:
    """Up to `until`, if that is given. Raises UserError where there is, or was, no such order."""
    by_id = models.Order.client_order_id == client_order_id
    query = select(*models.Order.__table__.columns).where(by_id)
    orders = values_of(connection, query, Order)
    if not orders:
        raise _unknown(client_order_id)
    order = orders[0]
    first = _first_since(connection, order.created_ts)
    end = _first_since(connection, order.updated_ts + 1)
    later = _first_since(connection, order.updated_ts + AFTERWARDS)
    stop = later if until is None else _end(connection, until)
    end = min(end, stop)
    early, late = first + most, max(first + most, end - most)
    named = _audit.payload.contains(msgspec.json.encode(client_order_id).decode(), autoescape=True)
    near = _audit.id.between(first, early - 1) | _audit.id.between(late, end - 1)
    last = min(later, stop, end + most)
    afterwards = _audit.id.between(end, last - 1) & (_audit.kind == BarCorrected.__name__)
    if until is not None:
        near &= _audit.id < stop
    rows = _rows(connection, (near | afterwards) & named)
    facts = _facts([*_origins(connection, rows), *rows])
    return _as_of(order, facts, until), facts, late - early


def at(connection: Connection, order: Order, until: Until) -> Order | None:
    """The order, which changed at `until` or since, as it was then; None where it was not there."""
    try:
        return story(connection, order.client_order_id, until)[0]
    except UserError:
        return None


def _as_of(order: Order, facts: Sequence[Event], until: Until | None) -> Order:
    """The order as it was at `until`: as the last of the `facts` till then has it, where it changed
    since."""
    if until is None or order.updated_ts < until.ts:
        return order
    told = [fact.order for fact in facts if isinstance(fact, OrderEvent)]
    own = [then for then in told if then.client_order_id == order.client_order_id]
    if not own:
        raise _unknown(order.client_order_id)
    return own[-1]


def _unknown(client_order_id: str) -> UserError:
    return UserError(f"no order {clean(client_order_id)} is recorded", "ask again in a moment")


def _end(connection: Connection, until: Until) -> int:
    """The id after the last row of that moment. Its session is that of the newest row of its time,
    and what came at the same time may have come later."""
    end = _first_since(connection, until.ts + 1)
    session = select(_audit.session).where(_audit.id == end - 1).scalar_subquery()
    is_later = (_audit.session == session) & (_audit.seq > until.seq)
    later = connection.scalar(select(_audit.id).where(is_later).order_by(_audit.seq).limit(1))
    return end if later is None else min(end, later)


def _first_since(connection: Connection, ts: int) -> int:
    """The id of the first row of the time `ts` or later; one past the last where there is none."""
    low, high = 1, (connection.scalar(select(func.max(_audit.id))) or 0) + 1
    while low < high:
        middle = (low + high) // 2
        found = connection.scalar(select(_audit.ts).where(_audit.id == middle))
        if found is not None and found >= ts:
            high = middle
        else:
            low = middle + 1
    return low


def _rows(connection: Connection, wanted: ColumnElement[bool]) -> Sequence[RowMapping]:
    columns = (_audit.session, _audit.seq, _audit.kind, _audit.payload)
    query = select(*columns).where(wanted).order_by(_audit.id).limit(MOST_FOUND)
    return connection.execute(query).mappings().all()


def _origins(connection: Connection, rows: Sequence[RowMapping]) -> Iterator[RowMapping]:
    """What the intent came from: an order's cause counts within its session."""
    for row in rows:
        if row["kind"] == OrderIntended.__name__:
            cause = msgspec.json.decode(row["payload"], type=OrderIntended).order.cause
            of_session = (_audit.session == row["session"]) & (_audit.seq == cause)
            yield from _rows(connection, of_session)


def _facts(rows: Sequence[RowMapping]) -> list[Event]:
    """Rows of a version that wrote them otherwise are left out."""
    found: list[Event] = []
    for row in rows:
        kind = getattr(events, row["kind"], None)
        try:
            fact = msgspec.json.decode(row["payload"], type=kind)
        except (msgspec.ValidationError, TypeError):
            continue
        if isinstance(fact, Event) and fact not in found:
            found.append(fact)
    return found
