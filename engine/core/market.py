"""Market data: last quotes, rolling bars, mark prices, gaps and staleness."""

from collections import deque
from collections.abc import Iterable

from engine.core.bus import Bus
from engine.core.events import (
    BarClosed,
    BarGap,
    ClockTick,
    DataRefused,
    FeedRecovered,
    FeedStale,
    QuoteUpdate,
)
from engine.core.model import Bar, Instrument, Quote


class SymbolMarket:
    """What is known of one symbol. `mark` is the last price: mid of a quote or close of a bar,
    NaN before any came; `updated` is the time it came, 0 before."""

    __slots__ = (
        "bars",
        "day_open",
        "instrument",
        "mark",
        "mark_source",
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
        self.day_open = float("nan")
        self.updated = 0
        self.stale = False


class Market:
    """Keeps every symbol's market current, and refuses what is not sound at the edge, once."""

    def __init__(
        self, bus: Bus, instruments: Iterable[Instrument], history: int, stale_after: int
    ) -> None:
        self._bus = bus
        self._stale_after = stale_after
        self.symbols = {i.symbol: SymbolMarket(i, history) for i in instruments}
        self.refused = 0

    def on_quote(self, event: QuoteUpdate) -> bool:
        quote = event.quote
        market = self.symbols.get(quote.symbol)
        if market is None or not quote.is_sound:
            return self._refuse(quote.symbol, "no quote: missing, negative or crossed price")
        market.quote = quote
        market.mark = (quote.bid + quote.ask) / 2
        market.mark_source = "mid"
        market.updated = quote.ts
        if market.stale:
            self._recover(market)
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
                return False
            if bar.start > last and event.live:
                self._bus.publish(BarGap(bar.symbol, (bar.start - last) // bar.interval))
        bars.append(bar)
        market.mark = bar.close
        market.mark_source = "close"
        market.updated = bar.ts
        if market.stale:
            self._recover(market)
        return True

    def on_tick(self, event: ClockTick) -> None:
        for market in self.symbols.values():
            age = event.ts - market.updated
            if market.updated and age > self._stale_after and not market.stale:
                market.stale = True
                self._bus.publish(FeedStale(market.instrument.symbol, age))

    def is_fresh(self, symbol: str) -> bool:
        """Whether `symbol` has a price that is not older than the limit."""
        market = self.symbols[symbol]
        return bool(market.updated) and self._bus.now - market.updated <= self._stale_after

    def start_day(self) -> None:
        for market in self.symbols.values():
            market.day_open = market.mark

    def _refuse(self, symbol: str, reason: str) -> bool:
        self.refused += 1
        self._bus.publish(DataRefused(symbol, reason))
        return False

    def _recover(self, market: SymbolMarket) -> None:
        market.stale = False
        self._bus.publish(FeedRecovered(market.instrument.symbol))
