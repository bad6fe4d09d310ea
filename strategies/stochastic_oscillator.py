"""Crossover of the stochastic oscillator's two lines at its extremes, long only.

Rule: buy when %K, having been at or below %D on the bar before, is above it, and %D is below
`oversold`; sell when %K, having been at or above %D, is below it, and %D is above `overbought`.
Source: George C. Lane, "Lane's Stochastics", Technical Analysis of Stocks & Commodities 2 (1984).
"""

from collections.abc import Sequence
from math import nan
from typing import Annotated

from msgspec import Meta

from engine.core.indicators import Stochastic, spread
from engine.core.model import Bar, Side, Signal
from engine.core.strategy import Strategy, StrategyParameters


class StochasticOscillatorParameters(StrategyParameters, frozen=True):
    """Lengths in bars (of the range, of %K and of %D), and two levels of the oscillator."""

    period: Annotated[int, Meta(ge=1)] = 14
    smooth: Annotated[int, Meta(ge=1)] = 3
    signal: Annotated[int, Meta(ge=2)] = 3
    oversold: Annotated[float, Meta(gt=0, lt=100)] = 20.0
    overbought: Annotated[float, Meta(gt=0, lt=100)] = 80.0


class StochasticOscillator(Strategy):
    """Long from a turn in the oversold range to a turn in the overbought one."""

    Parameters = StochasticOscillatorParameters

    def validate_parameters(self) -> None:
        low, high = self.parameters.oversold, self.parameters.overbought
        if low >= high:
            raise ValueError(f"oversold ({low:g}) must be less than overbought ({high:g})")

    def initialize(self) -> None:
        parameters = self.parameters
        self._lines = Stochastic(parameters.period, parameters.smooth, parameters.signal)
        self._oversold, self._overbought = parameters.oversold, parameters.overbought
        self._spread = nan

    def required_history(self) -> int:
        return self._lines.settled + 1

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        before = self._spread
        k, d = self._lines.update(bar.high, bar.low, bar.close)
        self._spread = now = spread(k, d)
        if before <= 0 < now and spread(d, self._oversold) < 0:
            side = Side.BUY
        elif now < 0 <= before and spread(d, self._overbought) > 0:
            side = Side.SELL
        else:
            return None
        return self.signal(side, bar, {"k": k, "d": d})


STRATEGY_NAME = "stochastic_oscillator"
STRATEGY_CLASS = StochasticOscillator
