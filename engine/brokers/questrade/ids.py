"""Which of Questrade's orders are ours: it keeps no client order ids."""

from collections.abc import Sequence

from engine.brokers.base import InDoubt
from engine.brokers.questrade.wire import (
    REPLACED,
    ExecutionRow,
    OrderRow,
    name_of,
    side_of,
    time_of,
)
from engine.core.model import NANOS, Order
from engine.core.newest import Newest

KEPT = 10_000
EARLIER = 5 * NANOS
LATER = 120 * NANOS
"""How far from an order's creation here its creation at Questrade may be: the clocks differ, and
intent, queue and wire take their time."""


class OrderIds:
    """What was learnt of Questrade's ids, and the submits that have no answer yet.

    An order whose answer was lost is known by its symbol, side, quantity and prices, and the time
    of its creation. That cannot tell it from one which a person, or another program, made on the
    same terms within the same two minutes; nor from one of ours on the same terms whose id is not
    known here, such as a second one whose answer was lost too. Where several are like it, none is
    taken for it: that is for a person to decide.
    """

    def __init__(self) -> None:
        self._owners: Newest[int, str] = Newest(KEPT)
        self._newest: Newest[str, int] = Newest(KEPT)
        self._unanswered: dict[str, Order] = {}

    def expect(self, order: Order) -> None:
        """Its submit is about to leave."""
        over = order.created_ts - LATER
        self._unanswered = {
            key: other for key, other in self._unanswered.items() if other.created_ts > over
        }
        self._unanswered[order.client_order_id] = order

    def forget(self, order: Order) -> None:
        """Questrade does not have it."""
        self._unanswered.pop(order.client_order_id, None)

    def is_expected(self, row: ExecutionRow, now: int) -> bool:
        """Whether the execution may be of a submit that has no answer yet."""
        return not self.owner(row) and any(
            name_of(order.symbol) == row.symbol and now < order.created_ts + LATER
            for order in self._unanswered.values()
        )

    def learn(self, client_order_id: str, row: OrderRow) -> None:
        """`row` is where that order is now."""
        self._unanswered.pop(client_order_id, None)
        for order_id in (row.id, row.chain):
            self._owners[order_id] = client_order_id
        if row.state != REPLACED:
            self._newest[client_order_id] = row.id

    def newest(self, order: Order) -> int | None:
        """The id by which the order can be asked for; None where Questrade never named it."""
        named = int(order.venue_order_id) if order.venue_order_id.isdecimal() else None
        return self._newest.get(order.client_order_id, named)

    def owner(self, row: OrderRow | ExecutionRow) -> str:
        """The client order id of what is ours; empty where it is not known to be."""
        named = row.id if isinstance(row, OrderRow) else row.order_id
        return self._owners.get(named) or self._owners.get(row.chain, "")

    def claim(self, row: OrderRow) -> str:
        """As `owner`; an order that is told of before its submit is answered is that submit's."""
        owner = self.owner(row)
        if not owner:
            alike = (key for key, order in self._unanswered.items() if _are_alike(order, row))
            owner = next(alike, "")
        if owner:
            self.learn(owner, row)
        return owner

    def find(self, order: Order, rows: Sequence[OrderRow]) -> OrderRow | None:
        """Where `order` is among those that Questrade lists, as it is now; None where it is not.
        Raises InDoubt where several may be it."""
        chains = {
            row.chain
            for row in rows
            if self.owner(row) == order.client_order_id or str(row.chain) == order.venue_order_id
        } or {row.chain for row in rows if not self.owner(row) and _are_alike(order, row)}
        if len(chains) > 1:
            raise InDoubt(f"{len(chains)} orders at Questrade are like it: look there which is it")
        return max((r for r in rows if r.chain in chains), key=lambda r: r.id, default=None)


def _are_alike(order: Order, row: OrderRow) -> bool:
    return (
        name_of(order.symbol) == row.symbol
        and order.side is side_of(row.side)
        and order.terms == row.terms
        and order.created_ts - EARLIER <= time_of(row.creation_time) <= order.created_ts + LATER
    )
