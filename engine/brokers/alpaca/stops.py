"""Stops of crypto, which Alpaca takes with a limit alone
(https://docs.alpaca.markets/docs/crypto-orders: market, limit and stop_limit; gtc and ioc).

Ours goes there as a stop-limit whose limit is so far beyond the stop that it fills as a stop does,
unless the market falls through both at once: then it rests at its limit, and the position is still
held. `answers.Order` tells it back as the stop that it stands for.
"""

from decimal import Decimal

from engine.core.model import AssetClass, Instrument, Order, OrderType, Side

BEYOND = Decimal("0.1")
"""How far its limit is from the stop, as a part of it."""


def goes_with_limit(order: Order, instrument: Instrument) -> bool:
    return order.type is OrderType.STOP and instrument.asset_class is AssetClass.CRYPTO


def limit_beyond(instrument: Instrument, side: Side, stop_price: Decimal) -> Decimal:
    """The limit price of what stands for a stop at `stop_price`."""
    return max(instrument.price(stop_price * (1 + side.sign * BEYOND)), instrument.tick)
