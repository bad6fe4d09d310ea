"""Reversion to the volume-weighted average price of the session, long only.

Rule: buy when the close is more than `below_pct` percent below the VWAP of the session so far; sell
when it is more than `above_pct` percent above it. A session is the market's: an exchange's with its
extended hours, or the day in UTC. One whose begin was not seen is left out. By default the price
has to come back by nearly twice what a round trip costs (0.22 % with the default commission and
slippage); a quiet stock, too, goes so far now and then.
Source: the VWAP as the measure of a good price, S. Berkowitz, D. Logue and E. Noser, "The Total
Cost of Transactions on the NYSE", Journal of Finance 43 (1988); that the price comes back to it is
the wager of the rule.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from engine.core.indicators import VWAP
from engine.core.model import Bar, Side, Signal
from engine.core.strategy import Strategy, StrategyParameters

A_DAY = 24 * 60 + 1
"""Bars of a minute: of the longest session, and the last of the one before it, so that the begin of
the session was seen."""


class VwapParameters(StrategyParameters, frozen=True):
    """Distances from the VWAP in percent of it."""

    below_pct: Annotated[float, Meta(ge=0, lt=100)] = 0.4
    above_pct: Annotated[float, Meta(ge=0, lt=100)] = 0.0


class Vwap(Strategy):
    """Long from below the VWAP to above it."""

    Parameters = VwapParameters

    def initialize(self) -> None:
        self._vwap = VWAP()
        self._buy_at = 1 - self.parameters.below_pct / 100
        self._sell_at = 1 + self.parameters.above_pct / 100
        self._sessions = 0

    def required_history(self) -> int:
        return A_DAY

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        if self.trading_day.roll(bar.ts - 1):
            self._sessions += 1
        vwap = self._vwap.update(bar.high, bar.low, bar.close, bar.volume, self._sessions)
        if self._sessions < 2:
            return None
        if bar.close < vwap * self._buy_at:
            side = Side.BUY
        elif bar.close > vwap * self._sell_at:
            side = Side.SELL
        else:
            return None
        return self.signal(side, bar, {"vwap": vwap})


STRATEGY_NAME = "vwap"
STRATEGY_CLASS = Vwap
