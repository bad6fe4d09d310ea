"""Crossover of the MACD and its signal line in the direction of the trend, long only.

Rule: buy when the MACD, having been at or below its signal line on the bar before, is above it, and
the close is above the exponential average of the last `trend` closes; sell when the MACD is below
its signal line.
Source: Gerald Appel, Technical Analysis: Power Tools for Active Investors (2005), chapter 8.
"""

from collections.abc import Sequence
from math import nan
from typing import Annotated

from msgspec import Meta

from engine.core.indicators import EMA, MACD
from engine.core.model import Bar, Side, Signal
from engine.core.strategy import Strategy, StrategyParameters


class MacdCrossoverParameters(StrategyParameters, frozen=True):
    """Lengths in bars."""

    fast: Annotated[int, Meta(ge=1)] = 12
    slow: Annotated[int, Meta(ge=2)] = 26
    signal: Annotated[int, Meta(ge=1)] = 9
    trend: Annotated[int, Meta(ge=1)] = 100


class MacdCrossover(Strategy):
    """Long while the MACD is above its signal line, entered in a rising trend alone."""

    Parameters = MacdCrossoverParameters

    def validate_parameters(self) -> None:
        if self.parameters.fast >= self.parameters.slow:
            raise ValueError(
                f"fast ({self.parameters.fast}) must be less than slow ({self.parameters.slow})"
            )

    def initialize(self) -> None:
        parameters = self.parameters
        self._macd = MACD(parameters.fast, parameters.slow, parameters.signal)
        self._trend = EMA(parameters.trend)
        self._histogram = nan

    def required_history(self) -> int:
        return max(self._macd.settled, self._trend.settled) + 1

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        before = self._histogram
        macd, signal, self._histogram = self._macd.update(bar.close)
        trend = self._trend.update(bar.close)
        if before <= 0 < self._histogram and bar.close > trend:
            side = Side.BUY
        elif self._histogram < 0:
            side = Side.SELL
        else:
            return None
        return self.signal(side, bar, {"macd": macd, "signal": signal, "trend": trend})


STRATEGY_NAME = "macd_crossover"
STRATEGY_CLASS = MacdCrossover
