"""Crossover of two simple moving averages, long only.

Rule: buy when the average of the last `fast` closes, having been at or below the average of the
last `slow` closes on the bar before, is above it; sell when it is below, having been at or above.
Source: the moving-average rules of W. Brock, J. Lakonishok and B. LeBaron, "Simple Technical
Trading Rules and the Stochastic Properties of Stock Returns", Journal of Finance 47 (1992).
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from engine.core.indicators import SMA, spread
from engine.core.model import Bar, Side, Signal
from engine.core.strategy import Strategy, StrategyParameters


class SmaCrossoverParameters(StrategyParameters, frozen=True):
    """Lengths in bars."""

    fast: Annotated[int, Meta(ge=1)] = 10
    slow: Annotated[int, Meta(ge=2)] = 30


class SmaCrossover(Strategy):
    """Long while the fast average is above the slow one."""

    Parameters = SmaCrossoverParameters

    def validate_parameters(self) -> None:
        if self.parameters.fast >= self.parameters.slow:
            raise ValueError(
                f"fast ({self.parameters.fast}) must be less than slow ({self.parameters.slow})"
            )

    def initialize(self) -> None:
        self._fast = SMA(self.parameters.fast)
        self._slow = SMA(self.parameters.slow)
        self._spread = 0.0

    def required_history(self) -> int:
        return self.parameters.slow + 1

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        before = self._spread
        fast = self._fast.update(bar.close)
        slow = self._slow.update(bar.close)
        self._spread = now = spread(fast, slow)
        if before <= 0 < now:
            side = Side.BUY
        elif now < 0 <= before:
            side = Side.SELL
        else:
            return None
        return self.signal(side, bar, {"fast": fast, "slow": slow})


STRATEGY_NAME = "sma_crossover"
STRATEGY_CLASS = SmaCrossover
