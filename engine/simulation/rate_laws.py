"""What each account's currency is worth, by books of its own."""

from fractions import Fraction

from engine.core.events import Event, RatePublished
from engine.core.machine import MachineConfig


class RateLaws:
    """The last rates in Canadian dollars that made sense. In the simulator each is published when
    it is told."""

    def __init__(self, config: MachineConfig) -> None:
        self._config = config
        self._currencies = {i.venue: i.currency for i in config.instruments}
        self._venues = {i.symbol: i.venue for i in config.instruments}
        self._cad = {"CAD": (0, Fraction(1))}

    def take_in(self, event: Event) -> None:
        match event:
            case RatePublished(currency=currency, rate=rate, published_ts=ts):
                if rate.is_finite() and rate > 0 and ts >= self._cad.get(currency, (0,))[0]:
                    self._cad[currency] = (ts, Fraction(rate))
            case _:
                pass

    def of_venue(self, venue: str) -> Fraction | None:
        """In the base currency; None while a rate is not known."""
        coins = self._config.stablecoins
        currency, base = self._currencies[venue], self._config.currency
        currency, base = coins.get(currency, currency), coins.get(base, base)
        if currency == base:
            return Fraction(1)
        if currency not in self._cad or base not in self._cad:
            return None
        return self._cad[currency][1] / self._cad[base][1]

    def worth(self, symbol: str) -> Fraction:
        """As `of_venue`, of what a symbol is traded in; nothing while that is not known, and then
        equity is not known either."""
        return self.of_venue(self._venues[symbol]) or Fraction(0)
