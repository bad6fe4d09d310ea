"""The frame style: conditions over a pandas frame of the last bars.

The frame ends with the bar that has just closed and its last row alone decides, so what a column
looks ahead for (`shift(-1)`) is not there: NaN, which is no condition. The frame always has
`required_history()` rows, never more or fewer, so a recursive indicator comes to the same value in
a backtest, live, and after a restart. A bar that the venue corrected is in it as it is now.

It is made anew at each bar, in 0.15 ms at 300 rows; the columns of a crossover of two averages take
1 ms more, where a strategy of the event style takes a few microseconds. So a minute's bars of a
hundred symbols are a tenth of a second. Importing this module imports pandas.
"""

from collections.abc import Sequence
from decimal import Decimal
from math import isfinite
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import pandas  # pyright: ignore[reportMissingTypeStubs]

from engine.core.model import Bar, Book, Side, Signal, SizingMethod
from engine.core.strategy import Strategy, last_bars

pd: Any = pandas
Frame = Any
"""A pandas DataFrame; `row` is one row of it, a Series."""

PRICES = ("open", "high", "low", "close", "volume")
ENTER, EXIT = "enter", "exit"
OPTIONS = ("strength", "stop_price", "take_profit", "trail")
"""Columns that go into the signal, where they are there and not missing in the last row."""
COLUMNS = (*PRICES, *OPTIONS, ENTER, EXIT)
NUMBERS: Any = (Real, np.bool_)


class FrameStrategy(Strategy):
    """Decides by the last row of a frame; keeps nothing in `self` from bar to bar.

    The frame has the columns open, high, low, close and volume, and the time of each bar's close
    (UTC) as its index. Each `populate_` method adds columns, and returns the frame. Where the last
    row's `exit` is true it sells, otherwise where `enter` is true it buys; the columns strength,
    stop_price, take_profit and trail, where there are any, go into the signal as in `Signal`, and
    every other number of that row as what it rests on.
    """

    keeps_state: ClassVar[bool] = False

    def required_history(self) -> int:
        """The rows of the frame, 500 at most."""
        return 200

    def populate_indicators(self, frame: Frame) -> Frame:
        """Add what the conditions rest on."""
        return frame

    def populate_entry_conditions(self, frame: Frame) -> Frame:
        """Add the column `enter`: to be long."""
        raise NotImplementedError("write populate_entry_conditions")

    def populate_exit_conditions(self, frame: Frame) -> Frame:
        """Add the column `exit`: to be out."""
        raise NotImplementedError("write populate_exit_conditions")

    def custom_stake_amount(self, row: Frame, book: Book) -> float | None:
        """The money to put into an entry, by the frame's last row and what the strategy holds; None
        for what the setting SIZING asks for, 0 for no entry at this bar. Limits cap it."""
        return None

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        length = max(1, self.required_history())
        if len(history) < length:
            return None
        row = self._last_row(_frame(last_bars(history, length)))
        if _is_set(row, EXIT):
            return self._signal(Side.SELL, bar, row, "")
        if not _is_set(row, ENTER):
            return None
        stake = self.custom_stake_amount(row, self.read_book())
        if stake is not None and stake == 0:
            return None
        return self._signal(Side.BUY, bar, row, "" if stake is None else _sizing(float(stake)))

    def _last_row(self, frame: Frame) -> Frame:
        """The row that decides. Raises ValueError where a method returned no frame, or one without
        that row."""
        known = frame.index[-1]
        for populate in (
            self.populate_indicators,
            self.populate_entry_conditions,
            self.populate_exit_conditions,
        ):
            frame = populate(frame)
            if not isinstance(frame, pd.DataFrame):
                raise ValueError(f"{populate.__name__} returned {type(frame).__name__}, no frame")
            if not len(frame.index) or frame.index[-1] != known:
                raise ValueError(
                    f"{populate.__name__} returned a frame that does not end with the bar"
                )
        return frame.iloc[-1]

    def _signal(self, side: Side, bar: Bar, row: Frame, sizing: str) -> Signal:
        numbers = {str(name): v for name in row.index if (v := _number(row[name])) is not None}
        options: dict[str, Any] = {name: numbers[name] for name in OPTIONS if name in numbers}
        rests_on = {name: v for name, v in numbers.items() if name not in COLUMNS}
        return self.signal(side, bar, rests_on, sizing=sizing, **options)


def _frame(bars: Sequence[Bar]) -> Frame:
    rows = [(bar.ts, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]
    times, *prices = zip(*rows, strict=True)
    index = pd.DatetimeIndex(np.array(times, "M8[ns]")).tz_localize("UTC")
    return pd.DataFrame(np.array(prices).T, index, PRICES)


def _is_set(row: Frame, name: str) -> bool:
    """Whether a condition holds; one that is missing in this row does not. Raises ValueError where
    there is no such column, or what it has is no condition."""
    if name not in row.index:
        raise ValueError(f"the frame has no column {name}")
    value = row[name]
    if pd.isna(value):
        return False
    if value not in (0, 1):
        raise ValueError(f"the column {name} has {value}: write true or false")
    return bool(value)


def _number(value: Any) -> float | None:
    """`value` where it is a finite number."""
    return float(value) if isinstance(value, NUMBERS) and isfinite(value) else None


def _sizing(stake: float) -> str:
    """Raises ValueError where the stake is no amount of money."""
    if not (isfinite(stake) and stake > 0):
        raise ValueError(f"custom_stake_amount returned {stake}, which is no amount")
    return f"{SizingMethod.FIXED_NOTIONAL}:{Decimal(repr(stake)):f}"
