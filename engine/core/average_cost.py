"""Positions by average cost: what an execution makes of one, and taking it out again."""

from collections import deque
from decimal import Decimal

from msgspec.structs import replace

from engine.core.model import ZERO, Fill, Position, RoundTrip, Side
from engine.core.order_rules import number_fault

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
    )


def correction_fault(fill: Fill, correction: Fill) -> str:
    """Why `correction` cannot take the place of `fill`; empty where it can."""
    if fault := number_fault(correction):
        return fault
    if (fill.symbol, fill.side) != (correction.symbol, correction.side):
        return "symbol or side is not that of the execution it corrects"
    return ""


def restated(entries: deque[Entry], fill: Fill, correction: Fill | None) -> Position | None:
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
        position, _ = apply(position, entry)
    return position


def apply(position: Position, fill: Fill) -> tuple[Position, RoundTrip | None]:
    """The position after `fill`, by average cost, and the round trip where it closed one.

    A fill that passes through zero closes the position with one part and opens with the rest; its
    commission belongs to the closing part.
    """
    signed = fill.side.sign * fill.quantity
    opens = not position.quantity or (position.quantity > 0) == (signed > 0)
    if opens:
        return _open(position, fill, fill.quantity, fill.commission), None
    closing = min(fill.quantity, abs(position.quantity))
    position, closed = _close(position, fill, closing)
    if closing < fill.quantity:
        position = _open(position, fill, fill.quantity - closing, ZERO)
    return position, closed


def _open(position: Position, fill: Fill, quantity: Decimal, commission: Decimal) -> Position:
    fresh = not position.quantity
    signed = fill.side.sign * quantity
    before = replace(position, opened_quantity=ZERO, opened_notional=ZERO, trip_pnl=ZERO,
                     trip_commission=ZERO, opened_ts=fill.ts) if fresh else position  # fmt: skip
    return replace(
        before,
        quantity=before.quantity + signed,
        cost=before.cost + signed * fill.price,
        commission=before.commission + commission,
        opened_quantity=before.opened_quantity + quantity,
        opened_notional=before.opened_notional + quantity * fill.price,
        trip_commission=before.trip_commission + commission,
    )


def _close(position: Position, fill: Fill, quantity: Decimal) -> tuple[Position, RoundTrip | None]:
    flat = quantity == abs(position.quantity)
    signed = fill.side.sign * quantity
    released = position.cost if flat else -position.cost * signed / position.quantity
    pnl = -signed * fill.price - released
    after = replace(
        position,
        quantity=position.quantity + signed,
        cost=position.cost - released,
        realised_pnl=position.realised_pnl + pnl,
        commission=position.commission + fill.commission,
        trip_pnl=position.trip_pnl + pnl,
        trip_commission=position.trip_commission + fill.commission,
    )
    return after, _round_trip(position, after, fill) if flat else None


def _round_trip(before: Position, after: Position, fill: Fill) -> RoundTrip:
    side = Side.BUY if before.quantity > 0 else Side.SELL
    return RoundTrip(
        before.strategy,
        before.symbol,
        side,
        after.opened_quantity,
        after.opened_notional / after.opened_quantity,
        (after.opened_notional + side.sign * after.trip_pnl) / after.opened_quantity,
        before.opened_ts,
        fill.ts,
        after.trip_pnl - after.trip_commission,
        after.trip_commission,
    )
