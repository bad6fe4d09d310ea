"""Indicators, one definition each: bar by bar with `update`, over whole arrays with `of`.

Both take the same columns in the same order and give the same float64, to the last bit, so that a
backtest over arrays and the machine bar by bar decide alike. The numbers are NaN until the
indicator is warm. One that has several lines answers a tuple: of floats, and of arrays.

A value that is not finite (NaN, infinite) is a hole: the answer to it is NaN and the indicator
starts anew with the next value, so that no number rests on values from both sides of a hole. (In
TA-Lib one NaN makes all numbers after it NaN.) A bar that never came cannot be seen here: the
machine publishes `BarGap` for it.
"""

from engine.core.indicators.averages import EMA, SMA
from engine.core.indicators.base import Indicator, spread
from engine.core.indicators.momentum import MACD, ROC, RSI, Stochastic
from engine.core.indicators.volatility import ATR, Bollinger
from engine.core.indicators.volume import VWAP, VolumeAverage

__all__ = [
    "ATR",
    "EMA",
    "MACD",
    "ROC",
    "RSI",
    "SMA",
    "VWAP",
    "Bollinger",
    "Indicator",
    "Stochastic",
    "VolumeAverage",
    "spread",
]
