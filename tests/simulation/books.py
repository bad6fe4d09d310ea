"""Both sides of a session: the books of a loopback venue, and what the engine and its database
have of the same account."""

from collections import Counter
from collections.abc import Iterable

from engine.core.model import (
    ZERO,
    Fill,
    Order,
    OrderPurpose,
    OrderState,
)
from engine.host.runtime import Runtime
from engine.ops.settings import Settings
from engine.simulation.laws import law
from engine.simulation.process_laws import Succession
from engine.store.ledger import standing
from engine.view.snapshot import Snapshot
from tests.brokers.contract import WiredPeer
from tests.loopback.venue import Placed

MOVING = {OrderState.INTENDED, OrderState.SUBMITTED, OrderState.IN_DOUBT} | {
    OrderState.PENDING_CANCEL,
    OrderState.PENDING_REPLACE,
}


class Books:
    """`by_hand` are the numbers of the orders that no engine sent; `submits_at_kill` is how many
    submits the venue had got when the kill switch had tripped."""

    def __init__(self, peer: WiredPeer, settings: Settings) -> None:
        self._peer = peer
        self._settings = settings
        self.by_hand: set[int] = set()
        self.submits_at_kill: int | None = None

    def compare(self, succession: Succession) -> None:
        """I1, I2, I5, I8 and I21, by the venue's own books. Raises Violation."""
        now, sent = succession.now, succession.sent
        requests = self._peer.faults.requests["submit"]
        law(requests <= len(sent), "I21: one send", (requests, len(sent)))
        if self.submits_at_kill is not None:
            law(requests == self.submits_at_kill, "I5: a submit after the kill", requests)
        ours = self.ours()
        law(len(ours) <= requests, "I2", (len(ours), requests))
        for placed in ours:
            key = placed.order.client_order_id
            if self._peer.broker.capabilities.client_order_ids:
                law(key in now.orders, "I1", placed.order)
                law(sum(p.order.client_order_id == key for p in ours) == 1, "I2", placed.order)
        differences = self.differences(now.orders.values(), now.trades.values())
        law(not differences, "I8", differences)

    def ours(self) -> list[Placed]:
        """The orders at the venue that an engine sent."""
        apart = self.by_hand | set(self._peer.successors)
        return [placed for placed in self._peer.venue.orders.values() if placed.number not in apart]

    def differences(self, orders: Iterable[Order], trades: Iterable[Fill]) -> list[str]:
        """What the venue has otherwise than the database."""
        trades = list(trades)
        venue = self._peer.venue
        spent = sum((fill.cash_change for fill in trades), self._settings.starting_cash)
        held = sum((fill.position_change for fill in trades), ZERO)
        pairs: dict[str, tuple[object, object]] = {
            "open orders": (
                Counter(_terms(p.order) for p in venue.open),
                Counter(_terms(o) for o in orders if o.is_open),
            ),
            "executions": (
                Counter(map(_traded, venue.fills)),
                Counter(map(_traded, standing(trades))),
            ),
            "position": (venue.positions.get(self._peer.symbol, ZERO), held),
            "cash": (venue.cash, spent),
        }
        return [
            f"{what}: there {there}, here {here}"
            for what, (there, here) in pairs.items()
            if there != here
        ]

    def unsettled(self, runtime: Runtime, snapshot: Snapshot | None) -> list[str]:
        """What an answer is still waited for, and what the venue has otherwise than the engine."""
        if snapshot is None or not all(b.connected for b in snapshot.brokers):
            return [f"no connection: {snapshot and snapshot.brokers}"]
        venue, name = self._peer.venue, self._peer.broker.name
        orders = runtime.machine.orders.open.values()
        moving = [f"{o.client_order_id} {o.state}" for o in orders if _moves(o, name)]
        there = Counter(_terms(p.order) for p in venue.open)
        here = Counter(map(_terms, orders))
        held = sum((row.position.quantity for row in snapshot.positions), ZERO)
        holds = venue.positions.get(self._peer.symbol, ZERO)
        if there != here:
            moving.append(f"open orders: there {there}, here {here}")
        if held != holds:
            moving.append(f"position: there {holds}, here {held}")
        if snapshot.cash != venue.cash:
            moving.append(f"cash: there {venue.cash}, here {snapshot.cash}")
        return moving


def _moves(order: Order, broker: str) -> bool:
    """Whether an answer about `order` is waited for. At Interactive Brokers nobody but its maker
    can cancel one that is not ours."""
    is_external = order.purpose is OrderPurpose.EXTERNAL
    if broker == "interactive_brokers" and is_external:
        return order.state in MOVING - {OrderState.PENDING_CANCEL}
    return order.state in MOVING


def _terms(order: Order) -> tuple[object, ...]:
    """Of an order that is not ours, its executions do not tell the type."""
    return (order.side, order.quantity.normalize(), order.filled.normalize())


def _traded(fill: Fill) -> tuple[object, ...]:
    return (fill.side, fill.quantity.normalize(), fill.price.normalize())
