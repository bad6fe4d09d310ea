"""Market data of Interactive Brokers through ib_async: stocks of Canada and the United States.

It has a connection, and a client id, of its own: ib_async has one for each of both, a flood of
prices is then none of the orders', and one that is lost ends no order's. Protocol:
https://interactivebrokers.github.io/tws-api and https://ibkrcampus.com, under "TWS API".
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from datetime import date, datetime
from datetime import time as clock_time
from decimal import Decimal
from math import isnan
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

from engine.brokers.interactive_brokers import wire
from engine.brokers.interactive_brokers.connection import Connection
from engine.brokers.interactive_brokers.login import Gateway
from engine.brokers.throttle import TokenBucket
from engine.core.events import HaltChanged
from engine.core.model import DAY, MINUTE, NANOS, AssetClass, Bar, Instrument, Quote, nanos, utc
from engine.core.text import clean
from engine.feeds.edge import as_asked, number
from engine.feeds.live import Datum
from engine.feeds.recordings import STOCK_CALENDAR
from engine.ops.errors import (
    InDoubt,
    NotConnected,
    NotPermitted,
    NotSent,
    SymbolRefused,
    UserError,
)

if TYPE_CHECKING:
    import ib_async

TORONTO = "XTSE"
CALENDARS = {
    **dict.fromkeys(("TSE", "VENTURE", "AEQLIT"), TORONTO),
    **dict.fromkeys(("NASDAQ", "NYSE", "ARCA", "AMEX", "BATS", "IEX", "PINK"), STOCK_CALENDAR),
}
"""Of the exchanges at which a stock may be listed."""
EASTERN = ZoneInfo("America/New_York")
"""The clock of all of these: a bar of a day is told by its date there."""
CENT = Decimal("0.01")
MOST_SYMBOLS = 50
"""IB keeps no more requests of bars open at a time."""
PAGES = {
    NANOS: ("1 secs", 1_800 * NANOS),
    MINUTE: ("1 min", DAY),
    5 * MINUTE: ("5 mins", 7 * DAY),
    15 * MINUTE: ("15 mins", 14 * DAY),
    60 * MINUTE: ("1 hour", 30 * DAY),
    240 * MINUTE: ("4 hours", 90 * DAY),
    DAY: ("1 day", 360 * DAY),
}
"""What IB calls bars of a length (ns), and how long a time is asked for at once."""
HISTORY_DAYS = 5
"""Of bars of a minute, in one answer: a few thousand."""
REGULAR_MINUTES = 390
HISTORY_S = 20.0
AGAIN_S = 15.0
"""The same question within this time counts as a violation of IB's pacing."""
SMALL_BARS, SMALL_BARS_S = 60.0, 600.0
"""Of bars of less than a minute IB takes so many requests in so long a time; of others it has
lifted that limit (https://interactivebrokers.github.io/tws-api/historical_limitations.html)."""
SETTLE_S = 6.0
"""How long after a minute's end its bar counts as closed: IB brings it up to date every five."""
SNAPSHOT_S = 1.5
SAMPLE = 10
"""Symbols whose quotes are asked for at once."""

log = logging.getLogger(__name__)


async def instruments(gateway: Gateway, names: Sequence[str]) -> list[Instrument]:
    """How each of `names` (AAPL, SHOP.TO) trades, by these names, asked of TWS.

    Raises UserError for what Interactive Brokers does not have, NotSent or InDoubt where there is
    no answer.
    """
    if len(names) > MOST_SYMBOLS:
        raise UserError(
            f"{len(names)} symbols are more than Interactive Brokers gives bars of",
            f"take no more than {MOST_SYMBOLS} of them into SYMBOLS",
        )
    line = Connection(gateway, gateway.data_client_id)
    await line.open(with_orders=False)
    try:
        return [_instrument(name, await _details(line, name)) for name in names]
    finally:
        line.close()


async def _details(line: Connection, name: str) -> "list[ib_async.ContractDetails]":
    try:
        return await line.details(*wire.stock_of(name))
    except wire.NothingThere:
        return []


def _instrument(name: str, found: "list[ib_async.ContractDetails]") -> Instrument:
    """Its tick is a cent at least: less is right only of prices under a dollar."""
    contract = found[0].contract if len(found) == 1 else None
    if contract is None:
        raise SymbolRefused(
            f"Interactive Brokers has {len(found)} stocks {clean(name)}", "AAPL, SHOP.TO"
        )
    calendar = CALENDARS.get(contract.primaryExchange)
    if calendar is None:
        at = clean(contract.primaryExchange) or "no exchange"
        raise SymbolRefused(f"{clean(name)} is listed at {at}, whose hours are not known")
    tick = max(wire.exact(found[0].minTick), CENT)
    return Instrument(
        name,
        AssetClass.STOCK,
        tick,
        Decimal(1),
        clean(contract.currency),
        venue="interactive_brokers",
        calendar=calendar,
    )


class InteractiveBrokersSource:
    """What is not live, frozen or delayed, is no price to trade at: it is left out, and the symbol
    becomes stale. Where nothing is live, the stream ends with the reason. `now` is in ns UTC.
    """

    name = "interactive_brokers"

    def __init__(
        self, gateway: Gateway, traded: Sequence[Instrument], now: Callable[[], int]
    ) -> None:
        self.instruments = tuple(traded)
        self._now = now
        self._line = Connection(gateway, gateway.data_client_id, self._on_change)
        self._opening = asyncio.Lock()
        self._contracts: dict[str, ib_async.Contract] = {}
        self._small = TokenBucket(SMALL_BARS / SMALL_BARS_S, SMALL_BARS, 0, time.monotonic)
        self._asked: dict[tuple[object, ...], tuple[float, list[Bar]]] = {}
        self._newest: dict[str, Quote] = {}
        self._halted: dict[str, bool] = {}
        self._refused: dict[str, str] = {}
        self._sampled = 0
        self._stream: _Stream | None = None

    async def close(self) -> None:
        self._line.close()

    # --- the connection -------------------------------------------------------------------------

    async def _connected(self) -> "ib_async.IB":
        async with self._opening:
            if not self._line.is_connected:
                await self._line.open(with_orders=False)
        return self._line.ib

    def _on_change(self, up: bool, reason: str) -> None:
        if self._stream is not None and not up:
            self._stream.end(NotConnected(reason))

    async def _contract(self, symbol: str) -> "ib_async.Contract":
        if symbol not in self._contracts:
            self._contracts[symbol] = await self._line.contract(*wire.stock_of(symbol))
        return self._contracts[symbol]

    # --- the stream -----------------------------------------------------------------------------

    async def stream(self) -> AsyncGenerator[Sequence[Datum], None]:
        ib = await self._connected()
        ours = {(await self._contract(i.symbol)).conId: i.symbol for i in self.instruments}
        self._refused.clear()
        stream = self._stream = _Stream()

        def on_error(_request: int, code: int, text: str, contract: Any) -> None:
            symbol = ours.get(getattr(contract, "conId", 0))
            if symbol is not None and code in wire.NO_MARKET_DATA:
                self._refuse(symbol, clean(text))

        def on_end() -> None:
            stream.end(NotConnected("the connection to TWS has ended"))

        ib.errorEvent += on_error
        ib.disconnectedEvent += on_end
        bars = asyncio.create_task(self._follow_bars(stream))
        bars.add_done_callback(stream.end_with)
        try:
            await self._follow_quotes(ib, stream)
            yield ()
            while True:
                yield await stream.next()
        finally:
            self._stream = None
            bars.cancel()
            await asyncio.gather(bars, return_exceptions=True)
            ib.errorEvent -= on_error
            ib.disconnectedEvent -= on_end
            if self._line.is_up:  # without that TWS has to come back first, and says so
                self._line.close()

    async def _follow_quotes(self, ib: "ib_async.IB", stream: "_Stream") -> None:
        ib.reqMarketDataType(wire.LIVE_DATA)
        for instrument in self.instruments:
            symbol = instrument.symbol
            await self._line.turn()
            ticked: Any = ib.reqMktData(await self._contract(symbol)).updateEvent

            def on_tick(ticker: "ib_async.Ticker", symbol: str = symbol) -> None:
                stream.tell(self._data(symbol, ticker))

            ticked.connect(on_tick)

    def _data(self, symbol: str, ticker: "ib_async.Ticker") -> list[Datum]:
        data: list[Datum] = []
        halted = ticker.halted > 0
        if not isnan(ticker.halted) and self._halted.get(symbol) is not halted:
            self._halted[symbol] = halted
            data.append(HaltChanged(symbol, halted))
        if ticker.marketDataType != wire.LIVE_DATA:
            self._refuse(symbol, "it is frozen or delayed")
        elif not (isnan(ticker.bid) or isnan(ticker.ask)):  # neither side came yet, or one
            self._refused.pop(symbol, None)
            data.append(self._quote(symbol, ticker))
        return data

    def _quote(self, symbol: str, ticker: "ib_async.Ticker", asked: bool = False) -> Quote:
        prices = number(ticker.bid), number(ticker.ask)
        sizes = number(ticker.bidSize), number(ticker.askSize)
        quote = Quote(symbol, self._now(), *prices, *sizes)
        if asked:
            quote = as_asked(quote, self._newest.get(symbol))
        self._newest[symbol] = quote
        return quote

    def _refuse(self, symbol: str, reason: str) -> None:
        if symbol not in self._refused:
            log.warning("no live market data of %s: %s", clean(symbol), reason)
        self._refused[symbol] = reason
        if len(self._refused) == len(self.instruments) and self._stream is not None:
            self._stream.end(NotPermitted(f"there are no live market data: {reason}"))

    async def _follow_bars(self, stream: "_Stream") -> None:
        """What cannot be followed is tried again a minute later."""
        following: dict[str, _Minutes] = {}
        while True:
            for symbol in (i.symbol for i in self.instruments if i.symbol not in following):
                try:
                    bars = await self._subscribe_bars(symbol)
                except (NotSent, InDoubt) as error:
                    log.warning("no bars of %s: %s", clean(symbol), error)
                else:
                    following[symbol] = _Minutes(symbol, bars, stream.tell, self._now)
            next_end = (self._now() // MINUTE + 1) * MINUTE
            await asyncio.sleep((next_end - self._now()) / NANOS + SETTLE_S)
            for minutes in following.values():
                minutes.tell()

    async def _subscribe_bars(self, symbol: str) -> "ib_async.BarDataList":
        """Of a day: ib_async leaves out what comes after a list that was empty."""
        contract = await self._contract(symbol)
        return await self._line.ask(
            lambda ib: ib.reqHistoricalDataAsync(
                contract, "", "1 D", "1 min", "TRADES", False, 2, True, timeout=0
            ),
            HISTORY_S,
        )

    # --- asked for ------------------------------------------------------------------------------

    async def quotes(self) -> Sequence[Quote]:
        """Of some of the symbols, in turn: IB takes no more questions."""
        await self._connected()
        count = len(self.instruments)
        turn = range(self._sampled, self._sampled + min(SAMPLE, count))
        self._sampled = turn.stop % count
        symbols = [self.instruments[n % count].symbol for n in turn]
        found = await asyncio.gather(*map(self._snapshot, symbols))
        return [quote for quote in found if quote is not None]

    async def _snapshot(self, symbol: str) -> Quote | None:
        """A quote beside the stream's, as soon as it has both sides: IB ends it seconds later."""
        import ib_async

        contract = await self._contract(symbol)
        await self._line.turn()
        ib = self._line.ib
        client: Any = ib.client
        wrapper: Any = ib.wrapper
        request = client.getReqId()
        # One of its own, or its ticks would look like the stream's.
        ticker = ib_async.Ticker(contract=contract, defaults=wrapper.defaults)
        ticked, updated = asyncio.Event(), cast("Any", ticker.updateEvent)

        def note(_: object) -> None:
            ticked.set()

        updated.connect(note)
        wrapper.reqId2Ticker[request] = ticker
        client.reqMktData(request, contract, "", True, False, [])
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(SNAPSHOT_S):
                    while isnan(ticker.bid) or isnan(ticker.ask):
                        await ticked.wait()
                        ticked.clear()
        finally:
            wrapper.reqId2Ticker.pop(request, None)
        is_live = ticker.marketDataType == wire.LIVE_DATA
        is_there = not (isnan(ticker.bid) or isnan(ticker.ask))
        return self._quote(symbol, ticker, asked=True) if is_live and is_there else None

    async def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        """The last `count` minute bars that were traded; raises NotSent or InDoubt where there is
        no answer."""
        end = until - until % MINUTE
        days = min(HISTORY_DAYS, 1 + count // REGULAR_MINUTES)
        found: list[Bar] = []
        while len(found) < count:
            page = [b for b in await self._page(symbol, MINUTE, end, days * DAY) if b.ts <= end]
            if not page:
                break
            found = page + found
            end = page[0].start
        return found[-count:]

    async def bars(
        self, symbol: str, interval: int, start: int, end: int
    ) -> AsyncGenerator[Sequence[Bar], None]:
        if interval not in PAGES:
            names = ", ".join(name for name, _ in PAGES.values())
            raise UserError("there are no bars of such a length here", f"there are {names}")
        _, span = PAGES[interval]
        while start + interval <= end:
            until = min(end, start + span - interval)
            # A bar over the edge begins in this page, and ends in the time of the next one.
            page = await self._page(symbol, interval, min(end, until + interval), span)
            yield [bar for bar in page if start <= bar.start < until and bar.ts <= end]
            start = until

    async def _page(self, symbol: str, interval: int, end: int, span: int) -> list[Bar]:
        """The bars of `span` (ns), and of older times where there was no market, up to `end`."""
        await self._connected()
        key, now = (symbol, interval, end, span), asyncio.get_running_loop().time()
        self._asked = {k: kept for k, kept in self._asked.items() if now < kept[0] + AGAIN_S}
        if key in self._asked:
            return self._asked[key][1]
        if interval < MINUTE:
            self._small.take()
        size, _ = PAGES[interval]
        duration = f"{span // DAY} D" if span >= DAY else f"{span // NANOS} S"
        contract = await self._contract(symbol)
        try:
            rows = await self._line.ask(
                lambda ib: ib.reqHistoricalDataAsync(
                    contract, utc(end), duration, size, "TRADES", False, 2, timeout=0
                ),
                HISTORY_S,
            )
        except wire.NothingThere:
            return []
        bars = [_bar(symbol, row, interval) for row in rows]
        self._asked[key] = now, bars
        return bars


class _Minutes:
    """The bars of `symbol`, which ib_async keeps up to date: tells each once, when the next one
    begins, or it has settled."""

    def __init__(
        self,
        symbol: str,
        bars: "ib_async.BarDataList",
        tell: Callable[[Sequence[Datum]], None],
        now: Callable[[], int],
    ) -> None:
        self._symbol = symbol
        self._bars = bars
        self._tell = tell
        self._now = now
        self._told = now() // MINUTE * MINUTE
        bars.updateEvent += self.tell

    def tell(self, *_: object) -> None:
        settled = self._now() - round(SETTLE_S * NANOS)
        found = [_bar(self._symbol, row, MINUTE) for row in self._bars]
        closed = [bar for bar in found[:-1] if bar.ts > self._told]
        closed += [bar for bar in found[-1:] if self._told < bar.ts <= settled]
        if closed:
            self._told = closed[-1].ts
            self._tell(closed)
        del self._bars[:-2]  # it is never shortened else


class _Stream:
    """What has arrived and was not taken yet; it is taken on the loop on which it arrives."""

    def __init__(self) -> None:
        self._arrived: list[Datum] = []
        self._woken = asyncio.Event()
        self._error: BaseException | None = None

    def tell(self, data: Sequence[Datum]) -> None:
        if data:
            self._arrived += data
            self._woken.set()

    def end(self, error: BaseException) -> None:
        self._error = self._error or error
        self._woken.set()

    def end_with(self, task: asyncio.Task[None]) -> None:
        """It ends where `task` does."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.end(error)

    async def next(self) -> Sequence[Datum]:
        """Raises what has ended it, once all was taken."""
        await self._woken.wait()
        if self._arrived:
            batch, self._arrived = self._arrived, []
            if self._error is None:
                self._woken.clear()
            return batch
        if self._error is not None:
            raise self._error
        self._woken.clear()
        return ()


def _bar(symbol: str, row: "ib_async.BarData", interval: int) -> Bar:
    """IB tells the start of a bar, and of one of a day its date."""
    prices = (row.open, row.high, row.low, row.close, row.volume)
    open_, high, low, close, volume = map(number, prices)
    return Bar(symbol, _start(row.date) + interval, open_, high, low, close, volume, interval)


def _start(told: date | datetime) -> int:
    if isinstance(told, datetime):
        return nanos(told)
    return nanos(datetime.combine(told, clock_time(), EASTERN))
