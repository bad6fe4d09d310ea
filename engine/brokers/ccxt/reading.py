"""What ccxt's exchanges tell, in the engine's words. Numbers come as text, times in ms UTC."""

from decimal import Decimal
from typing import Any

from engine.core.events import ExecutionReport, VenueOrder
from engine.core.model import (
    EXTERNAL,
    TIMES_IN_FORCE,
    ZERO,
    Fill,
    Liquidity,
    Order,
    OrderPurpose,
    OrderState,
    OrderTerms,
    OrderType,
    Quote,
    Side,
    TimeInForce,
)
from engine.core.text import clean

Told = dict[str, Any]
"""An order or a trade in the unified structure of ccxt."""

MS = 1_000_000
STATES = {
    "closed": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
}
FAILED = "FAILED"
"""At Coinbase, of an order that it took and then would not have; the library calls it canceled."""
TYPES = {
    ("market", False): OrderType.MARKET,
    ("limit", False): OrderType.LIMIT,
    ("market", True): OrderType.STOP,
    ("limit", True): OrderType.STOP_LIMIT,
}
LIMITED = (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.UNKNOWN)


def number(value: Any) -> Decimal | None:
    """None where there is none."""
    return None if value is None else Decimal(value)


def state_of(order: Told) -> OrderState:
    """Where it is; what is none of the final states works."""
    working = OrderState.PARTIALLY_FILLED if number(order["filled"]) else OrderState.ACCEPTED
    state = STATES.get(order["status"], working)
    is_failed = state is OrderState.CANCELED and order["info"].get("status") == FAILED
    return OrderState.REJECTED if is_failed else state


def report_of(order: Told, client_order_id: str, now: int) -> ExecutionReport:
    """Where an order is, without its executions."""
    return ExecutionReport(
        client_order_id,
        state_of(order),
        clean(order["id"] or ""),
        transact_ts=(order["lastUpdateTimestamp"] or 0) * MS,
        ts=now,
    )


def terms_of(order: Told) -> OrderTerms:
    """What it asks for."""
    stop = number(order["triggerPrice"] or order["stopLossPrice"] or order["takeProfitPrice"])
    limit = number(order["price"]) if _type_of(order) in LIMITED else None
    return OrderTerms(_quantity_of(order), limit, stop)


def venue_order_of(order: Told, symbol: str) -> VenueOrder:
    """An open order as it is listed."""
    terms = terms_of(order)
    created = (order["timestamp"] or 0) * MS
    listed = Order(
        client_order_id_of(order),
        EXTERNAL,
        symbol,
        Side(order["side"]),
        _type_of(order),
        terms.quantity,
        OrderPurpose.EXTERNAL,
        created,
        (order["lastUpdateTimestamp"] or 0) * MS or created,
        number(order["price"]) or terms.stop_price or ZERO,
        limit_price=terms.limit_price,
        stop_price=terms.stop_price,
        time_in_force=_time_in_force(order["timeInForce"]),
        filled=number(order["filled"]) or ZERO,
        avg_price=number(order["average"]),
        venue_order_id=clean(order["id"]),
    )
    return VenueOrder(listed, state_of(order))


def fill_of(trade: Told, symbol: str, client_order_id: str, base: str, quote: str) -> Fill:
    """One execution. Its id is the exchange's with those of the symbol and the order: of itself it
    is unique in neither, where both sides of a trade were ours.

    A fee in the instrument's `base` was taken of what was traded. One in a coin of neither
    (Binance's BNB, where the account has some and its settings say so) is not counted: its price is
    not known here, and it changes neither the position nor the cash.
    """
    price = Decimal(trade["price"])
    fee: Told = trade["fee"] or {}
    cost, paid_in = number(fee.get("cost")) or ZERO, fee.get("currency")
    return Fill(
        clean(f"{symbol}-{trade['order']}-{trade['id']}"),
        client_order_id,
        symbol,
        Side(trade["side"]),
        Decimal(trade["amount"]),
        price,
        cost if paid_in == quote else ZERO,
        trade["timestamp"] * MS,
        venue_order_id=clean(trade["order"]),
        commission_quantity=cost if paid_in == base else ZERO,
        liquidity=_liquidity_of(trade),
    )


def quote_of(book: Told, symbol: str, ts: int) -> Quote | None:
    """The best of both sides; None where one is missing, or they are no prices to trade on."""
    if not book["bids"] or not book["asks"]:
        return None
    bid, ask = book["bids"][0], book["asks"][0]
    if None in (*bid[:2], *ask[:2]):
        return None
    quote = Quote(symbol, ts, float(bid[0]), float(ask[0]), float(bid[1]), float(ask[1]))
    return quote if quote.is_sound else None


def client_order_id_of(told: Told) -> str:
    """Our name for an order, or for that of a trade; empty where it is not told.

    Of a trade ccxt passes it on as it came (`c` at Binance); of Kraken's orders it takes `userref`
    for it, a number that is not ours.
    """
    info: Told = told["info"]
    if "cl_ord_id" in info or "order_userref" in info or "userref" in info:
        return clean(info.get("cl_ord_id") or "")
    return clean(told.get("clientOrderId") or info.get("c") or "")


def state_after(trade: Told) -> OrderState:
    """Where a trade leaves its order: told with it as `X` at Binance, `order_status` at Kraken."""
    info: Told = trade["info"]
    status = str(info.get("X") or info.get("order_status")).lower()
    return OrderState.FILLED if status == "filled" else OrderState.PARTIALLY_FILLED


def _liquidity_of(trade: Told) -> Liquidity:
    """Of Kraken's stream ccxt says maker where nothing is told."""
    info: Told = trade["info"]
    said = trade.get("takerOrMaker")
    if said not in ("maker", "taker") or ("exec_type" in info and "liquidity_ind" not in info):
        return Liquidity.UNKNOWN
    return Liquidity(said)


def _type_of(order: Told) -> OrderType:
    """For ccxt a take-profit is a stop, and Kraken's trailing stop may be a limit."""
    details: Told = order["info"].get("descr") or {}
    is_trailing = "trailing" in str(details.get("ordertype"))
    if order["takeProfitPrice"] or is_trailing:
        return OrderType.UNKNOWN
    stops = bool(order["triggerPrice"] or order["stopLossPrice"])
    return TYPES.get((order["type"], stops), OrderType.UNKNOWN)


def _quantity_of(order: Told) -> Decimal:
    """Of the kinds of orders that ccxt does not know at Coinbase it leaves out for how much they
    are; where nobody says it, it is what has filled."""
    settings: dict[str, Told] = order["info"].get("order_configuration") or {}
    sizes: list[str] = [one["base_size"] for one in settings.values() if "base_size" in one]
    return Decimal(order["amount"] or (sizes or [order["filled"] or "0"])[0])


def _time_in_force(said: str | None) -> TimeInForce:
    lower = (said or "").lower()
    return TimeInForce(lower) if lower in TIMES_IN_FORCE else TimeInForce.UNKNOWN
