"""What is left to say of a session once the console has left the screen. Pure."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from engine.core.model import NANOS
from engine.view.snapshot import Snapshot
from tui import format

MOST_NAMED = 5
"""Positions that are named; of the rest, how many they are."""


def summary(snapshot: Snapshot, records: Path | None) -> list[str]:
    """What the engine of `snapshot` did since its start, and what is open; `records` is the folder
    of database, journals and log."""
    health = snapshot.health
    seconds = (snapshot.wall_ts - health.started_wall_ts) // NANOS if health is not None else None
    lasted = format.DASH if seconds is None else str(timedelta(seconds=seconds))
    where = f"{snapshot.mode.upper()}, account {snapshot.account or format.DASH}"
    told = {
        "session": f"{lasted} until {format.date_and_clock(snapshot.wall_ts)}, {where}",
        "orders": orders_of(snapshot),
        "P&L": pnl_of(snapshot),
        "fees": _amounts(snapshot.session.fees),
        "open": f"{_orders(snapshot)}; {_positions(snapshot)}",
    }
    if records is not None:
        told["records"] = str(records)
    return [f"{name:9}{text}" for name, text in told.items()]


def orders_of(snapshot: Snapshot) -> str:
    """How many orders the session made, and what became of them."""
    session = snapshot.session
    executions = format.plural(session.executions, "execution")
    return f"{session.orders}, {executions}, {session.rejected} rejected"


def pnl_of(snapshot: Snapshot) -> str:
    """What the session gained or lost."""
    closed = _amounts(snapshot.session.closed, signed=True)
    return f"closed positions {closed}; {_unrealised(snapshot)}"


def _unrealised(snapshot: Snapshot) -> str:
    """What the open positions gain or lose by now, and the day with it: dashes where a price is not
    known."""
    gains = [row.unrealised_pnl for row in snapshot.positions]
    made = None if None in gains else sum((gain for gain in gains if gain is not None), Decimal(0))
    day = format.money(snapshot.day_pnl, signed=True)
    return f"open {format.money(made, signed=True)}, day {day} {snapshot.currency}"


def _amounts(amounts: tuple[tuple[str, Decimal], ...], *, signed: bool = False) -> str:
    told = (f"{format.money(amount, signed=signed)} {currency}" for currency, amount in amounts)
    return ", ".join(told) or "none"


def _orders(snapshot: Snapshot) -> str:
    return format.plural(sum(order.is_open for order in snapshot.orders), "order")


def _positions(snapshot: Snapshot) -> str:
    held = list(_held(snapshot))
    more = f" and {len(held) - MOST_NAMED} more" if len(held) > MOST_NAMED else ""
    named = f" ({', '.join(held[:MOST_NAMED])}{more})" if held else ""
    return format.plural(len(held), "position") + named


def _held(snapshot: Snapshot) -> Iterator[str]:
    for row in snapshot.positions:
        if row.position.quantity and not row.dust:
            yield f"{format.quantity(row.position.quantity)} {row.position.symbol}"
