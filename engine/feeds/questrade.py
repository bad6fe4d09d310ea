"""Market data of Questrade: stocks of Canada and the United States.

Quotes are streamed; bars are not, and are asked for after each minute. A quote comes without a
time: it has the one at which it was heard. Protocol: https://www.questrade.com/api/documentation.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import MsgspecError, json

from engine.brokers.questrade import wire
from engine.core.events import HaltChanged
from engine.core.model import DAY, MINUTE, NANOS, AssetClass, Bar, Instrument, Quote
from engine.core.text import clean
from engine.feeds.edge import as_asked, number
from engine.feeds.live import Datum
from engine.feeds.recordings import STOCK_CALENDAR
from engine.ops.errors import (
    InDoubt,
    NotAuthenticated,
    NotConnected,
    NotPermitted,
    NotSent,
    SymbolRefused,
    UserError,
)

if TYPE_CHECKING:
    from engine.brokers.questrade.session import Session

TORONTO = "XTSE"
CALENDARS = {
    **dict.fromkeys(("TSX", "TSXV", "CNSX", "NEO"), TORONTO),
    **dict.fromkeys(("NASDAQ", "NYSE", "NYSEAM", "ARCA", "BATS", "OTCBB", "PINX"), STOCK_CALENDAR),
}
"""Of the exchanges at which a stock may be listed, in capitals."""
MOST_SYMBOLS = 60
"""A symbol costs up to three requests a minute, of the 15,000 an hour that Questrade takes."""
SETTLE_S, AGAIN_S = 2.0, 10.0
"""How long after a minute's end its bars are asked for, and again where there was none."""
AT_ONCE = 4
MOST_WAITING = 10_000
CANDLES_MOST = 2_000
"""Bars in one answer."""
PAGE = CANDLES_MOST - 4

log = logging.getLogger(__name__)


async def instruments(session: "Session", names: Sequence[str]) -> list[Instrument]:
    """How each of `names` (SHOP.TO, AAPL) trades, by these names, asked of Questrade.

    Raises UserError for what Questrade does not have, quote or trade, or where it needs a login,
    NotSent or InDoubt where there is no answer.
    """
    if len(names) > MOST_SYMBOLS:
        raise UserError(
            f"{len(names)} symbols are more than Questrade gives bars of",
            f"take no more than {MOST_SYMBOLS} of them into SYMBOLS",
        )
    session.join()
    try:
        ids = {name: await _known_id(session, name) for name in names}
        wanted = ",".join(map(str, ids.values()))
        answer = await session.get("symbols", wire.SymbolDetails, "market", ids=wanted)
    except NotAuthenticated as error:
        raise UserError(wire.NO_LOGIN, str(error)) from error
    finally:
        await session.leave()
    rows = {row.symbol_id: row for row in answer.symbols}
    return [_instrument(name, rows.get(number)) for name, number in ids.items()]


async def _known_id(session: "Session", name: str) -> int:
    found = await session.symbols.id_of(name)
    if found is None:
        raise _no_symbol(name)
    return found


def _no_symbol(name: str) -> UserError:
    return SymbolRefused(f"Questrade has no {clean(name)}", "AAPL, SHOP.TO")


def _instrument(name: str, row: wire.SymbolDetail | None) -> Instrument:
    """Its tick is the widest that it ever has, which is right at each price."""
    if row is None:
        raise _no_symbol(name)
    calendar = CALENDARS.get(row.listing_exchange.upper())
    if not (row.is_tradable and row.is_quotable) or row.security_type != "Stock":
        raise SymbolRefused(f"Questrade does not trade {clean(name)}")
    if calendar is None:
        at = clean(row.listing_exchange) or "no exchange"
        raise SymbolRefused(f"{clean(name)} is listed at {at}, whose hours are not known")
    tick = max((tick.min_tick for tick in row.min_ticks), default=Decimal("0.01"))
    lot = Decimal(max(row.trade_unit, 1))
    return Instrument(
        name,
        AssetClass.STOCK,
        tick,
        lot,
        clean(row.currency),
        venue="questrade",
        calendar=calendar,
    )


class QuestradeSource:
    """`session` is the engine's (`open_session`), which the broker uses too.

    A quote that is delayed is no price to trade at: it is left out, and the symbol becomes stale.
    Where all are, the stream ends with the reason.
    """

    name = "questrade"

    def __init__(self, session: "Session", traded: Sequence[Instrument]) -> None:
        self.instruments = tuple(traded)
        self._session = session
        self._symbols: dict[int, str] = {}
        self._newest: dict[str, Quote] = {}
        self._halted: dict[str, bool] = {}
        self._delayed: set[str] = set()
        self._few = asyncio.Semaphore(AT_ONCE)
        session.join()

    async def close(self) -> None:
        await self._session.leave()

    # --- the stream -----------------------------------------------------------------------------

    async def stream(self) -> AsyncGenerator[Sequence[Datum], None]:
        ids = await self._ids()
        told: asyncio.Queue[Sequence[Datum]] = asyncio.Queue(MOST_WAITING)
        quotes = self._session.stream("markets/quotes", "market", ids=ids, stream="true")
        async with quotes as messages:
            yield ()
            yield await self._look()
            tasks = [
                asyncio.create_task(work)
                for work in (self._hear(messages, told), self._ask_for_bars(told))
            ]
            try:
                while (batch := await _next(told, tasks)) is not None:
                    yield batch
                for task in tasks:
                    if task.done():
                        task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> Sequence[Datum]:
        """How it stands now. Raises NotPermitted where all quotes are delayed."""
        data = self._data(await self._rows(), asked=True)
        if len(self._delayed) == len(self.instruments):
            raise NotPermitted(
                "its quotes are delayed, and nothing is traded on them;"
                " subscribe to a package of real-time data at Questrade"
            )
        return data

    async def _hear(
        self, messages: AsyncIterable[str | bytes], told: asyncio.Queue[Sequence[Datum]]
    ) -> None:
        async for message in messages:
            try:
                rows = json.decode(message, type=wire.Quotes).quotes
            except MsgspecError:
                log.warning("a message of Questrade's quotes cannot be read")
                continue
            if data := self._data(rows):
                await told.put(data)

    def _data(self, rows: Sequence[wire.QuoteRow], asked: bool = False) -> list[Datum]:
        data: list[Datum] = []
        for row in rows:
            symbol = self._symbols.get(row.symbol_id)
            if symbol is None:
                continue
            if self._halted.get(symbol) is not row.is_halted:
                self._halted[symbol] = row.is_halted
                data.append(HaltChanged(symbol, row.is_halted))
            if self._is_live(symbol, row):
                data.append(self._quote(symbol, row, asked))
        return data

    def _is_live(self, symbol: str, row: wire.QuoteRow) -> bool:
        if not row.delay:
            self._delayed.discard(symbol)
        elif symbol not in self._delayed:
            self._delayed.add(symbol)
            log.warning("quotes of %s are delayed: they are not traded on", clean(symbol))
        return not row.delay

    def _quote(self, symbol: str, row: wire.QuoteRow, asked: bool) -> Quote:
        prices = number(row.bid_price), number(row.ask_price)
        sizes = number(row.bid_size), number(row.ask_size)
        quote = Quote(symbol, self._session.now(), *prices, *sizes)
        if asked:
            quote = as_asked(quote, self._newest.get(symbol))
        self._newest[symbol] = quote
        return quote

    async def _ask_for_bars(self, told: asyncio.Queue[Sequence[Datum]]) -> None:
        """Tell the bar of each minute once; a minute without trades has none."""
        while True:
            end = (self._session.now() // MINUTE + 1) * MINUTE
            missing = [i.symbol for i in self.instruments]
            for pause in (SETTLE_S, AGAIN_S):
                until = (end - self._session.now()) / NANOS + pause
                await asyncio.sleep(max(0.0, until))
                live = [symbol for symbol in missing if symbol not in self._delayed]
                bars = await asyncio.gather(*(self._closed(symbol, end) for symbol in live))
                if found := [bar for bar in bars if bar is not None]:
                    await told.put(found)
                missing = [s for s, bar in zip(live, bars, strict=True) if bar is None]

    async def _closed(self, symbol: str, end: int) -> Bar | None:
        """The bar of the minute that ended at `end`, where there is one."""
        async with self._few:
            try:
                bars = await self._candles(symbol, MINUTE, end - MINUTE, end)
            except (NotSent, InDoubt) as error:
                log.info("no bar of %s: %s", clean(symbol), error)
                return None
        return bars[-1] if bars else None

    # --- the REST interface ---------------------------------------------------------------------

    async def quotes(self) -> Sequence[Quote]:
        data = self._data(await self._rows(), asked=True)
        return [datum for datum in data if isinstance(datum, Quote)]

    async def _rows(self) -> Sequence[wire.QuoteRow]:
        ids = await self._ids()
        return (await self._session.get("markets/quotes", wire.Quotes, "market", ids=ids)).quotes

    async def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        """The last `count` minute bars that were traded; raises NotSent or InDoubt where there is
        no answer."""
        end = until - until % MINUTE
        # Six times as long, and a week: a pause of the market may lie between.
        oldest = end - 6 * count * MINUTE - 7 * DAY
        found: list[Bar] = []
        while len(found) < count and end > oldest:
            start = max(oldest, end - PAGE * MINUTE)
            found = await self._candles(symbol, MINUTE, start, end) + found
            end = start
        return found[-count:]

    async def bars(
        self, symbol: str, interval: int, start: int, end: int
    ) -> AsyncGenerator[Sequence[Bar], None]:
        if interval not in wire.INTERVALS:
            minutes = ", ".join(str(each // MINUTE) for each in wire.INTERVALS)
            raise UserError(
                "Questrade has no bars of such a length", f"it has those of {minutes} minutes"
            )
        while start + interval <= end:
            until = min(end, start + PAGE * interval)
            bars = await self._candles(symbol, interval, start, until + interval)
            yield [bar for bar in bars if bar.start < until and bar.ts <= end]
            start = until

    async def _candles(self, symbol: str, interval: int, start: int, end: int) -> list[Bar]:
        """The whole bars between `start` and `end` (ns UTC), the oldest first. More is asked for,
        as what lies over an edge is told cut off."""
        first, last = start - interval, end + interval
        answer = await self._session.get(
            f"markets/candles/{await self._id(symbol)}",
            wire.Candles,
            "market",
            startTime=wire.iso(first),
            endTime=wire.iso(last),
            interval=wire.INTERVALS[interval],
        )
        bars = (wire.bar_of(row, symbol, interval) for row in answer.candles)
        found = {bar.ts: bar for bar in bars if start <= bar.start and bar.ts <= end}
        return [found[ts] for ts in sorted(found)]

    async def _id(self, symbol: str) -> int:
        found = await self._session.symbols.id_of(symbol)
        if found is None:
            raise NotConnected(f"Questrade has no symbol {clean(symbol)}")
        return found

    async def _ids(self) -> str:
        self._symbols = {await self._id(i.symbol): i.symbol for i in self.instruments}
        return ",".join(map(str, self._symbols))


async def _next(
    told: asyncio.Queue[Sequence[Datum]], tasks: Sequence[asyncio.Task[None]]
) -> Sequence[Datum] | None:
    """The next of what is told; None where one of `tasks` has ended, and all was taken."""
    getting = asyncio.create_task(told.get())
    try:
        await asyncio.wait([getting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        return getting.result() if getting.done() else None
    finally:
        getting.cancel()
