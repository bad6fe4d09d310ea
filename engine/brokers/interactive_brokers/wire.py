"""IB's words and numbers, and ours."""

from decimal import Decimal
from typing import TYPE_CHECKING

from engine.brokers.base import NotSent
from engine.core.model import OrderState, OrderTerms, OrderType, TimeInForce

if TYPE_CHECKING:
    import ib_async

S = OrderState

PREFIX = "interactive_brokers:"
TYPES = {
    OrderType.MARKET: "MKT",
    OrderType.LIMIT: "LMT",
    OrderType.STOP: "STP",
    OrderType.STOP_LIMIT: "STP LMT",
}
OUR_TYPES = {name: kind for kind, name in TYPES.items()}
TIMES = (TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK)
UNANSWERED = frozenset({"PendingSubmit", "ApiPending"})
ENDED = {
    "Filled": S.FILLED,
    "Cancelled": S.CANCELED,
    "ApiCancelled": S.CANCELED,
    "Inactive": S.REJECTED,
}
CANCELED = 202
NOT_CANCELED = frozenset({161, 10147, 10148})
"""A cancel that did not take. ib_async has the order as cancelled then, which it is not."""


def state_of(trade: "ib_async.Trade") -> OrderState:
    """Where IB has the order; one that an error ended was rejected."""
    status = trade.orderStatus
    state = ENDED.get(status.status)
    if state is S.CANCELED and trade.log and trade.log[-1].errorCode not in (0, CANCELED):
        return S.REJECTED
    return state or (S.PARTIALLY_FILLED if status.filled else S.ACCEPTED)


def is_still_there(trade: "ib_async.Trade") -> bool:
    """Whether ib_async has the order as cancelled because a cancel did not take."""
    return bool(trade.log) and trade.log[-1].errorCode in NOT_CANCELED


def terms_of(order: "ib_async.Order") -> OrderTerms:
    kind = OUR_TYPES.get(order.orderType, OrderType.MARKET)
    limited = kind in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    stopped = kind in (OrderType.STOP, OrderType.STOP_LIMIT)
    return OrderTerms(
        exact(order.totalQuantity),
        exact(order.lmtPrice) if limited else None,
        exact(order.auxPrice) if stopped else None,
    )


def exact(number: float | Decimal | None) -> Decimal:
    """The number that IB wrote."""
    return Decimal(str(number or 0))


def as_float(number: Decimal) -> float:
    """As it goes on the wire. Raises NotSent where that would be another number."""
    if Decimal(repr(float(number))) != number:
        raise NotSent(f"{number} cannot be told to Interactive Brokers exactly")
    return float(number)
