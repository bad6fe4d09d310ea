"""How much to trade."""

from decimal import Decimal

from engine.core.model import ZERO, Instrument

HEADROOM = Decimal("0.99")
"""Sized to 99 % of a limit: prices move between the decision and the submit."""


def fixed_fraction(
    instrument: Instrument, price: Decimal, budget: Decimal, held: Decimal
) -> Decimal:
    """The quantity that brings a position's notional to `budget`, less the notional `held`.

    Rounded down to the lot; zero where less than the smallest order is left.
    """
    notional = budget * HEADROOM - held
    if notional <= 0 or price <= 0:
        return ZERO
    quantity = instrument.quantity(notional / price)
    return quantity if quantity * price >= instrument.min_notional else ZERO
