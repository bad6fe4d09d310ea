"""Momentum confirmed by volume, long only; for markets that never close, where a number of bars is
always the same time.

Rule: buy when the close is more than `entry_pct` percent above the close `lookback` bars before, on
more than `volume_factor` times the mean volume of the `lookback` bars before it; sell when it is
more than `exit_pct` percent below the close `lookback` bars before.
Source: the time-series momentum of Y. Liu and A. Tsyvinski, "Risks and Returns of Cryptocurrency",
Review of Financial Studies 34 (2021); volume as its confirmation, C. Lee and B. Swaminathan, "Price
Momentum and Trading Volume", Journal of Finance 55 (2000).
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from engine.core.indicators import ROC, VolumeAverage
from engine.core.model import Bar, Side, Signal
from engine.core.strategy import Strategy, StrategyParameters


class CryptoMomentumParameters(StrategyParameters, frozen=True):
    """The length in bars, changes of the price in percent, the volume as a multiple of its mean."""

    lookback: Annotated[int, Meta(ge=1)] = 60
    entry_pct: Annotated[float, Meta(ge=0)] = 1.0
    exit_pct: Annotated[float, Meta(ge=0, lt=100)] = 0.0
    volume_factor: Annotated[float, Meta(ge=0)] = 1.5


class CryptoMomentum(Strategy):
    """Long from a strong rise until the price has lost it."""

    Parameters = CryptoMomentumParameters

    def initialize(self) -> None:
        self._change = ROC(self.parameters.lookback)
        self._volume = VolumeAverage(self.parameters.lookback)
        self._entry, self._exit = self.parameters.entry_pct, -self.parameters.exit_pct
        self._factor = self.parameters.volume_factor

    def required_history(self) -> int:
        return self._change.settled

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        change = self._change.update(bar.close)
        usual = self._volume.update(bar.volume)
        if change > self._entry and bar.volume > self._factor * usual:
            side = Side.BUY
        elif change < self._exit:
            side = Side.SELL
        else:
            return None
        values = {"change_pct": change, "volume": bar.volume, "usual_volume": usual}
        return self.signal(side, bar, values)


STRATEGY_NAME = "crypto_momentum"
STRATEGY_CLASS = CryptoMomentum
