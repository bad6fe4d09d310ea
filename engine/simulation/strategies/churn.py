"""Buys and sells all the time, by the clock of its bars: the same bars always make the same
signals, however often the engine died in between."""

from collections.abc import Sequence

from engine.core.model import Bar, Side, Signal
from engine.core.strategy import Strategy

SIDES = {1: Side.BUY, 3: Side.SELL}


class Churn(Strategy):
    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        side = SIDES.get(bar.ts // bar.interval % 4)
        return self.signal(side, bar, {}) if side else None


STRATEGY_NAME = "churn"
STRATEGY_CLASS = Churn
