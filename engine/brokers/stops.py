"""Stops where a venue takes them with a limit alone: crypto at Alpaca
(https://docs.alpaca.markets/docs/crypto-orders) and everything at Coinbase
(https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/guides/orders).

Ours goes there as a stop-limit whose limit is so far beyond the stop that it fills as a stop does,
unless the market falls through both at once: then it rests at its limit, and the position is still
held. Its adapter tells it back as the stop that it stands for: no order of ours is a stop-limit
that was meant as one.
"""

from decimal import Decimal

from engine.core.model import Instrument, Side

BEYOND = Decimal("0.1")
"""How far its limit is from the stop, as a part of it."""


def limit_beyond(instrument: Instrument, side: Side, stop_price: Decimal) -> Decimal:
    """The limit price of what stands for a stop at `stop_price`."""
    return max(instrument.price(stop_price * (1 + side.sign * BEYOND)), instrument.tick)
