"""The ledger: cash, positions, realised and unrealised P&L. Exact, in Decimal."""

from collections import OrderedDict, deque
from collections.abc import Callable
from decimal import Decimal
from math import isfinite, nan

from msgspec.structs import replace

from engine.core.average_cost import REVERSED, Entry, apply, correction_fault, restated, reversing
from engine.core.bus import Bus
from engine.core.events import (
    BarClosed,
    CommandRefused,
    FillQuarantined,
    LateFill,
    OrderFilled,
    OrderPartiallyFilled,
    PositionChanged,
    PositionClosed,
    QuoteUpdate,
    Restored,
    TradeBusted,
    TradeReversed,
)
from engine.core.market import Market
from engine.core.model import ZERO, Book, Fill, Position
from engine.core.text import clean

EXECUTIONS_KEPT = 200_000
"""Ids by which an execution that is told again is known. A venue tells again those of a day: of its
stream's last minutes, or since the end of the last session."""
ENTRIES_KEPT = 200
"""Of each position, the executions that can be taken out again exactly."""


class Holding:
    """A symbol's net quantity and last mark as floats, for the running estimate of equity."""

    __slots__ = ("mark", "quantity")

    def __init__(self, quantity: float, mark: float) -> None:
        self.quantity = quantity
        self.mark = mark


class Portfolio:
    """Positions by strategy and symbol, and the account's cash.

    Cash and positions change by fills alone, each execution id once. `equity_estimate` follows
    every price in float64 for the loss limits and the equity curve; `equity()` is exact.
    """

    def __init__(self, bus: Bus, market: Market, cash: Decimal) -> None:
        self._bus = bus
        self._market = market
        self.cash = cash
        self.positions: dict[tuple[str, str], Position] = {}
        self.equity_estimate = float(cash)
        self._held: dict[str, Holding] = {}
        self._executions: OrderedDict[str, None] = OrderedDict()
        self._entries: dict[tuple[str, str], deque[Entry]] = {}
        self._former: dict[str, Fill] = {}

    # --- reading --------------------------------------------------------------------------------

    def position(self, strategy: str, symbol: str) -> Position:
        return self.positions.get((strategy, symbol)) or Position(strategy, symbol)

    def mark_price(self, symbol: str) -> Decimal | None:
        """The symbol's mark price, None while it has none."""
        market = self._market.symbols.get(symbol)
        if market is None or not isfinite(market.mark):
            return None
        return Decimal(repr(market.mark))

    def equity(self, price: Callable[[str], Decimal | None] | None = None) -> Decimal | None:
        """Cash and positions at `price` of each symbol, by default its mark price; None where a
        held symbol has no price."""
        price = price or self.mark_price
        total = self.cash
        for position in self.positions.values():
            if position.quantity:
                mark = price(position.symbol)
                if mark is None:
                    return None
                total += position.quantity * mark
        return total

    def book(self, strategy: str) -> Book:
        """What `strategy` itself holds now, and the account's money."""
        held = {p.symbol: p for (name, _), p in self.positions.items() if name == strategy}
        open_ = {symbol: p for symbol, p in held.items() if p.quantity}
        return Book(self.cash, self.equity(), open_)

    def exposure_estimate(self) -> float:
        """Unsigned value of the net holdings as a share of equity, in float64."""
        if not self._held:
            return 0.0
        gross = 0.0
        for held in self._held.values():
            gross += abs(held.quantity) * held.mark
        return gross / self.equity_estimate if self.equity_estimate > 0 else 0.0

    def is_applied(self, execution_id: str) -> bool:
        return execution_id in self._executions

    # --- inputs and facts -----------------------------------------------------------------------

    def on_restored(self, event: Restored) -> None:
        self.cash = event.cash
        self.positions = {(p.strategy, p.symbol): p for p in event.positions}
        self._executions = OrderedDict.fromkeys(event.execution_ids)
        self._former = {fill.execution_id: fill for fill in event.fills}
        for symbol, mark in event.marks.items():
            market = self._market.symbols.get(symbol)
            if market is not None and not market.updated:
                market.mark = mark
                market.mark_source = "last session"
        self._resync()

    def on_quote(self, event: QuoteUpdate) -> None:
        quote = event.quote
        held = self._held.get(quote.symbol)
        if held is not None:
            self._mark(held, (quote.bid + quote.ask) / 2)

    def on_bar(self, event: BarClosed) -> None:
        held = self._held.get(event.bar.symbol)
        if held is not None:
            self._mark(held, event.bar.close)

    def on_fill(self, event: OrderPartiallyFilled | OrderFilled | LateFill) -> None:
        """Apply an execution that the order book found new and sound. An entry's stop-loss becomes
        the price that the position is to be protected at."""
        fill = event.fill
        self._note(fill.execution_id)
        self.cash += fill.cash_change
        key = (fill.strategy, fill.symbol)
        before = self.position(*key)
        entries = self._entries.get(key)
        if entries is None:
            entries = self._entries[key] = deque(maxlen=ENTRIES_KEPT)
        entries.append((fill, before))
        position, closed = apply(before, fill)
        if event.order.stop_loss is not None and position.quantity:
            position = replace(position, stop_price=event.order.stop_loss)
        self.positions[key] = position
        self._resync()
        self._bus.publish(PositionChanged(position, fill, self.cash))
        if closed is not None:
            self._bus.publish(PositionClosed(closed))

    def on_busted(self, event: TradeBusted) -> None:
        """The venue takes an execution back: cash, cost and realised P&L become what they would be
        without it, or with the correction in its place.

        The order keeps what was filled: the venue does not ask for it again. An execution of a
        former session is reversed by an opposite entry at its price, by average cost; cash,
        quantity and the sum of realised and unrealised P&L are exact there too. Of a position the
        last `ENTRIES_KEPT` executions of a session can be taken back.
        """
        key = event.execution_id
        if self.is_applied(key + REVERSED):
            return
        correction = event.corrected
        found = self._entry(event)
        if found is None:
            what = f"no execution {clean(key)} of {clean(event.symbol)} is known"
            self._bus.publish(CommandRefused("TradeBusted", what))
            return
        if correction is not None:
            if fault := correction_fault(found, correction):
                self._bus.publish(FillQuarantined(correction, fault))
                return
            correction = self._as_ours(found, correction)
        self._reverse(found, correction, clean(event.reason))

    def _entry(self, event: TradeBusted) -> Fill | None:
        """The execution that a bust is of."""
        for (_, symbol), entries in self._entries.items():
            if symbol == event.symbol:
                for fill, _ in entries:
                    if fill.execution_id == event.execution_id:
                        return fill
        former = self._former.get(event.execution_id)
        return former if former is not None and former.symbol == event.symbol else None

    def _as_ours(self, fill: Fill, correction: Fill) -> Fill | None:
        """`correction` as an entry of the same order; None where it was reported before."""
        key = correction.execution_id
        if key == fill.execution_id:
            key += ":corrected"
        if self.is_applied(key):
            return None
        return replace(
            correction,
            execution_id=key,
            client_order_id=fill.client_order_id,
            strategy=fill.strategy,
            venue_order_id=fill.venue_order_id,
        )

    def _reverse(self, fill: Fill, correction: Fill | None, reason: str) -> None:
        self._note(fill.execution_id + REVERSED)
        self.cash -= fill.cash_change
        if correction is not None:
            self._note(correction.execution_id)
            self.cash += correction.cash_change
        key = (fill.strategy, fill.symbol)
        now = self.position(*key)
        entries = self._entries.get(key, deque[Entry]())
        position = restated(entries, fill, correction)
        if position is None:
            position, _ = apply(now, reversing(fill))
            if correction is not None:
                position, _ = apply(position, correction)
                self._former[correction.execution_id] = correction
            self._former |= {entry.execution_id: entry for entry, _ in entries}
            entries.clear()  # what the position was before each does not hold any more
        self.positions[key] = position = replace(position, stop_price=now.stop_price)
        self._resync()
        self._bus.publish(TradeReversed(fill, correction, position, self.cash, reason))

    def _note(self, execution_id: str) -> None:
        self._executions[execution_id] = None
        if len(self._executions) > EXECUTIONS_KEPT:
            self._executions.popitem(last=False)

    # --- running estimate -----------------------------------------------------------------------

    def _mark(self, held: Holding, price: float) -> None:
        self.equity_estimate += held.quantity * (price - held.mark)
        held.mark = price
        if self.equity_estimate != self.equity_estimate:  # a held symbol had no price until now
            self._resync()

    def _mark_of(self, symbol: str) -> float:
        market = self._market.symbols.get(symbol)
        return nan if market is None else market.mark

    def _resync(self) -> None:
        """Make the estimate exact again: rounding does not add up over a session."""
        net: dict[str, Decimal] = {}
        for position in self.positions.values():
            net[position.symbol] = net.get(position.symbol, ZERO) + position.quantity
        self._held = {
            symbol: Holding(float(quantity), self._mark_of(symbol))
            for symbol, quantity in net.items()
            if quantity
        }
        self.equity_estimate = float(self.cash) + sum(
            held.quantity * held.mark for held in self._held.values()
        )
