"""The ledger: cash of each account, positions, realised and unrealised P&L. Exact, in Decimal."""

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite, nan

from msgspec.structs import replace

from engine.core.accounts import Accounts
from engine.core.average_cost import REVERSED, Entry, apply, correction_fault, restated, reversing
from engine.core.bus import Bus
from engine.core.events import (
    BarClosed,
    BarCorrected,
    CashAdjusted,
    CommandRefused,
    Event,
    FillQuarantined,
    HistoryLoaded,
    LateFill,
    OrderFilled,
    OrderPartiallyFilled,
    PositionChanged,
    PositionClosed,
    QuoteUpdate,
    Reconciled,
    Restored,
    TradeBusted,
    TradeReversed,
)
from engine.core.market import Market
from engine.core.model import ZERO, Book, Fill, Instrument, Position
from engine.core.newest import Newest
from engine.core.order_rules import is_dust
from engine.core.text import clean

EXECUTIONS_KEPT = 200_000
"""Ids by which an execution that is told again is known. A venue tells again those of a day: of its
stream's last minutes, or since the end of the last session."""
ENTRIES_KEPT = 200
"""Of each position, the executions that can be taken out again exactly."""


class Holding:
    """A symbol's net quantity, times what a unit of its currency is worth, and its last mark as
    floats, for the running estimate of equity."""

    __slots__ = ("mark", "quantity")

    def __init__(self, quantity: float, mark: float) -> None:
        self.quantity = quantity
        self.mark = mark


class Portfolio:
    """Positions by strategy and symbol, and the cash of each account, by its venue.

    Cash and positions change by fills, each execution id once, and by what the operator takes over
    of a broker's cash. Cash, prices and costs are in
    the currency of their account; equity, exposure and all sums over accounts are in the base
    currency. `equity_estimate` follows every price in float64 for the loss limits and the equity
    curve; `equity()` is exact. `beyond` is how much more of a symbol its account has than the
    books, by the broker's last statement.
    """

    def __init__(
        self, bus: Bus, market: Market, accounts: Accounts, cash: Mapping[str, Decimal]
    ) -> None:
        self._bus = bus
        self._market = market
        self.accounts = accounts
        self.cash = dict(cash)
        self.positions: dict[tuple[str, str], Position] = {}
        self.beyond: dict[str, Decimal] = {}
        self._venues = {symbol: m.instrument.venue for symbol, m in market.symbols.items()}
        self._marks: dict[str, tuple[float, Decimal]] = {}
        self._held: dict[str, Holding] = {}
        self._executions: Newest[str, None] = Newest(EXECUTIONS_KEPT)
        self._entries: dict[tuple[str, str], deque[Entry]] = {}
        self._former: dict[str, Fill] = {}
        self.equity_estimate = 0.0
        self._resync()

    # --- reading --------------------------------------------------------------------------------

    def position(self, strategy: str, symbol: str) -> Position:
        return self.positions.get((strategy, symbol)) or Position(strategy, symbol)

    def mark_price(self, symbol: str) -> Decimal | None:
        """The symbol's mark price, None while it has none."""
        market = self._market.symbols.get(symbol)
        if market is None or not isfinite(market.mark):
            return None
        known = self._marks.get(symbol)
        if known is None or known[0] != market.mark:
            known = self._marks[symbol] = (market.mark, Decimal(repr(market.mark)))
        return known[1]

    def venue(self, symbol: str) -> str:
        """That of the account of `symbol`; empty where no account here trades it."""
        return self._venues.get(symbol, "")

    def worth(self, symbol: str) -> Decimal | None:
        """What a unit of the symbol's currency is worth in the base currency; None where that is
        not known."""
        return self.accounts.worth.get(self.venue(symbol))

    def in_base(self, amounts: Mapping[str, Decimal]) -> Decimal | None:
        """The sum of `amounts`, each in the currency of the account that it is by; None where a
        rate is not known."""
        total = ZERO
        for venue, amount in amounts.items():
            worth = self.accounts.worth[venue]
            if worth is None:
                return None
            total += amount * worth
        return total

    def equity(self, price: Callable[[str], Decimal | None] | None = None) -> Decimal | None:
        """Cash and positions at `price` of each symbol, by default its mark price; None where a
        held symbol has no price, or a currency no rate."""
        price = price or self.mark_price
        totals, venues = dict(self.cash), self._venues
        for position in self.positions.values():
            if position.quantity:
                mark = price(position.symbol)
                if mark is None:
                    return None
                totals[venues[position.symbol]] += position.quantity * mark
        return self.in_base(totals)

    def account_equity(self, venue: str) -> Decimal | None:
        """Cash and positions of one account, in its currency; None where a symbol that it holds has
        no price."""
        total = self.cash[venue]
        for position in self.positions.values():
            if position.quantity and self.venue(position.symbol) == venue:
                mark = self.mark_price(position.symbol)
                if mark is None:
                    return None
                total += position.quantity * mark
        return total

    def is_open(self, position: Position) -> bool:
        """Whether a position is one: neither flat nor dust."""
        if not position.quantity:
            return False
        instrument, mark = self._instrument(position.symbol), self.mark_price(position.symbol)
        return instrument is None or not is_dust(position.quantity, instrument, mark)

    def book(self, strategy: str) -> Book:
        """What `strategy` itself holds now, and the money of all accounts."""
        held = {p.symbol: p for (name, _), p in self.positions.items() if name == strategy}
        open_ = {symbol: p for symbol, p in held.items() if self.is_open(p)}
        return Book(self.in_base(self.cash), self.equity(), open_)

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
        """An account that it does not tell of keeps what it began with."""
        self.cash = {venue: event.cash.get(venue, cash) for venue, cash in self.cash.items()}
        former = {symbol: v for symbol, v in event.venues.items() if v in self.cash}
        self._venues = former | self._venues
        self.positions = {(p.strategy, p.symbol): p for p in event.positions}
        self._executions.clear()
        self._executions.update(dict.fromkeys(event.execution_ids))
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

    def on_bar_corrected(self, event: BarCorrected) -> None:
        self._mark_anew(event.bar.symbol)

    def on_history(self, event: HistoryLoaded) -> None:
        self._mark_anew(event.symbol)

    def _mark_anew(self, symbol: str) -> None:
        held = self._held.get(symbol)
        if held is not None:
            self._mark(held, self._mark_of(symbol))

    def look_at_rates(self, _: Event) -> None:
        """Go by the rates that are in force now."""
        if self.accounts.look(self._bus.now):
            self._resync()

    def on_fill(self, event: OrderPartiallyFilled | OrderFilled | LateFill) -> None:
        """Apply an execution that the order book found new and sound. An entry's stop-loss becomes
        the price that the position is to be protected at."""
        fill = event.fill
        self._executions[fill.execution_id] = None
        self.cash[fill.venue] += fill.cash_change
        key = (fill.strategy, fill.symbol)
        before = self.position(*key)
        entries = self._entries.get(key)
        if entries is None:
            entries = self._entries[key] = deque(maxlen=ENTRIES_KEPT)
        entries.append((fill, before))
        position, closed = apply(before, fill, self._instrument(fill.symbol))
        if event.order.stop_loss is not None and position.quantity:
            position = replace(position, stop_price=event.order.stop_loss)
        self.positions[key] = position
        self._resync()
        self._bus.publish(PositionChanged(position, fill, self.cash[fill.venue]))
        if closed is not None:
            self._bus.publish(PositionClosed(closed))

    def on_adjusted(self, event: CashAdjusted) -> None:
        self.cash[event.adjustment.venue] += event.adjustment.amount
        self._resync()

    def on_reconciled(self, event: Reconciled) -> None:
        """What differs is not booked: no execution says how it came about."""
        elsewhere = {s: q for s, q in self.beyond.items() if self.venue(s) != event.broker}
        self.beyond = elsewhere | {
            each.symbol: Decimal(each.theirs) - Decimal(each.ours)
            for each in event.differences
            if each.kind == "position"
        }

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
            venue=fill.venue,
        )

    def _reverse(self, fill: Fill, correction: Fill | None, reason: str) -> None:
        self._executions[fill.execution_id + REVERSED] = None
        cash = self.cash[fill.venue] - fill.cash_change
        if correction is not None:
            self._executions[correction.execution_id] = None
            cash += correction.cash_change
        self.cash[fill.venue] = cash
        key = (fill.strategy, fill.symbol)
        now = self.position(*key)
        entries = self._entries.get(key, deque[Entry]())
        instrument = self._instrument(fill.symbol)
        position = restated(entries, fill, correction, instrument)
        if position is None:
            position, _ = apply(now, reversing(fill), instrument)
            if correction is not None:
                position, _ = apply(position, correction, instrument)
                self._former[correction.execution_id] = correction
            self._former |= {entry.execution_id: entry for entry, _ in entries}
            entries.clear()  # what the position was before each does not hold any more
        self.positions[key] = position = replace(position, stop_price=now.stop_price)
        self._resync()
        self._bus.publish(TradeReversed(fill, correction, position, cash, reason))

    def _instrument(self, symbol: str) -> Instrument | None:
        market = self._market.symbols.get(symbol)
        return None if market is None else market.instrument

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
        worth = {v: nan if w is None else float(w) for v, w in self.accounts.worth.items()}
        self._held = {
            symbol: Holding(
                float(quantity) * worth.get(self.venue(symbol), nan), self._mark_of(symbol)
            )
            for symbol, quantity in net.items()
            if quantity
        }
        cash = sum((float(cash) * worth[venue] for venue, cash in self.cash.items()), 0.0)
        self.equity_estimate = cash + sum(held.quantity * held.mark for held in self._held.values())
