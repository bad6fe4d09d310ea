"""Indicators, one definition each: bar by bar with `update`, over a whole array with `of`.

Both give the same float64, to the last bit, so that a backtest over arrays and the machine bar by
bar decide alike. The number is NaN until the indicator is warm.

A value that is not finite (NaN, infinite) is a hole: the answer to it is NaN and the indicator
starts anew with the next value, so that no number rests on values from both sides of a hole. (In
TA-Lib one NaN makes all numbers after it NaN.) A bar that never came cannot be seen here: the
machine publishes `BarGap` for it.
"""

from abc import ABC, abstractmethod
from copy import copy
from math import inf, nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import float64, int64
    from numpy.typing import ArrayLike, NDArray

# numpy is imported by the functions over arrays alone: the console needs `update` only, and starts
# sooner without it.


class Indicator(ABC):
    """`period` is the length in values; `warm_up` is how many values the first number needs.

    Raises ValueError where the period is not a whole number of at least 1.
    """

    __slots__ = ("period", "warm_up")

    def __init__(self, period: int) -> None:
        if not isinstance(period, int) or period < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(
                f"{type(self).__name__}: the period must be a whole number of at least 1, "
                f"not {period!r}"
            )
        self.period = period
        self.warm_up = period
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Forget all values."""

    @abstractmethod
    def update(self, value: float) -> float:
        """Take in the next value and answer the indicator, NaN until warm."""

    def of(self, values: "ArrayLike") -> "NDArray[float64]":
        """The indicator after each of `values` (one dimension, oldest first), as float64 of the
        same length. What `update` has seen plays no part in it and is kept.

        Raises ValueError where `values` has more than one dimension.
        """
        import numpy as np

        array = _column(values)
        fresh = copy(self)
        fresh.reset()
        return np.fromiter(map(fresh.update, array.tolist()), np.float64, len(array))


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

    __slots__ = ("_at", "_last", "_ring", "_same", "_sum", "_turn")

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

        array = _column(values)
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
    start weighs falls by (period - 1) / (period + 1) with each value: below 1e-9 after some
    `10.4 * period` values, so two series that begin apart agree only after that many.
    """

    __slots__ = ("_factor", "_mean", "_seed")

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


class RSI(Indicator):
    """Relative strength index, 0 to 100: 100 * gain / (gain + loss).

    Source: J. Welles Wilder, New Concepts in Technical Trading Systems (1978), section VI. `gain`
    and `loss` are averages of the rises and the falls from value to value: at first the means of
    `period` changes (so `warm_up` is `period + 1`), then (average * (period - 1) + change) /
    period. Like an EMA of length `2 * period - 1`, it agrees with a series that began elsewhere
    only after some `21 * period` values.

    Without any rise or fall the ratio is 0 / 0, and the number is 50: a price that stands still is
    neither overbought nor oversold. TA-Lib answers 0 to that (it takes gain + loss below 1e-14 for
    nothing), at which a strategy would buy.
    """

    __slots__ = ("_gain", "_lacking", "_last", "_loss")

    def __init__(self, period: int) -> None:
        super().__init__(period)
        self.warm_up = period + 1

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


# Averages that decayed to this in a market that stands still for days are near the end of what a
# float64 can hold; their ratio means nothing any more.
_NOTHING = 1e-290


def _column(values: "ArrayLike") -> "NDArray[float64]":
    import numpy as np

    array = np.asarray(values, np.float64)
    if array.ndim != 1:
        raise ValueError(f"an indicator takes one column of values, not {array.ndim} dimensions")
    return array


def _finite_runs(values: "NDArray[float64]") -> "NDArray[int64]":
    """Start and end (exclusive) of each run of finite values, a run to a row."""
    import numpy as np

    edges = np.diff(np.isfinite(values), prepend=False, append=False)
    return np.flatnonzero(edges).reshape(-1, 2)
