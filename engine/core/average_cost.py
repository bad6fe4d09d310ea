"""Positions by average cost: what an execution makes of one, and taking it out again."""

from collections import deque
from decimal import Decimal

from msgspec.structs import replace

from engine.core.model import ZERO, Fill, Instrument, Position, RoundTrip, Side
from engine.core.order_rules import in_lots, number_fault

REVERSED = ":reversed"
"""How the id of an entry ends that reverses an execution."""

Entry = tuple[Fill, Position]
"""An execution, and the position before it."""


def reversing(fill: Fill) -> Fill:
    """The entry that takes `fill` out of the ledger."""
    return replace(
        fill,
        execution_id=fill.execution_id + REVERSED,
        side=fill.side.opposite,
        commission=-fill.commission,
        commission_quantity=-fill.commission_quantity,
    )


def correction_fault(fill: Fill, correction: Fill) -> str:
    """Why `correction` cannot take the place of `fill`; empty where it can."""
    if fault := number_fault(correction):
        return fault
    if (fill.symbol, fill.side) != (correction.symbol, correction.side):
        return "symbol or side is not that of the execution it corrects"
    return ""


def restated(
    entries: deque[Entry], fill: Fill, correction: Fill | None, instrument: Instrument | None
) -> Position | None:
    """The position with `correction`, or nothing, in the place of `fill`; `entries` are brought up
    to date. None where they do not reach back so far."""
    number = next((n for n, (entry, _) in enumerate(entries) if entry == fill), None)
    if number is None:
        return None
    later = [entry for entry, _ in list(entries)[number + 1 :]]
    position = entries[number][1]
    while len(entries) > number:
        entries.pop()
    for entry in later if correction is None else [correction, *later]:
        entries.append((entry, position))
        position, _ = apply(position, entry, instrument)
    return position


def apply(
    position: Position, fill: Fill, instrument: Instrument | None
) -> tuple[Position, RoundTrip | None]:
    """The position after `fill`, by average cost, and the round trip where it closed one.

    A commission that was taken in the instrument itself makes what is held smaller, and is a
    commission of that quantity's value at the fill's price. A fill that passes through zero closes
    the position with one part and opens with the rest; its commission belongs to the closing part.
    Of an `instrument` that is known, a round trip ends where less than a lot is left.
    """
    signed = fill.position_change
    opens = not position.quantity or (position.quantity > 0) == (signed > 0)
    if opens:
        return _open(position, fill, abs(signed), fill.total_commission), None
    closing = min(abs(signed), abs(position.quantity))
    position, closed = _close(position, fill, closing, instrument)
    if closing < abs(signed):
        position = _open(position, fill, abs(signed) - closing, ZERO)
    return position, closed


def _open(position: Position, fill: Fill, quantity: Decimal, commission: Decimal) -> Position:
    signed = fill.side.sign * quantity
    before = position if position.quantity else _next_trip(position)
    before = before if before.opened_ts else replace(before, opened_ts=fill.ts)
    return replace(
        before,
        quantity=before.quantity + signed,
        cost=before.cost + signed * fill.price,
        commission=before.commission + commission,
        opened_quantity=before.opened_quantity + quantity,
        opened_notional=before.opened_notional + quantity * fill.price,
        trip_commission=before.trip_commission + commission,
    )


def _next_trip(position: Position) -> Position:
    """The round trip is over: what is left, if anything, begins the next one."""
    return replace(
        position,
        opened_quantity=abs(position.quantity) if position.quantity else ZERO,
        opened_notional=abs(position.cost) if position.quantity else ZERO,
        trip_pnl=ZERO,
        trip_commission=ZERO,
        opened_ts=0,
    )


def _close(
    position: Position, fill: Fill, quantity: Decimal, instrument: Instrument | None
) -> tuple[Position, RoundTrip | None]:
    flat = quantity == abs(position.quantity)
    signed = fill.side.sign * quantity
    released = position.cost if flat else -position.cost * signed / position.quantity
    pnl = -signed * fill.price - released
    after = replace(
        position,
        quantity=position.quantity + signed,
        cost=position.cost - released,
        realised_pnl=position.realised_pnl + pnl,
        commission=position.commission + fill.total_commission,
        trip_pnl=position.trip_pnl + pnl,
        trip_commission=position.trip_commission + fill.total_commission,
    )
    if flat:
        return after, _round_trip(
            position, after, fill, after.opened_quantity, after.opened_notional
        )
    if instrument is None or in_lots(abs(after.quantity), instrument):
        return after, None
    closed = after.opened_quantity - abs(after.quantity)
    notional = after.opened_notional - abs(after.cost)
    return _next_trip(after), _round_trip(position, after, fill, closed, notional)


def _round_trip(
    before: Position, after: Position, fill: Fill, quantity: Decimal, notional: Decimal
) -> RoundTrip:
    """Of `quantity`, which was opened for `notional`."""
    side = Side.BUY if before.quantity > 0 else Side.SELL
    return RoundTrip(
        before.strategy,
        before.symbol,
        side,
        quantity,
        notional / quantity,
        (notional + side.sign * after.trip_pnl) / quantity,
        before.opened_ts or fill.ts,
        fill.ts,
        after.trip_pnl - after.trip_commission,
        after.trip_commission,
    )
