"""In and out as fast as fills come: two orders a round trip."""

from collections.abc import Sequence

from engine.core.model import ZERO, Bar, Fill, Side, Signal
from engine.core.strategy import Strategy


class Flip(Strategy):
    def initialize(self) -> None:
        self._held = ZERO

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        return self.signal(Side.SELL if self._held else Side.BUY, bar, {})

    def on_fill(self, fill: Fill) -> None:
        self._held += fill.side.sign * fill.quantity


STRATEGY_NAME = "bench_flip"
STRATEGY_CLASS = Flip
