"""How far prices range."""

from math import inf, nan, sqrt
from typing import TYPE_CHECKING

from engine.core.indicators.base import Indicator, forgotten, line, lines, whole

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import ArrayLike, NDArray


class Bollinger(Indicator):
    """Bollinger bands; three lines, as in TA-Lib: upper, middle and lower. The middle is the SMA of
    the last `period` values, the others are `width` standard deviations of these values away from
    it. The deviation is the population's: the squares are divided by `period`.

    Source: John Bollinger, Bollinger on Bollinger Bands (2001), chapter 7.

    The squares are summed as distances from a value of the window, and anew once every `period`
    values, so that the deviation is good to some 1e-13 of itself. TA-Lib takes the mean square less
    the square of the mean from sums that run on: there the digits of a deviation that is small
    beside the price are lost, and a band is off by up to some 1e-11 of the price (AAPL of the
    samples). In a window of
    equal values all lines are exactly that value.

    Raises ValueError where the width is not a number above 0.
    """

    __slots__ = ("_at", "_last", "_pivot", "_ring", "_same", "_squares", "_sum", "period", "width")

    def __init__(self, period: int = 20, width: float = 2.0) -> None:
        self.period = whole(self, "period", period)
        if not 0.0 < width < inf:
            raise ValueError(f"Bollinger: the width must be a number above 0, not {width!r}")
        self.width = width
        super().__init__(period)

    def reset(self) -> None:
        self._ring = [0.0] * self.period
        self._at = 0
        self._pivot = self._sum = self._squares = nan  # until the first turn is complete
        self._last = nan
        self._same = 0

    def update(self, value: float) -> tuple[float, float, float]:
        if not -inf < value < inf:
            self.reset()
            return nan, nan, nan
        ring, at, period = self._ring, self._at, self.period
        pivot = self._pivot
        new, old = value - pivot, ring[at] - pivot
        ring[at] = value
        at += 1
        if at == period:
            at = 0
            self._pivot = pivot = value
            distances = [each - value for each in ring]
            total = sum(distances)
            squares = sum([each * each for each in distances])
        else:
            total = self._sum + (new - old)
            squares = self._squares + (new * new - old * old)
        self._at, self._sum, self._squares = at, total, squares
        if value == self._last:
            self._same += 1
            if self._same >= period:
                return value, value, value
        else:
            self._last = value
            self._same = 1
        off = total / period
        variance = squares / period - off * off
        middle = pivot + off
        reach = self.width * sqrt(variance) if variance > 0.0 else 0.0
        return middle + reach, middle, middle - reach

    def of(self, values: "ArrayLike") -> "tuple[NDArray[float64], ...]":
        return lines(self._fresh().update, 3, values)


class ATR(Indicator):
    """Average true range, in units of the price.

    Source: J. Welles Wilder, New Concepts in Technical Trading Systems (1978), section III. The
    true range is the largest of high - low, high - close before and close before - low; it is known
    from the second bar on. The average is at first the mean of `period` of them (so `warm_up` is
    `period + 1`), then (average * (period - 1) + true range) / period, as in TA-Lib. It remembers
    like `RSI`.
    """

    __slots__ = ("_close", "_lacking", "_mean", "period")

    def __init__(self, period: int = 14) -> None:
        self.period = whole(self, "period", period)
        super().__init__(period + 1, period + 1 + forgotten((period - 1) / period))

    def reset(self) -> None:
        self._close = nan
        self._lacking = self.period
        self._mean = 0.0

    def update(self, high: float, low: float, close: float) -> float:
        if not (-inf < high < inf and -inf < low < inf and -inf < close < inf):
            self.reset()
            return nan
        before = self._close
        self._close = close
        if before != before:
            return nan
        top = high if high > before else before
        bottom = low if low < before else before
        period = self.period
        if self._lacking:
            self._mean += top - bottom
            self._lacking -= 1
            if self._lacking:
                return nan
            self._mean /= period
        else:
            self._mean = (self._mean * (period - 1) + (top - bottom)) / period
        return self._mean

    def of(self, high: "ArrayLike", low: "ArrayLike", close: "ArrayLike") -> "NDArray[float64]":
        return line(self._fresh().update, high, low, close)
