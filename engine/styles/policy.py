"""The policy style: one function from what is held and what the markets are to what is ordered."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any, ClassVar

from msgspec import Struct

from engine.core.model import HUNDRED, Bar, Book, Quote, Side, Signal, SizingMethod
from engine.core.strategy import Strategy, last_bars


class SymbolSnapshot(Struct, frozen=True, gc=False):
    """A symbol as it is now: its last bar and quote, None before there is one, and its last price,
    NaN before there is one."""

    bar: Bar | None
    quote: Quote | None
    price: float


class DecisionContext(Struct, frozen=True):
    """`now` is the close (ns UTC) of `bar`, which is the newest; `history` the last bars of each
    symbol, oldest first: `required_history()` of them, fewer until there are so many."""

    now: int
    bar: Bar
    parameters: Any
    history: Mapping[str, Sequence[Bar]]


class PolicyOrder(Struct, frozen=True):
    """What a policy wants: to be long (`buy`) or out (`sell`) of a symbol.

    A buy is for `quantity` units, or for `weight` (above 0, up to 1) of the account's equity; with
    neither, for what the setting SIZING asks for. A sell closes the whole position, and has none.
    The others are as in `Signal`.
    """

    symbol: str
    side: Side
    quantity: Decimal | float | None = None
    weight: float | None = None
    strength: float = 1.0
    indicators: dict[str, float] = {}
    stop_price: float | None = None
    take_profit: float | None = None
    trail: float | None = None
    reason: str = ""

    def sizing(self) -> str:
        """How the order is to be sized. Raises ValueError where it cannot be meant so."""
        if self.quantity is None and self.weight is None:
            return ""
        if self.side != Side.BUY:
            raise ValueError("a sell closes the whole position: it has no quantity and no weight")
        if self.weight is None:
            return f"{SizingMethod.FIXED_QUANTITY}:{self.quantity}"
        if self.quantity is not None:
            raise ValueError("an order has a quantity or a weight, not both")
        return f"{SizingMethod.FIXED_FRACTION}:{Decimal(repr(float(self.weight))) * HUNDRED}"


class Policy(Strategy):
    """Decides for all its symbols at once: there is one instance. It is asked about live bars only,
    and keeps nothing in `self` that decides."""

    keeps_state: ClassVar[bool] = False
    decides_for_all: ClassVar[bool] = True

    def required_history(self) -> int:
        """Bars of each symbol that it is shown, 500 at most; an order for one that has fewer is not
        heard."""
        return 1

    def decide(
        self,
        portfolio: Book,
        snapshot: Mapping[str, SymbolSnapshot],
        context: DecisionContext,
    ) -> Iterable[PolicyOrder] | None:
        """The orders that are wanted now, in the order in which they are to be made.

        Asked whenever a bar of one of its symbols closes: of bars that close together the last
        one is there when no symbol's bar is older than `context.now`.
        """
        raise NotImplementedError("write decide")

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Any:
        markets = self.markets
        snapshot = {
            symbol: SymbolSnapshot(
                market.bars[-1] if market.bars else None, market.quote, market.mark
            )
            for symbol, market in markets.items()
        }
        length = self.required_history()
        kept = {symbol: last_bars(market.bars, length) for symbol, market in markets.items()}
        context = DecisionContext(bar.ts, bar, self.parameters, kept)
        wanted = self.decide(self.read_book(), snapshot, context) or ()
        signals = [self._signal(order, snapshot, bar.ts) for order in wanted]
        return [signal for signal in signals if isfinite(signal.price)]

    def _signal(self, order: Any, snapshot: Mapping[str, SymbolSnapshot], now: int) -> Signal:
        """Raises ValueError for what is no order of one of its symbols."""
        if not isinstance(order, PolicyOrder):
            raise ValueError(f"decide returned {type(order).__name__}, not a PolicyOrder")
        if order.symbol not in snapshot:
            raise ValueError(f"decide returned an order of {order.symbol}, which it does not trade")
        return Signal(
            self.name,
            order.symbol,
            Side(order.side),
            now,
            snapshot[order.symbol].price,
            order.strength,
            order.indicators,
            order.stop_price,
            order.reason,
            order.take_profit,
            order.trail,
            order.sizing(),
        )
