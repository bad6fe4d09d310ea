"""Averages of the last values."""

from math import inf, nan
from typing import TYPE_CHECKING

from engine.core.indicators.base import Indicator, column, forgotten, line, whole

if TYPE_CHECKING:
    from numpy import float64, int64
    from numpy.typing import ArrayLike, NDArray


class SMA(Indicator):
    """Simple moving average: the mean of the last `period` values.

    The sum of the window is kept up as each value enters and the oldest leaves. The rounding error
    of that would grow without end, so once every `period` values the sum is replaced by one that
    was added up from nothing: the error stays that of `2 * period` additions (against TA-Lib,
    whose sum runs on, below 1e-9 relative), and what a huge value cost in digits is made good at
    the end of the next turn after it left.

    A window of equal values gives exactly that value, so that rounding makes no two averages cross
    in a market that stands still. TA-Lib gives it to within an error of rounding.
    """

    __slots__ = ("_at", "_last", "_ring", "_same", "_sum", "_turn", "period")

    def __init__(self, period: int) -> None:
        self.period = whole(self, "period", period)
        super().__init__(period)

    def reset(self) -> None:
        self._ring = [0.0] * self.period
        self._at = 0
        self._sum = nan  # until the first turn of the ring is complete
        self._turn = 0.0
        self._last = nan
        self._same = 0

    def update(self, value: float) -> float:
        if not -inf < value < inf:
            self.reset()
            return nan
        ring, at, period = self._ring, self._at, self.period
        total = self._sum + (value - ring[at])
        turn = self._turn + value
        ring[at] = value
        at += 1
        if at == period:
            at, total, turn = 0, turn, 0.0
        self._at, self._sum, self._turn = at, total, turn
        if value == self._last:
            self._same = same = self._same + 1
        else:
            self._last = value
            self._same = same = 1
        return total / period if same < period else value

    def of(self, values: "ArrayLike") -> "NDArray[float64]":
        import numpy as np

        array = column(values)
        numbers = np.full(len(array), nan)
        for start, end in _finite_runs(array):
            if end - start >= self.period:
                numbers[start + self.period - 1 : end] = self._means(array[start:end])
        return numbers

    def _means(self, values: "NDArray[float64]") -> "NDArray[float64]":
        """The means of all windows of `values`, finite and at least `period` of them: the additions
        of `update` in the same order, a turn of the ring to a row."""
        import numpy as np

        period, windows = self.period, len(values) - self.period + 1
        turns = len(values) // period
        steps = np.zeros(turns * period)
        steps[1:windows] = values[period:] - values[:-period]
        steps[::period] = values[: turns * period].reshape(turns, period).cumsum(axis=1)[:, -1]
        sums = steps.reshape(turns, period).cumsum(axis=1).ravel()[:windows]

        places = np.arange(len(values))
        changed = np.diff(values, prepend=nan) != 0
        last_change = np.maximum.accumulate(np.where(changed, places, 0))
        standing = (places - last_change)[period - 1 :] >= period - 1
        return np.where(standing, values[period - 1 :], sums / period)


class EMA(Indicator):
    """Exponential moving average: mean += (value - mean) * 2 / (period + 1).

    The first number is the SMA of the first `period` values, as in TA-Lib's default. What that
    start weighs falls by (period - 1) / (period + 1) with each value: below 1e-6 after some
    `6.9 * period` values (`settled`), below 1e-9 after `10.4 * period`.
    """

    __slots__ = ("_factor", "_mean", "_seed", "period")

    def __init__(self, period: int) -> None:
        self.period = whole(self, "period", period)
        super().__init__(period, period + forgotten((period - 1) / (period + 1)))

    def reset(self) -> None:
        self._factor = 2.0 / (self.period + 1)
        self._seed = SMA(self.period)
        self._mean = nan

    def update(self, value: float) -> float:
        if not -inf < value < inf:
            self.reset()
            return nan
        mean = self._mean
        if mean == mean:
            mean += (value - mean) * self._factor
        else:
            mean = self._seed.update(value)
        self._mean = mean
        return mean

    def of(self, values: "ArrayLike") -> "NDArray[float64]":
        return line(self._fresh().update, values)


def _finite_runs(values: "NDArray[float64]") -> "NDArray[int64]":
    """Start and end (exclusive) of each run of finite values, a run to a row."""
    import numpy as np

    edges = np.diff(np.isfinite(values), prepend=False, append=False)
    return np.flatnonzero(edges).reshape(-1, 2)
