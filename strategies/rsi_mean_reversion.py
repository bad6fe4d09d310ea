"""Reversion from the extremes of the relative strength index, long only.

Rule: buy when the RSI of the closes over `period` bars is below `oversold`; sell when it is above
`overbought`.
Source: the levels 30 and 70 of J. Welles Wilder, New Concepts in Technical Trading Systems (1978),
section VI.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from engine.core.indicators import RSI
from engine.core.model import Bar, Side, Signal
from engine.core.strategy import Strategy, StrategyParameters


class RsiMeanReversionParameters(StrategyParameters, frozen=True):
    """The length in bars, and two levels of the RSI."""

    period: Annotated[int, Meta(ge=1)] = 14
    oversold: Annotated[float, Meta(gt=0, lt=100)] = 30.0
    overbought: Annotated[float, Meta(gt=0, lt=100)] = 70.0


class RsiMeanReversion(Strategy):
    """Long from oversold to overbought."""

    Parameters = RsiMeanReversionParameters

    def validate_parameters(self) -> None:
        low, high = self.parameters.oversold, self.parameters.overbought
        if low >= high:
            raise ValueError(f"oversold ({low:g}) must be less than overbought ({high:g})")

    def initialize(self) -> None:
        self._rsi = RSI(self.parameters.period)
        self._oversold = self.parameters.oversold
        self._overbought = self.parameters.overbought

    def required_history(self) -> int:
        return self._rsi.settled

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        rsi = self._rsi.update(bar.close)
        if rsi < self._oversold:
            side = Side.BUY
        elif rsi > self._overbought:
            side = Side.SELL
        else:
            return None
        return self.signal(side, bar, {"rsi": rsi})


STRATEGY_NAME = "rsi_mean_reversion"
STRATEGY_CLASS = RsiMeanReversion
