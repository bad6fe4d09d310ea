"""IB's words and numbers, and ours."""

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from engine.brokers.base import NotPermitted, NotSent
from engine.core.model import Liquidity, OrderState, OrderTerms, OrderType, TimeInForce
from engine.core.order_rules import LARGEST
from engine.core.text import clean

if TYPE_CHECKING:
    import ib_async

S = OrderState

PREFIX = "interactive_brokers:"
CANADIAN = ".TO"
"""How the name of a stock ends that is traded in Canadian dollars, as in SHOP.TO."""
TYPES = {
    OrderType.MARKET: "MKT",
    OrderType.LIMIT: "LMT",
    OrderType.STOP: "STP",
    OrderType.STOP_LIMIT: "STP LMT",
}
OUR_TYPES = {name: kind for kind, name in TYPES.items()}
LIQUIDITY = {1: Liquidity.MAKER, 2: Liquidity.TAKER}
"""https://interactivebrokers.github.io/tws-api/classIBApi_1_1Execution.html (LastLiquidity)"""
TIMES = (TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK)
OUR_TIMES = {kind.upper(): kind for kind in TIMES}
UNANSWERED = frozenset({"PendingSubmit", "ApiPending"})
ENDED = {
    "Filled": S.FILLED,
    "Cancelled": S.CANCELED,
    "ApiCancelled": S.CANCELED,
    "Inactive": S.REJECTED,
}
CANCELED = 202
REFUSED = frozenset({109, 110, 111, 200, 201, 203, 321, 434})
"""Of a new order: IB does not take it. Of any other code that is not sure."""
TOO_LATE = frozenset({161, 10147, 10148})
"""Of a cancel: the order has ended. It was not rejected."""
REMARKS = frozenset({399, 404, 10349})
"""Said of orders that stay: when it will work, what it waits for, what a preset made of it."""
LIVE_DATA = 1
"""The type of market data that can be traded on: others are frozen or delayed."""
NO_SUCH = frozenset({200})
NO_HISTORY = 162
NO_MARKET_DATA = frozenset({354, 10089, 10090, 10167, 10168, 10186, 10197})
"""Not subscribed to, or in use by another session of the same user."""


class NothingThere(NotSent):
    """Interactive Brokers has nothing of what was asked for."""


def stock_of(symbol: str) -> tuple[str, str]:
    """What IB calls a stock of ours, and the currency that it is traded in: classes of shares have
    a space there, as in BRK B."""
    name = symbol.removeprefix(PREFIX)
    currency = "CAD" if name.endswith(CANADIAN) else "USD"
    return name.removesuffix(CANADIAN).replace(".", " "), currency


def perm_id(trade: "ib_async.Trade") -> int:
    """The id that IB gave the order for good; 0 until it has told of it."""
    return trade.orderStatus.permId or trade.order.permId


def _code(trade: "ib_async.Trade") -> int:
    """The error that ib_async noted last; 0 where a message of the order's state came after it."""
    return trade.log[-1].errorCode if trade.log else 0


def is_refused(trade: "ib_async.Trade") -> bool:
    """Whether IB never took the order."""
    return not perm_id(trade) and _code(trade) in REFUSED


def is_guess(trade: "ib_async.Trade") -> bool:
    """Whether ib_async has the order as cancelled only because IB said something of it: of a cancel
    that did not take, of a replace that was refused, of a preset. It may be open all the same."""
    is_told = _code(trade) in (0, CANCELED) or is_refused(trade)
    return trade.orderStatus.status == "Cancelled" and not is_told


def has_ended(trade: "ib_async.Trade") -> bool:
    """Whether an order that IB does not list as open has ended, or never was; where neither is
    known, it may be on its way."""
    guessed = is_guess(trade) and not perm_id(trade)
    return is_refused(trade) or (trade.isDone() and not guessed)


def is_answered(trade: "ib_async.Trade") -> bool:
    """Whether it is known what became of a new order."""
    status = trade.orderStatus.status
    if is_guess(trade):
        return False
    if status == "ValidationError":  # a warning, that may come before the answer
        return bool(perm_id(trade)) or is_refused(trade)
    return status not in UNANSWERED


def state_of(trade: "ib_async.Trade") -> OrderState:
    """Where IB has the order; one that an error ended was rejected, unless that told of a cancel
    that there was nothing left to cancel."""
    status = trade.orderStatus
    if is_refused(trade) or (is_guess(trade) and _code(trade) not in TOO_LATE):
        return S.REJECTED
    return ENDED.get(status.status) or (S.PARTIALLY_FILLED if status.filled else S.ACCEPTED)


def corrected(execution_id: str, known: Iterable[str]) -> str:
    """Which of the `known` executions this one takes the place of: IB counts corrections up in the
    last part of an id. Empty where there is none."""
    name, _, number = execution_id.rpartition(".")
    parts = (each.rpartition(".") for each in known)
    former = [part[2] for part in parts if part[0] == name and part[2] < number]
    return f"{name}.{max(former)}" if former else ""


def refusal(code: int, text: str) -> NotSent:
    """What IB answers to a question, as an error of ours."""
    if code in NO_SUCH or (code == NO_HISTORY and "no data" in text):
        return NothingThere(f"Interactive Brokers: {clean(text)}")
    if code in NO_MARKET_DATA:
        return NotPermitted(f"Interactive Brokers gives no live market data: {clean(text)}")
    return NotSent(f"Interactive Brokers: {clean(text)}")


def terms_of(order: "ib_async.Order") -> OrderTerms:
    kind = OUR_TYPES.get(order.orderType, OrderType.UNKNOWN)
    limited = kind in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    stopped = kind in (OrderType.STOP, OrderType.STOP_LIMIT)
    return OrderTerms(
        exact(order.totalQuantity),
        exact(order.lmtPrice) if limited else None,
        exact(order.auxPrice) if stopped else None,
    )


def time_in_force_of(order: "ib_async.Order") -> TimeInForce:
    """Where IB writes none it is for the day."""
    return OUR_TIMES.get(order.tif or "DAY", TimeInForce.UNKNOWN)


def exact(number: float | Decimal | None) -> Decimal:
    """The number that IB wrote."""
    return Decimal(str(number or 0))


def amount(text: str) -> Decimal | None:
    """The money that IB wrote; None where it knows of none: then it writes nothing, no number, or
    the largest that a float can be."""
    try:
        told = Decimal(text)
    except InvalidOperation:
        return None
    return told if told.is_finite() and abs(told) < LARGEST else None


def as_float(number: Decimal) -> float:
    """As it goes on the wire. Raises NotSent where that would be another number."""
    if Decimal(repr(float(number))) != number:
        raise NotSent(f"{number} cannot be told to Interactive Brokers exactly")
    return float(number)
