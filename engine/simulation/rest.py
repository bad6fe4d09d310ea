"""What must be true a minute after the last fault: I8, I16, and every position under its stop."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from engine.core.comparison import CENT
from engine.core.model import EXTERNAL, NANOS, KillAction, Mode, OrderPurpose, OrderState, Position
from engine.simulation.laws import law, sells
from engine.simulation.options import Fault
from engine.simulation.venue import held_of

if TYPE_CHECKING:
    from engine.simulation.host import Host
    from engine.simulation.world import World

S = OrderState
UNSETTLED = frozenset({S.INTENDED, S.SUBMITTED, S.IN_DOUBT, S.PENDING_CANCEL, S.PENDING_REPLACE})
NEW = 40 * NANOS
"""An order that is newer need not be visible at its venue yet, and may be in doubt."""


def check_rest(world: World) -> None:
    """Raises Violation where something is not at rest."""
    host = world.host
    if host is None:
        law(False, "I16", "no process runs")
        return
    since = world.schedule.now - NEW
    unsettled = [
        order
        for order in host.open_orders
        if order.state in UNSETTLED and order.created_ts <= since
    ]
    law(not unsettled, "I16 unsettled", unsettled)
    settled = world.schedule.now - world.options.config.stale_after
    stale = [
        symbol
        for symbol, market in host.machine.market.symbols.items()
        if market.stale and world.calendars.is_open(market.instrument.calendar, settled)
    ]
    law(not stale, "I16 stale", stale)
    _same_orders(world, host)
    _same_positions(world, host)
    _same_cash(world, host)
    _one_order_each(world)
    _nothing_sent_that_must_not(world)
    if not host.killed:
        _protected(host)
    _said_not_flat(host)


def _same_orders(world: World, host: Host) -> None:
    theirs = {key for venue in world.venues.values() for key in venue.open_orders()}
    ours = {order.client_order_id for order in host.open_orders}
    law(theirs == ours, "I8 orders", f"only there {theirs - ours}, only here {ours - theirs}")


def _same_positions(world: World, host: Host) -> None:
    theirs: dict[str, Decimal] = {}
    for venue in world.venues.values():
        for fill in venue.executions.values():
            theirs[fill.symbol] = theirs.get(fill.symbol, Decimal(0)) + held_of(fill)
    ours = host.machine.portfolio.positions.values()
    for symbol in host.machine.market.symbols:
        held = sum((p.quantity for p in ours if p.symbol == symbol), Decimal(0))
        there = theirs.get(symbol, Decimal(0))
        law(held == there, "I8 positions", f"{symbol}: {held} here, {there} at the venue")


def _same_cash(world: World, host: Host) -> None:
    """All that the executions that stand made of the cash at the start, at each venue; where it
    moved without a trade, somebody took that over."""
    allowed = CENT if world.options.faults[Fault.CASH_MOVED] else 0
    for name, here in host.machine.portfolio.cash.items():
        there = world.venues[name].cash
        law(abs(here - there) <= allowed, "I4", f"cash is {here} here, and {there} at {name}")


def _one_order_each(world: World) -> None:
    for venue in world.venues.values():
        for key, times in venue.submits.items():
            law(times == 1, "I21", f"{key} was sent {times} times")
        for key, times in venue.accepted.items():
            law(times == 1, "I2", f"{key} was accepted {times} times")


def _nothing_sent_that_must_not(world: World) -> None:
    """The venues' own count: a dry run sends nothing, and a real account gets an order in live mode
    alone, which no other account does."""
    config = world.options.config
    is_live = config.mode is Mode.LIVE
    for venue in world.venues.values():
        if venue.submits:
            law(not config.safety.dry_run, "dry run", venue.submits)
            law(venue.options.live == is_live, "I11", venue.submits)
            law(config.safety.allow_live or not is_live, "I11", venue.submits)


def _protected(host: Host) -> None:
    """Each long position has exactly one order that closes just what is held, or linked ones (one
    cancels the other) that each do."""
    orders = host.open_orders
    refused = {leg[:2] for leg in host.machine.desk.protection.refused}
    for position in host.machine.portfolio.positions.values():
        closing = {
            order.oco_group or order.client_order_id: order.leaves
            for order in orders
            if (order.strategy, order.symbol) == (position.strategy, position.symbol)
            and order.purpose is not OrderPurpose.ENTRY
        }
        if position.strategy == EXTERNAL:
            continue
        if host.machine.parts.objection(position.strategy, position.symbol):
            continue  # its strategy, symbol or broker is killed
        if (position.strategy, position.symbol) in refused or position.quantity < 0:
            continue  # the venue rejected its stop; or sold twice by a fill after its cancel
        left, is_open = _left_by_others(host, position), _is_open(host, position)
        instrument = host.machine.market.symbols[position.symbol].instrument
        left -= left % instrument.lot
        wanted = [left] if left else []
        holds = list(closing.values()) == wanted or not (closing or is_open)
        law(holds, "protected", f"{position} by {closing}")


def _said_not_flat(host: Host) -> None:
    """What a kill that flattens left, the operator is told of, with a reason."""
    kill = host.machine.safety.kill
    if kill.tripped and kill.action is KillAction.FLATTEN:
        told = {(p.position.strategy, p.position.symbol) for p in host.machine.desk.not_flat()}
        for position in host.machine.portfolio.positions.values():
            key = (position.strategy, position.symbol)
            if _is_open(host, position) and _left_by_others(host, position):
                law(key in told, "not flat", position)


def _is_open(host: Host, position: Position) -> bool:
    market = host.machine.market.symbols[position.symbol]
    return sells(market.instrument, position.quantity, market.mark)


def _left_by_others(host: Host, position: Position) -> Decimal:
    """What of a long position its account still has: what others sold at the venue is missing from
    the strategies in the order of their names, and what these sold too much from the others'."""
    held = {
        p.strategy: p.quantity
        for p in host.machine.portfolio.positions.values()
        if p.symbol == position.symbol
    }
    others = held.pop(EXTERNAL, Decimal(0))
    if position.strategy == EXTERNAL:
        return max(Decimal(0), others + sum(quantity for quantity in held.values() if quantity < 0))
    sold = max(Decimal(0), -others)
    before = sum(held[name] for name in held if name < position.strategy and held[name] > 0)
    return position.quantity - min(position.quantity, max(Decimal(0), sold - before))
