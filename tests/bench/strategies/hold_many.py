"""As `bench_hold`, with ten times the symbols."""

from typing import Annotated

from msgspec import Meta

from engine.core.model import Quote, Side, Signal
from engine.core.strategy import Strategy, StrategyParameters


class HoldManyParameters(StrategyParameters, frozen=True):
    """How many of the synthetic feed's symbols are bought."""

    symbols: Annotated[int, Meta(ge=1)] = 1_000


class HoldMany(Strategy):
    Parameters = HoldManyParameters

    def initialize(self) -> None:
        self._wants = int(self.symbol.removeprefix("S")) < self.parameters.symbols

    def on_quote(self, quote: Quote) -> Signal | None:
        if not self._wants:
            return None
        self._wants = False
        return Signal(self.name, self.symbol, Side.BUY, quote.ts, quote.ask)


STRATEGY_NAME = "bench_hold_many"
STRATEGY_CLASS = HoldMany
