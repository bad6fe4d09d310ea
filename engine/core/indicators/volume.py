"""What was traded, and at which price."""

from math import inf, nan
from typing import TYPE_CHECKING

from engine.core.indicators.averages import SMA
from engine.core.indicators.base import Indicator, line, whole

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import ArrayLike, NDArray


class VolumeAverage(Indicator):
    """The mean volume of the `period` bars before each bar: what its own is measured against.

    The bar's own volume is not in it, or a large one would raise the measure that it is held to.
    TA-Lib has no such function: it is its SMA of the volume, a bar later.
    """

    __slots__ = ("_mean", "_sma", "period")

    def __init__(self, period: int) -> None:
        self.period = whole(self, "period", period)
        super().__init__(period + 1)

    def reset(self) -> None:
        self._sma = SMA(self.period)
        self._mean = nan

    def update(self, volume: float) -> float:
        before = self._mean if -inf < volume < inf else nan
        self._mean = self._sma.update(volume)
        return before

    def of(self, volume: "ArrayLike") -> "NDArray[float64]":
        return line(self._fresh().update, volume)


class VWAP(Indicator):
    """Volume-weighted average price of the session up to each bar: the sum of price * volume over
    the sum of the volume, since the bar at which `session` changed.

    A bar's price is the typical one, (high + low + close) / 3, for what was paid within it is not
    known. `session` is any number that is the same for all bars of a session, such as the time at
    which it ends; which session a bar is in is the market's to say (`Strategy.trading_day`).

    NaN until the first volume of a session; and after a hole until the next session, for of the
    one with the hole the whole is not known. TA-Lib has no such function. Source: S. Berkowitz,
    D. Logue and E. Noser, "The Total Cost of Transactions on the NYSE", Journal of Finance 43
    (1988).
    """

    __slots__ = ("_excess", "_first", "_session", "_volume")

    def __init__(self) -> None:
        super().__init__(1)

    def reset(self) -> None:
        self._session = nan
        self._first = nan
        self._excess = self._volume = 0.0

    def update(self, high: float, low: float, close: float, volume: float, session: float) -> float:
        hole = not (
            -inf < high < inf
            and -inf < low < inf
            and -inf < close < inf
            and -inf < volume < inf
            and -inf < session < inf
        )
        if session != self._session and -inf < session < inf:
            self.reset()
            self._session = session
            self._first = close
        if hole:
            self._excess = nan
            return nan
        # Relative to the first price, so that a price that stands still is its own average.
        price = close + (high - close + (low - close)) / 3.0
        self._excess += (price - self._first) * volume
        self._volume += volume
        return self._first + self._excess / self._volume if self._volume else nan

    def of(
        self,
        high: "ArrayLike",
        low: "ArrayLike",
        close: "ArrayLike",
        volume: "ArrayLike",
        session: "ArrayLike",
    ) -> "NDArray[float64]":
        return line(self._fresh().update, high, low, close, volume, session)
