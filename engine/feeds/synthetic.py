"""Made-up market data at a set rate, for load tests: seeded random walks."""

import asyncio
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import count
from random import Random

from engine.core.events import BarClosed, FeedChanged, QuoteUpdate
from engine.core.model import MINUTE, NANOS, AssetClass, Bar, Instrument, Quote
from engine.feeds.base import Publish, Show
from engine.feeds.clock import Clock, SystemClock

BATCH_SECONDS = 0.005
YIELD_EVERY = 25
"""Quotes, or bars, after which the loop may do other things: a kill waits for no more."""
TICKS_PER_UNIT = 100
QUOTE_SIZE = 100.0


class SyntheticFeed:
    """Quotes of `symbols` symbols (S000, S001, …) in turn, `rate` a second over all of them, and
    the bars of `interval` nanoseconds that their mids form. Its market never closes.

    The same `seed` gives the same prices in the same order, whatever the timing. Each quote has the
    time at which it was due; a feed that falls a second behind skips that time, and says so.
    """

    name = "synthetic"
    recorded = False
    conflated = 0

    def __init__(
        self,
        symbols: int,
        rate: int,
        seed: int,
        interval: int = MINUTE,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.instruments = tuple(
            Instrument(name, AssetClass.STOCK, Decimal("0.01"), Decimal(1))
            for name in symbol_names(symbols)
        )
        self._rate = rate
        self._seed = seed
        self._interval = interval
        self._walk = RandomWalk(seed, symbol_names(symbols))
        self._bars = _BarBuilder(interval)
        self._start = self.clock.now()

    @property
    def span(self) -> tuple[int, int]:
        return self._start, self._start

    async def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        """Bars before the feed was made; the last one closes at the price that the quotes start
        from."""
        return await asyncio.to_thread(self._history, symbol, count, until)

    def _history(self, symbol: str, count: int, until: int) -> list[Bar]:
        random = Random(f"{self._seed} history {symbol}")
        ts = min(until, self._start) // self._interval * self._interval
        close = first_price(self._seed, symbol)
        bars: list[Bar] = []
        for _ in range(count):
            open_ = max(1, close + random.randint(-25, 25))
            high = max(open_, close) + random.randint(0, 10)
            low = max(1, min(open_, close) - random.randint(0, 10))
            bar = Bar(
                symbol,
                ts,
                open_ / TICKS_PER_UNIT,
                high / TICKS_PER_UNIT,
                low / TICKS_PER_UNIT,
                close / TICKS_PER_UNIT,
                QUOTE_SIZE * random.randint(1, 1000),
                self._interval,
            )
            bars.append(bar)
            ts, close = ts - self._interval, open_
        return bars[::-1]

    @property
    def played(self) -> None:
        """Its market time is now."""

    async def past(self, count: int, since: int, show: Show) -> None:
        """`count` bars of each symbol; nobody saw the ones before a restart form."""
        for instrument in self.instruments:
            await show(await self.history(instrument.symbol, count, self._start))

    async def run(self, publish: Publish, ready: asyncio.Event | None = None) -> None:
        publish(FeedChanged(self.name, "connected", ts=self.clock.now()))
        start, sent = self.clock.now(), 0
        while True:
            next_due = start + (sent + 1) * NANOS // self._rate
            behind = self.clock.now() - next_due
            if behind > NANOS:
                reason = f"skipped {behind / NANOS:.1f} s: {self._rate} quotes/s were too many"
                publish(FeedChanged(self.name, "connected", reason, ts=next_due))
                start, sent = next_due + behind, 0
            due = (self.clock.now() - start) * self._rate // NANOS
            while sent < due:
                sent += 1
                await self._publish_next(publish, start + sent * NANOS // self._rate)
                if sent % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(BATCH_SECONDS)

    def steer(self, action: str, speed: float, author: str = "") -> None:
        """Nothing: its time is now."""

    async def _publish_next(self, publish: Publish, ts: int) -> None:
        quote = self._walk.next_quote(ts)
        for number, bar in enumerate(self._bars.add(quote), 1):
            publish(BarClosed(bar, ts=bar.ts))
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        publish(QuoteUpdate(quote, ts=ts))


def symbol_names(symbols: int) -> tuple[str, ...]:
    return tuple(f"S{number:03d}" for number in range(symbols))


def quotes(seed: int, symbols: Sequence[str], rate: int = 10_000) -> Iterator[Quote]:
    """Endless quotes of `symbols` in turn, `rate` a second from time 0 on, as SyntheticFeed's."""
    walk = RandomWalk(seed, symbols)
    return (walk.next_quote(number * NANOS // rate) for number in count(1))


def first_price(seed: int, symbol: str) -> int:
    """The price in ticks from which the walk of `symbol` starts: 20.00 to 500.00."""
    return Random(f"{seed} {symbol}").randint(20 * TICKS_PER_UNIT, 500 * TICKS_PER_UNIT)


class RandomWalk:
    """Quotes of `symbols` in turn; each bid moves by up to two ticks, and stays above 1.00."""

    def __init__(self, seed: int, symbols: Sequence[str]) -> None:
        self._symbols = tuple(symbols)
        self._bids = [first_price(seed, symbol) for symbol in symbols]
        self._draw = Random(seed).random
        self._turn = -1

    def next_quote(self, ts: int) -> Quote:
        self._turn = turn = (self._turn + 1) % len(self._bids)
        draw = int(self._draw() * 15)
        self._bids[turn] = bid = max(TICKS_PER_UNIT, self._bids[turn] + draw % 5 - 2)
        ask = bid + 1 + draw // 5
        return Quote(
            self._symbols[turn],
            ts,
            bid / TICKS_PER_UNIT,
            ask / TICKS_PER_UNIT,
            QUOTE_SIZE,
            QUOTE_SIZE,
        )


class _BarBuilder:
    """Bars of all symbols from the mids of their quotes, closed together at each interval's end."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._end = 0
        self._open: dict[str, list[float]] = {}

    def add(self, quote: Quote) -> list[Bar]:
        """Count `quote` in; returns the bars that its time closes."""
        closed: list[Bar] = []
        if quote.ts >= self._end:
            closed = [
                Bar(symbol, self._end, open_, high, low, close, volume, self._interval)
                for symbol, (open_, high, low, close, volume) in self._open.items()
            ]
            self._open = {}
            self._end = (quote.ts // self._interval + 1) * self._interval
        mid = quote.mid
        values = self._open.get(quote.symbol)
        if values is None:
            self._open[quote.symbol] = [mid, mid, mid, mid, quote.bid_size]
        else:
            values[1] = max(values[1], mid)
            values[2] = min(values[2], mid)
            values[3] = mid
            values[4] += quote.bid_size
        return closed
