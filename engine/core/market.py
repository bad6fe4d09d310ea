"""Market data: last quotes, rolling bars, mark prices, gaps and staleness."""

from collections import deque
from collections.abc import Callable, Iterable
from math import isfinite, isnan, nan
from sys import maxsize

from engine.core.bus import Bus
from engine.core.events import (
    BarClosed,
    BarCorrected,
    BarGap,
    ClockTick,
    DataRefused,
    FeedRecovered,
    FeedStale,
    QuoteUpdate,
)
from engine.core.model import DAY, MINUTE, NANOS, Bar, Instrument, Quote
from engine.core.text import clean

LONG_BAR = 60 * MINUTE


REFUSALS_KEPT = 1_000
"""Symbols of which it is remembered that it was said; then the oldest may be told again."""


class SymbolMarket:
    """What is known of one symbol. `mark` is the last price: mid of a quote or close of a bar,
    NaN before any came; `updated` is the time it came, 0 before. `previous` is the price before it:
    of a bar under an hour its own open, for a longer one is no lone print."""

    __slots__ = (
        "bars",
        "day_open",
        "instrument",
        "mark",
        "mark_source",
        "previous",
        "quote",
        "stale",
        "updated",
    )

    def __init__(self, instrument: Instrument, bars: int) -> None:
        self.instrument = instrument
        self.bars: deque[Bar] = deque(maxlen=bars)
        self.quote: Quote | None = None
        self.mark = float("nan")
        self.mark_source = ""
        self.previous = float("nan")
        self.day_open = float("nan")
        self.updated = 0
        self.stale = False

    @property
    def change_pct(self) -> float | None:
        """The mark against the day's first price, in percent; None before either is known."""
        change = (self.mark / self.day_open - 1) * 100
        return None if isnan(change) else change

    @property
    def is_daily(self) -> bool:
        """Whether daily bars are decided on: what comes of them is for the next session."""
        return bool(self.bars) and self.bars[-1].interval >= DAY


class Market:
    """Keeps every symbol's market current, and refuses what is not sound at the edge, once.

    `decided_on` tells the client order ids of the orders that came of a bar."""

    def __init__(
        self, bus: Bus, instruments: Iterable[Instrument], history: int, stale_after: int
    ) -> None:
        self._bus = bus
        self._stale_after = stale_after
        self.symbols = {i.symbol: SymbolMarket(i, history) for i in instruments}
        self.venues = tuple(dict.fromkeys(m.instrument.venue for m in self.symbols.values()))
        self.decided_on: Callable[[Bar], tuple[str, ...]] = lambda _bar: ()
        self.refused = 0
        self._day_start = maxsize
        self._refusing: dict[str, None] = {}

    def on_quote(self, event: QuoteUpdate) -> bool:
        quote = event.quote
        market = self.symbols.get(quote.symbol)
        if market is None or not quote.is_sound:
            return self._refuse(quote.symbol, "no quote: missing, negative or crossed price")
        if quote.is_stub:
            return self._refuse(quote.symbol, "no quote: the spread is too wide to tell a price")
        if market.quote is not None and quote.ts < market.quote.ts:
            return False
        market.quote = quote
        market.mark_source = "mid"
        market.previous = market.mark
        self._update(market, (quote.bid + quote.ask) / 2, quote.ts)
        return True

    def on_bar(self, event: BarClosed) -> bool:
        bar = event.bar
        market = self.symbols.get(bar.symbol)
        if market is None or not bar.is_sound:
            return self._refuse(bar.symbol, "no bar: prices or volume make no sense")
        bars = market.bars
        if bars:
            last = bars[-1].ts
            if bar.ts <= last:
                self._correct(market, bar)
                return False
            if bar.start > last and event.live:
                self._bus.publish(BarGap(bar.symbol, (bar.start - last) // bar.interval))
        bars.append(bar)
        self._close(market, bar)
        return True

    def keep_past(self, bar: Bar) -> bool:
        """Keep a bar that closed before the start; False for one that is none, or not the next. It
        is the price where no newer one came."""
        market = self.symbols.get(bar.symbol)
        if market is None or not bar.is_sound or (market.bars and bar.ts <= market.bars[-1].ts):
            return False
        is_first = not market.bars or market.bars[-1].ts <= self._day_start
        market.bars.append(bar)
        if bar.ts > market.updated:
            self._close(market, bar)
        if is_first and bar.ts > self._day_start:
            market.day_open = bar.close
        return True

    def _close(self, market: SymbolMarket, bar: Bar) -> None:
        market.mark_source = "close"
        market.previous = bar.open if bar.interval < LONG_BAR else bar.close
        self._update(market, bar.close, bar.ts)

    def _correct(self, market: SymbolMarket, bar: Bar) -> None:
        """Put a bar in the place of the one that is kept of that time, where it is another one: its
        close is the price too, where nothing came after. Nothing is decided on it again."""
        bars = market.bars
        place = next((n for n in reversed(range(len(bars))) if bars[n].ts <= bar.ts), None)
        if place is None:
            return
        was = bars[place]
        if was.key != bar.key or was == bar:
            return
        bars[place] = bar
        if place == len(bars) - 1 and market.mark_source == "close":
            self._close(market, bar)
        self._bus.publish(BarCorrected(was, bar, self.decided_on(was)))

    def on_tick(self, event: ClockTick) -> None:
        for market in self.symbols.values():
            age = event.ts - market.updated
            if market.updated and age > self._stale_after and not market.stale:
                market.stale = True
                self._bus.publish(FeedStale(market.instrument.symbol, age))

    def marks(self) -> dict[str, float]:
        """The last price of each symbol, NaN before any came."""
        return {symbol: market.mark for symbol, market in self.symbols.items()}

    def is_fresh(self, symbol: str) -> bool:
        """Whether `symbol` has a price that is not older than the limit."""
        market = self.symbols[symbol]
        return bool(market.updated) and self._bus.now - market.updated <= self._stale_after

    def age_objection(self, symbol: str) -> str:
        """Why nothing is decided on a price of `symbol` that is not fresh."""
        updated, limit = self.symbols[symbol].updated, self._stale_after / NANOS
        if not updated:
            return "no price came yet"
        age = (self._bus.now - updated) / NANOS
        return f"the last price is {age:.6g} s old, at most {limit:g} s (STALE_AFTER_S)"

    def fresh_quote(self, symbol: str) -> Quote | None:
        """The last quote; None where it is older than the limit."""
        quote = self.symbols[symbol].quote
        is_fresh = quote is not None and self._bus.now - quote.ts <= self._stale_after
        return quote if is_fresh else None

    def ask(self, symbol: str) -> float:
        """What a buyer pays: the ask, or the mark where no quote is within the limit of age."""
        quote = self.fresh_quote(symbol)
        return quote.ask if quote is not None else self.symbols[symbol].mark

    def bid(self, symbol: str) -> float:
        """What a seller gets: the bid, or the mark where no quote is within the limit of age."""
        quote = self.fresh_quote(symbol)
        return quote.bid if quote is not None else self.symbols[symbol].mark

    def is_lone_print(self, symbol: str, most_pct: float) -> bool:
        """Whether the last price is further from the one before it than `most_pct` percent: one
        that nothing has confirmed yet."""
        market = self.symbols[symbol]
        return not abs(market.mark - market.previous) <= market.previous * most_pct / 100

    def confirmed(self, symbol: str, most_pct: float) -> float:
        """The last price; the one before it, where the last is a lone print."""
        market = self.symbols[symbol]
        lone = self.is_lone_print(symbol, most_pct) and isfinite(market.previous)
        return market.previous if lone else market.mark

    def start_day(self, start: int) -> None:
        """Changes refer to the first price of each symbol from `start` (ns UTC) on: of a day that
        goes on after a restart, to that of its first bar."""
        self._day_start = start
        for market in self.symbols.values():
            last = market.mark if market.updated >= start else nan
            market.day_open = next((bar.close for bar in market.bars if bar.ts > start), last)

    def _refuse(self, symbol: str, reason: str) -> bool:
        """Count it, and say so once until sound data come again."""
        self.refused += 1
        if symbol not in self._refusing:
            self._refusing[symbol] = None
            if len(self._refusing) > REFUSALS_KEPT:  # names that nobody knows may be any number
                del self._refusing[next(iter(self._refusing))]
            self._bus.publish(DataRefused(clean(symbol), reason))
        return False

    def _update(self, market: SymbolMarket, mark: float, ts: int) -> None:
        if self._refusing:
            self._refusing.pop(market.instrument.symbol, None)
        market.mark = mark
        market.updated = min(ts, self._bus.now)  # a time to come would keep it fresh
        if market.day_open != market.day_open and ts >= self._day_start:
            market.day_open = mark
        if market.stale and self.is_fresh(market.instrument.symbol):
            market.stale = False
            self._bus.publish(FeedRecovered(market.instrument.symbol))
