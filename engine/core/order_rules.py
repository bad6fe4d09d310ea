"""What can be true of an order, its terms and its executions: checked before anything is sent, and
before anything that a venue says is believed."""

from decimal import Decimal

from engine.core.model import (
    Capabilities,
    Fill,
    Instrument,
    Order,
    OrderPurpose,
    OrderTerms,
    OrderType,
    TimeInForce,
)

LARGEST = Decimal(10) ** 18
"""No quantity or price is as large; beyond it the arithmetic would not be exact."""

LIMITED = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
STOPPED = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})


def order_fault(order: Order, instrument: Instrument, capabilities: Capabilities) -> str:
    """Why a venue would refuse `order`, with the numbers; empty where it keeps all rules."""
    if order.type not in capabilities.order_types:
        return f"order type {order.type} is not supported"
    if order.time_in_force not in capabilities.times_in_force:
        return f"time in force {order.time_in_force} is not supported"
    at_once = order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
    if at_once and order.type not in (OrderType.MARKET, OrderType.LIMIT):
        return f"a {order.type} order waits: it cannot be {order.time_in_force}"
    if order.oco_group and not capabilities.oco:
        return "one-cancels-other is not supported"
    return terms_fault(order, order.terms, instrument) or fraction_fault(order.terms, capabilities)


def fraction_fault(terms: OrderTerms, capabilities: Capabilities) -> str:
    """Why a venue takes no order for so much; empty where it does."""
    if capabilities.fractional or not terms.quantity % 1:
        return ""
    return f"quantity {terms.quantity} is no whole number: the venue trades no fractions"


def terms_fault(order: Order, terms: OrderTerms, instrument: Instrument) -> str:
    """Why `order` cannot have the terms, with the numbers; empty where it can."""
    if (terms.limit_price is not None) != (order.type in LIMITED):
        return f"a {order.type} order has {'no' if terms.limit_price else 'a'} limit price"
    if order.type in STOPPED and terms.stop_price is None:
        return f"a {order.type} order has a stop price"
    if order.type is OrderType.TRAILING_STOP and order.trail is None:
        return "a trailing stop has a trail"
    if fault := _step_fault("quantity", terms.quantity, instrument.lot, "lot"):
        return fault
    if terms.quantity < instrument.min_quantity:
        least = instrument.min_quantity.normalize()
        return f"quantity {terms.quantity} is below the minimum {least:f}"
    prices = {"limit price": terms.limit_price, "stop price": terms.stop_price,
              "trail": order.trail if order.type is OrderType.TRAILING_STOP else None}  # fmt: skip
    for name, price in prices.items():
        if price is not None and (fault := _step_fault(name, price, instrument.tick, "tick")):
            return fault
    price = terms.limit_price or terms.stop_price or order.reference_price
    notional = terms.quantity * price
    if price and notional < instrument.min_notional:  # without a price only its venue knows
        return f"notional {notional.normalize():f} is below the minimum {instrument.min_notional}"
    return ""


def _step_fault(name: str, value: Decimal, step: Decimal, unit: str) -> str:
    if not value.is_finite() or value >= LARGEST:
        return f"{name} {value:.6g} is not a number below {LARGEST:.0e}"
    if value <= 0 or value % step:
        return f"{name} {value} is not a positive multiple of the {unit} {step}"
    return ""


def in_lots(quantity: Decimal, instrument: Instrument) -> Decimal:
    """What of `quantity` can be ordered: rounded down to the lot."""
    return quantity - quantity % instrument.lot


def is_dust(quantity: Decimal, instrument: Instrument, price: Decimal | None) -> bool:
    """Whether `quantity` is too little for any order, at `price` where one is known.

    Commissions that are taken in the instrument itself leave such rests. Dust is held: it counts in
    equity, exposure and what is shown. It is no open position: nothing closes or protects it, no
    limit counts it and no entry waits for it. The next buy adds to it, and the next exit sells
    both.
    """
    return instrument.is_too_small(in_lots(abs(quantity), instrument), price)


def are_sound(terms: OrderTerms) -> bool:
    """Whether a venue can mean these terms."""
    numbers = (terms.quantity, terms.limit_price, terms.stop_price)
    return all(n is None or (n.is_finite() and 0 < n < LARGEST) for n in numbers)


def fill_fault(order: Order, fill: Fill) -> str:
    """Why an execution cannot be true of `order`; empty where it can."""
    if fault := number_fault(fill):
        return fault
    if fill.symbol != order.symbol or fill.side is not order.side:
        return "symbol or side is not the order's"
    most = max(order.quantity, order.pending_quantity or order.quantity)
    if order.filled + fill.quantity > most and order.purpose is not OrderPurpose.EXTERNAL:
        return "more than the order's quantity"
    return ""


def number_fault(fill: Fill) -> str:
    """Why the numbers of an execution make no sense; empty where they do."""
    numbers = (fill.price, fill.quantity, fill.commission, fill.commission_quantity)
    if not all(number.is_finite() for number in numbers):
        return "price, quantity or commission is not a number"
    if fill.price <= 0 or fill.quantity <= 0:
        return "price or quantity is not positive"
    if not 0 <= fill.commission_quantity < fill.quantity:
        return "the commission is not a part of the quantity"
    return ""
