"""Strategies that try to make trouble. Each is deterministic: its seed is a parameter."""

from random import Random

from msgspec.structs import replace

from engine.core.model import Quote, Side, Signal
from engine.core.strategy import Strategy, StrategyParameters


class SignalerParameters(StrategyParameters, frozen=True):
    """`chance` is that of a signal at a quote."""

    seed: int = 0
    chance: float = 0.1


class Signaler(Strategy):
    """Signals at random."""

    Parameters = SignalerParameters
    parameters: SignalerParameters

    def initialize(self) -> None:
        self.random = Random(f"{self.parameters.seed} {self.symbol}")
        self.quotes = 0
        self.last: Quote | None = None

    def on_quote(self, quote: Quote) -> Signal | None:
        self.last = quote
        if self.random.random() < self.parameters.chance:
            return self.wish(quote, self.random.choice(list(Side)))
        return None

    def on_clock(self, now: int) -> Signal | None:
        """At the last price, however old it is."""
        if self.last is None or self.random.random() > self.parameters.chance / 5:
            return None
        return replace(self.wish(self.last, self.random.choice(list(Side))), ts=now)

    def wish(self, quote: Quote, side: Side) -> Signal:
        draw = self.random.random
        return Signal(
            self.name,
            self.symbol,
            side,
            quote.ts,
            quote.mid,
            strength=1.0 if draw() < 0.8 else draw(),
            stop_price=quote.bid * 0.98 if draw() < 0.5 else None,
            take_profit=quote.ask * 1.02 if draw() < 0.3 else None,
            trail=quote.bid * 0.01 if draw() < 0.2 else None,
        )


class Storm(Signaler):
    """Changes its mind at every quote."""

    def on_quote(self, quote: Quote) -> Signal | None:
        self.quotes += 1
        return self.wish(quote, Side.BUY if self.quotes % 2 else Side.SELL)


class Raiser(Signaler):
    """Raises now and then."""

    def on_quote(self, quote: Quote) -> Signal | None:
        if self.random.random() < self.parameters.chance / 10:
            raise RuntimeError("as it does")
        return super().on_quote(quote)


class Garbage(Signaler):
    """Answers what is no signal now and then."""

    def on_quote(self, quote: Quote) -> Signal | None:
        signal = super().on_quote(quote)
        if signal is None or self.random.random() > 0.1:
            return signal
        price = self.random.choice((float("nan"), -1.0, float("inf")))
        return Signal(self.name, self.symbol, Side.BUY, quote.ts, price)


KINDS: dict[str, type[Strategy]] = {
    "amber": Signaler,
    "brisk": Signaler,
    "raiser": Raiser,
    "storm": Storm,
    "garbage": Garbage,
}
