"""The price of one symbol as it goes, and what a bad feed makes of it."""

from collections import deque
from collections.abc import Callable
from math import nan
from random import Random

from msgspec.structs import replace

from engine.core.model import NANOS, Bar, Instrument, Quote
from engine.simulation.options import Fault

BAR = 15 * NANOS
BARS_KEPT = 45
"""More than the sizing by volatility asks for."""


class Path:
    """A random walk with quotes and bars, of which `history` close before `start` (ns UTC). What
    `quote` answers is true of the venue; `told` is what the feed makes of it. `still` holds the
    price; while it is `halted` there are no quotes."""

    def __init__(
        self,
        instrument: Instrument,
        random: Random,
        chance: Callable[[Fault], bool],
        start: int,
        history: int,
    ) -> None:
        self.instrument = instrument
        self._random = random
        self._chance = chance
        self._width = random.choice((0.0005, 0.002, 0.01))
        self.price = 100.0
        self.still = False
        self.halted = False
        self.bars: deque[Bar] = deque(maxlen=BARS_KEPT)
        self._prices: list[float] = []
        for number in range(history, 0, -1):
            self._walk()
            self.bars.append(self._bar(start - number * BAR, [self.price]))

    def quote(self, now: int, size: float) -> Quote:
        """The next quote, rounded to the tick."""
        self._walk()
        price = self.price
        if self._chance(Fault.SPIKE):
            price *= self._random.choice((10, 0.01))
        self._prices.append(price)
        tick = float(self.instrument.tick)
        mid = round(price / tick) * tick
        bid = max(tick, round(mid - tick, 6))
        return Quote(self.instrument.symbol, now, bid, round(bid + 2 * tick, 6), size, size)

    def _walk(self) -> None:
        width = 0.0 if self.still else self._width
        self.price = max(1.0, self.price * (1 + self._random.uniform(-width, width)))

    def told(self, quote: Quote) -> Quote:
        """What the feed makes of a quote."""
        if not self._chance(Fault.BAD_QUOTE):
            return quote
        bad = self._random.choice((nan, 0.0, -1.0, float("inf"), 2 * quote.ask))
        return replace(quote, bid=bad) if self._random.random() < 0.5 else replace(quote, ask=bad)

    def bar(self, now: int) -> list[Bar]:
        """The bar that closes now, as the feed tells it: nothing where it has a hole."""
        prices, self._prices = self._prices or [self.price], []
        bar = self._bar(now, prices)
        self.bars.append(bar)
        if not self._chance(Fault.BAD_BAR):
            return [bar]
        corrected = replace(bar, close=bar.low)
        return self._random.choice(([], [bar, corrected], [replace(bar, high=nan)], [bar, bar]))

    def _bar(self, now: int, prices: list[float]) -> Bar:
        ohlc = prices[0], max(prices), min(prices), prices[-1]
        return Bar(self.instrument.symbol, now, *ohlc, 1000.0, interval=BAR)
