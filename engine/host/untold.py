"""What a broker's stream did not tell of, found by the orders that the broker lists as open.

A stream may be connected, answer pings, and say nothing: an execution would then be known when the
next statement is due, minutes later, and its position have no stop until then. The list is one
request for all orders. Where it has one otherwise, the statement is due at once.
"""

from collections.abc import Iterable, Sequence

from engine.core.events import VenueOrder
from engine.core.model import Order, OrderState

LOOK_S = 5.0
"""How often the list is asked for while an order works."""
GRACE_S = 1.0
"""What the list has otherwise may be on its way to us: it is believed if it still is so then."""
WORKING = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED})


def untold(working: Iterable[Order], listed: Sequence[VenueOrder]) -> list[Order]:
    """The orders that the venue does not list as open, or of which it has more filled."""
    filled = {id: row.order.filled for row in listed for id in _ids(row.order)}
    found: list[Order] = []
    for order in working:
        theirs = [filled[id] for id in _ids(order) if id in filled]
        if not theirs or max(theirs) > order.filled:
            found.append(order)
    return found


def _ids(order: Order) -> Iterable[tuple[str, str]]:
    """What an order goes by: Binance gives the same venue ids in each symbol."""
    if order.client_order_id:
        yield "", order.client_order_id
    if order.venue_order_id:
        yield order.symbol, order.venue_order_id
