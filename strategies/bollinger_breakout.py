"""Breakout through the upper Bollinger band, confirmed by volume, long only.

Rule: buy when a bar closes above the upper band of the last `period` closes, `width` standard
deviations over their mean, on more than `volume_factor` times the mean volume of the `period` bars
before it; sell when one closes below the middle band.
Source: method I (volatility breakout) of John Bollinger, Bollinger on Bollinger Bands (2001), which
asks for volume too; to leave at the middle band, where the move is over, is a choice of ours.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from engine.core.indicators import Bollinger, VolumeAverage, spread
from engine.core.model import Bar, Side, Signal
from engine.core.strategy import Strategy, StrategyParameters


class BollingerBreakoutParameters(StrategyParameters, frozen=True):
    """The length in bars, the width in deviations, the volume as a multiple of its mean."""

    period: Annotated[int, Meta(ge=2)] = 20
    width: Annotated[float, Meta(gt=0)] = 2.0
    volume_factor: Annotated[float, Meta(ge=0)] = 1.5


class BollingerBreakout(Strategy):
    """Long from above the upper band to below the middle one."""

    Parameters = BollingerBreakoutParameters

    def initialize(self) -> None:
        self._bands = Bollinger(self.parameters.period, self.parameters.width)
        self._volume = VolumeAverage(self.parameters.period)
        self._factor = self.parameters.volume_factor

    def required_history(self) -> int:
        return self._volume.settled

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        upper, middle, _ = self._bands.update(bar.close)
        usual = self._volume.update(bar.volume)
        if spread(bar.close, upper) > 0 and bar.volume > self._factor * usual:
            values = {"upper": upper, "volume": bar.volume, "usual_volume": usual}
            return self.signal(Side.BUY, bar, values)
        if spread(bar.close, middle) < 0:
            return self.signal(Side.SELL, bar, {"middle": middle})
        return None


STRATEGY_NAME = "bollinger_breakout"
STRATEGY_CLASS = BollingerBreakout
