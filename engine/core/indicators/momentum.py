"""How fast prices move, and where they stand in their range."""

from math import inf, nan
from typing import TYPE_CHECKING

from engine.core.indicators.averages import EMA, SMA
from engine.core.indicators.base import Indicator, forgotten, line, lines, whole

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import ArrayLike, NDArray

# Averages that decayed to this in a market that stands still for days are near the end of what a
# float64 can hold; their ratio means nothing any more.
_NOTHING = 1e-290


class RSI(Indicator):
    """Relative strength index, 0 to 100: 100 * gain / (gain + loss).

    Source: J. Welles Wilder, New Concepts in Technical Trading Systems (1978), section VI. `gain`
    and `loss` are averages of the rises and the falls from value to value: at first the means of
    `period` changes (so `warm_up` is `period + 1`), then (average * (period - 1) + change) /
    period. They remember like an EMA of length `2 * period - 1`: `settled` is some
    `15 * period` values.

    Without any rise or fall the ratio is 0 / 0, and the number is 50: a price that stands still is
    neither overbought nor oversold. TA-Lib answers 0 to that (it takes gain + loss below 1e-14 for
    nothing), at which a strategy would buy.
    """

    __slots__ = ("_gain", "_lacking", "_last", "_loss", "period")

    def __init__(self, period: int) -> None:
        self.period = whole(self, "period", period)
        super().__init__(period + 1, period + 1 + forgotten((period - 1) / period))

    def reset(self) -> None:
        self._last = nan
        self._lacking = self.period + 1
        self._gain = 0.0
        self._loss = 0.0

    def update(self, value: float) -> float:
        if not -inf < value < inf:
            self.reset()
            return nan
        change = value - self._last  # NaN for the first value: neither a rise nor a fall
        self._last = value
        rise = change if change > 0.0 else 0.0
        fall = -change if change < 0.0 else 0.0
        period = self.period
        if self._lacking:
            self._gain += rise
            self._loss += fall
            self._lacking -= 1
            if self._lacking:
                return nan
            self._gain /= period
            self._loss /= period
        else:
            self._gain = (self._gain * (period - 1) + rise) / period
            self._loss = (self._loss * (period - 1) + fall) / period
        moved = self._gain + self._loss
        return 100.0 * (self._gain / moved) if moved > _NOTHING else 50.0

    def of(self, values: "ArrayLike") -> "NDArray[float64]":
        return line(self._fresh().update, values)


class ROC(Indicator):
    """Rate of change, in percent: 100 * (value / value `period` values before - 1).

    NaN where the value before is 0 (TA-Lib answers 0).
    """

    __slots__ = ("_at", "_ring", "period")

    def __init__(self, period: int) -> None:
        self.period = whole(self, "period", period)
        super().__init__(period + 1)

    def reset(self) -> None:
        self._ring = [nan] * self.period
        self._at = 0

    def update(self, value: float) -> float:
        if not -inf < value < inf:
            self.reset()
            return nan
        ring, at = self._ring, self._at
        before = ring[at]
        ring[at] = value
        at += 1
        self._at = at if at < self.period else 0
        return 100.0 * (value / before - 1.0) if before else nan

    def of(self, values: "ArrayLike") -> "NDArray[float64]":
        return line(self._fresh().update, values)


class MACD(Indicator):
    """Moving average convergence/divergence; three lines: the MACD, EMA(fast) - EMA(slow); its
    signal line, the EMA of the MACD over `signal` values; the histogram, MACD - signal line.

    Source: Gerald Appel, Technical Analysis: Power Tools for Active Investors (2005), chapter 8.
    As in TA-Lib, the fast average starts with the SMA of the `fast` values that end where the slow
    one starts, and no line has a number before all three have. TA-Lib exchanges a `fast` that is
    longer than `slow`; here that is a ValueError.
    """

    __slots__ = ("_fast", "_late", "_signal", "_slow", "fast", "signal", "slow")

    def __init__(self, fast: int = 12, slow: int = 26, signal: int = 9) -> None:
        self.fast = whole(self, "fast period", fast)
        self.slow = whole(self, "slow period", slow)
        self.signal = whole(self, "signal period", signal)
        if fast >= slow:
            raise ValueError(f"MACD: the fast period {fast} must be less than the slow one, {slow}")
        settled = EMA(slow).settled + EMA(signal).settled - 1
        super().__init__(slow + signal - 1, settled)

    def reset(self) -> None:
        self._fast, self._slow, self._signal = EMA(self.fast), EMA(self.slow), EMA(self.signal)
        self._late = self.slow - self.fast

    def update(self, value: float) -> tuple[float, float, float]:
        if not -inf < value < inf:
            self.reset()
            return _NO_LINES
        slow = self._slow.update(value)
        if self._late:
            self._late -= 1
            return _NO_LINES
        macd = self._fast.update(value) - slow
        if macd != macd:
            return _NO_LINES
        signal = self._signal.update(macd)
        return (macd, signal, macd - signal) if signal == signal else _NO_LINES

    def of(self, values: "ArrayLike") -> "tuple[NDArray[float64], ...]":
        return lines(self._fresh().update, 3, values)


_NO_LINES = (nan, nan, nan)


class Stochastic(Indicator):
    """Slow stochastic oscillator, 0 to 100; two lines, %K and %D.

    Where the close stands in the range of the last `period` bars is 100 * (close - lowest low) /
    (highest high - lowest low); %K is its SMA over `smooth` bars (1 for the fast stochastic), %D
    the SMA of %K over `signal` bars. Neither has a number before both have.

    Source: George C. Lane, "Lane's Stochastics", Technical Analysis of Stocks & Commodities 2
    (1984). A range of nothing makes the ratio 0 / 0, and it is 50, as in `RSI`: neither oversold
    nor overbought. TA-Lib answers 0 to that.
    """

    __slots__ = (
        "_at",
        "_bottom",
        "_d",
        "_highs",
        "_k",
        "_lacking",
        "_lows",
        "_top",
        "period",
        "signal",
        "smooth",
    )

    def __init__(self, period: int = 14, smooth: int = 3, signal: int = 3) -> None:
        self.period = whole(self, "period", period)
        self.smooth = whole(self, "smoothing period", smooth)
        self.signal = whole(self, "signal period", signal)
        super().__init__(period + smooth + signal - 2)

    def reset(self) -> None:
        self._highs, self._lows = [-inf] * self.period, [inf] * self.period
        self._top, self._bottom = -inf, inf
        self._at, self._lacking = 0, self.period
        self._k, self._d = SMA(self.smooth), SMA(self.signal)

    def update(self, high: float, low: float, close: float) -> tuple[float, float]:
        if not (-inf < high < inf and -inf < low < inf and -inf < close < inf):
            self.reset()
            return nan, nan
        highs, lows, at = self._highs, self._lows, self._at
        old_high, old_low = highs[at], lows[at]
        highs[at], lows[at] = high, low
        if high >= self._top:
            self._top = high
        elif old_high == self._top:
            self._top = max(highs)
        if low <= self._bottom:
            self._bottom = low
        elif old_low == self._bottom:
            self._bottom = min(lows)
        at += 1
        self._at = at if at < self.period else 0
        if self._lacking > 1:
            self._lacking -= 1
            return nan, nan
        width = self._top - self._bottom
        k = self._k.update(100.0 * ((close - self._bottom) / width) if width > 0.0 else 50.0)
        if k != k:
            return nan, nan
        d = self._d.update(k)
        return (k, d) if d == d else (nan, nan)

    def of(
        self, high: "ArrayLike", low: "ArrayLike", close: "ArrayLike"
    ) -> "tuple[NDArray[float64], ...]":
        return lines(self._fresh().update, 2, high, low, close)
