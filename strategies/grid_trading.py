"""Buying and selling at the lines of a price grid, one position at a time, long only.

Rule: the lines are the powers of 1 + `interval_pct` percent, so that each is `interval_pct` above
the next lower one. Buy when the close has fallen to a line below the last one that was crossed, or
through it; sell when it has risen to a line above the last one, or through it. So the line that was
crossed last counts again only after another one, and a price that goes to and fro across it trades
once. A position is not added to at lower lines, and is sold one line above the lowest one that the
price has reached. The first line that is crossed makes no signal: until then the place in the grid
is not known.
Source: a rule of practice without a known author, here for one position.
"""

from collections.abc import Sequence
from math import floor, log, nan
from typing import Annotated

from msgspec import Meta

from engine.core.model import Bar, Side, Signal
from engine.core.strategy import Strategy, StrategyParameters

HISTORY = 500
"""Bars in which the price is taken to cross some line, so that the place in the grid is known."""


class GridTradingParameters(StrategyParameters, frozen=True):
    """The distance between two lines in percent of the lower one."""

    interval_pct: Annotated[float, Meta(ge=0.01, le=100)] = 0.5


class GridTrading(Strategy):
    """Long from a line crossed downward to one crossed upward."""

    Parameters = GridTradingParameters

    def initialize(self) -> None:
        self._ratio = 1 + self.parameters.interval_pct / 100
        self._below = self._above = nan  # the lines that are to be crossed next
        self._placed = False

    def required_history(self) -> int:
        return HISTORY

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        close, below, above = bar.close, self._below, self._above
        if below < close < above:
            return None
        line = self._line_under(close)
        if below != below:
            self._below, self._above = self._ratio**line, self._ratio ** (line + 1)
            return None
        side = Side.BUY if close <= below else Side.SELL
        if side is Side.BUY and self._ratio**line < close:
            line += 1
        self._below, self._above = self._ratio ** (line - 1), self._ratio ** (line + 1)
        placed, self._placed = self._placed, True
        return self.signal(side, bar, {"line": self._ratio**line}) if placed else None

    def _line_under(self, price: float) -> int:
        """The number of the highest line that is not above `price`."""
        line = floor(log(price) / log(self._ratio))
        if self._ratio**line > price:
            return line - 1
        return line + 1 if self._ratio ** (line + 1) <= price else line


STRATEGY_NAME = "grid_trading"
STRATEGY_CLASS = GridTrading
