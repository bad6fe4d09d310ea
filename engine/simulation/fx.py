"""What currencies are worth, as a seed has it: rates that move, and damage."""

from decimal import Decimal
from random import Random

from engine.core.events import RatePublished
from engine.simulation.options import Options

FIRST = {"USD": Decimal("1.3500"), "JPY": Decimal("0.0090")}
"""Canadian dollars a unit."""
NAMES = {"USDT": "USD"}


class Fx:
    """`rates` are the last ones that make sense, of the currencies that the seed's accounts need:
    none where all are in the base currency."""

    def __init__(self, options: Options) -> None:
        self._random = Random(f"rates {options.seed}")
        config = options.config
        named = {i.currency for i in config.instruments} | {config.currency}
        needed = sorted({NAMES.get(name, name) for name in named})
        self.rates = {
            name: RatePublished(name, FIRST[name], "simulated", options.start)
            for name in needed
            if len(needed) > 1 and name in FIRST
        }

    def keep(self, event: RatePublished) -> None:
        if event.currency in self.rates and event.rate.is_finite():
            self.rates[event.currency] = event

    def moved(self, now: int, *, calm: bool) -> RatePublished:
        """A step of a rate: mostly small, now and then so large that a loss limit is crossed."""
        name = self._random.choice(list(self.rates))
        if not calm and self._random.random() < 0.1:
            return RatePublished(name, Decimal("NaN"), "damage", now)
        step = self._random.uniform(-0.002, 0.002)
        if not calm and self._random.random() < 0.05:
            step *= 50
        rate = (self.rates[name].rate * Decimal(repr(1 + step))).quantize(Decimal("0.000001"))
        event = RatePublished(name, rate, "simulated", now)
        self.keep(event)
        return event
