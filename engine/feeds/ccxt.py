"""Market data of crypto exchanges through ccxt: Binance, Kraken and Coinbase, without keys."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, cast

from engine.brokers.ccxt import library_of
from engine.brokers.ccxt.venues import VENUES, Access
from engine.core.events import HaltChanged
from engine.core.model import MINUTE, NANOS, AssetClass, Bar, Instrument, Quote, utc
from engine.core.text import clean
from engine.feeds.ccxt_streams import MS, STREAMS, Stream
from engine.feeds.edge import as_asked, number
from engine.feeds.live import Datum
from engine.ops.errors import NotConnected, NotSent, RateLimited, SymbolRefused, UserError

OPEN_S, CLOSE_S = 8.0, 1.0
"""Seconds for opening a stream, and for closing it."""
LOOK_S = 0.25
"""How often it is looked whether a bar is closed of which no message says so."""

HALTS_S = 300.0
"""How often it is asked which pairs are traded: no stream says it."""
HALTED = "the exchange does not trade it now"

log = logging.getLogger(__name__)


async def instruments(name: str, access: Access, names: Sequence[str]) -> list[Instrument]:
    """How each of `names` (as BTC/USDT) trades at the exchange `name`. The symbols of the
    instruments are these names.

    Raises UserError for what is not traded there for cash, and where ccxt is not installed;
    NotConnected where there is no answer.
    """
    exchange = _open(name, access)
    try:
        markets = await _load(exchange, names)
        if any(symbol not in markets for symbol in names):  # then near ones are to be named
            markets = await _load(exchange, ())
        with _understood(name):
            return [_instrument(name, symbol, markets) for symbol in names]
    finally:
        await exchange.close()


class CcxtSource:
    """The pairs `traded` at the exchange `name`; `instruments` tells how they trade. Whatever can
    be asked or heard raises NotConnected, or RateLimited, where there is no answer.

    Nobody logs in: an account's requests and these do not get in each other's way.
    """

    def __init__(self, name: str, access: Access, traded: Sequence[Instrument]) -> None:
        self.name = name
        self.instruments = tuple(traded)
        self._access = access
        self._ours = {i.symbol.removeprefix(f"{name}:"): i.symbol for i in traded}
        self._theirs = {ours: theirs for theirs, ours in self._ours.items()}
        self._turns = deque(self._ours)
        self._newest: dict[str, Quote] = {}
        self._exchange: Any = None
        self._opening = asyncio.Lock()

    # --- the stream -----------------------------------------------------------------------------

    async def stream(self) -> AsyncGenerator[Sequence[Datum], None]:
        exchange = await self._ready()
        talk = STREAMS[self.name](self._names(exchange))
        heard = _Heard(talk)
        exchange.hear = heard.hear
        exchange.ws_dial_backoff = {}  # whoever listens makes the pauses
        tasks = [asyncio.ensure_future(one) for one in talk.subscribe(exchange, [*self._ours])]
        for task in tasks:
            task.add_done_callback(heard.end)
        try:
            await self._until_it_listens(heard)
            tasks.append(asyncio.create_task(self._look_for_halts(exchange, heard)))
            yield ()
            while heard.ended is None:
                if batch := await heard.next():
                    self._newest.update((q.symbol, q) for q in batch if isinstance(q, Quote))
                    yield batch
                if closes := talk.unheard():
                    tasks = [task for task in tasks if not task.done()]
                    asking = (self._ask_for_minute(close, heard) for close in closes)
                    tasks += [asyncio.create_task(one) for one in asking]
            raise self._lost(heard)
        finally:
            await _give_up(tasks)
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await exchange.close_ws_clients()
            exchange.clients = {}

    async def _until_it_listens(self, heard: "_Heard") -> None:
        try:
            async with asyncio.timeout(OPEN_S):
                while not heard.talk.listens:
                    await heard.wait()
                    if heard.ended is not None:
                        raise self._lost(heard)
        except TimeoutError:
            raise NotConnected(f"{self.name}'s stream: no answer in time") from None

    def _lost(self, heard: "_Heard") -> NotConnected:
        return NotConnected(f"{self.name}'s stream: {heard.ended}")

    async def _ask_for_minute(self, close: int, heard: "_Heard") -> None:
        """The bars that closed at `close`, where there are any; else the next ones have a hole
        before them, and it is asked for again."""
        for symbol in self._theirs:
            try:
                bars = await self._page(symbol, MINUTE, close - MINUTE)
            except NotSent as error:
                log.warning("no bars of %s: %s", clean(symbol), error)
                continue
            heard.add([bar for bar in bars if bar.ts == close])

    async def _look_for_halts(self, exchange: Any, heard: "_Heard") -> None:
        """Tell of each pair whether it is halted, at the first look and when that has changed."""
        told: dict[str, bool] = {}
        while True:
            await asyncio.sleep(HALTS_S)
            try:
                markets = await _load(exchange, self._ours, again=True)
            except NotSent as error:
                log.warning("%s does not tell what it trades: %s", self.name, error)
                continue
            for theirs, ours in self._ours.items():
                halted = theirs not in markets or markets[theirs]["active"] is False
                if told.get(ours) is not halted:
                    told[ours] = halted
                    heard.add([HaltChanged(ours, halted, HALTED if halted else "")])

    def _names(self, exchange: Any) -> Mapping[str, Sequence[str]]:
        names: dict[str, list[str]] = {}
        for theirs, ours in self._ours.items():
            name = STREAMS[self.name].name_of(exchange.market(theirs))
            names.setdefault(name, []).append(ours)
        return names

    # --- the REST interface ---------------------------------------------------------------------

    async def quotes(self) -> Sequence[Quote]:
        exchange = await self._ready()
        calls = STREAMS[self.name].ask(exchange, [*self._turns])
        answers = await asyncio.gather(*map(self._answer, calls), return_exceptions=True)
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        if len(failed) == len(answers):
            raise failed[0]
        self._turns.rotate(len(failed) - len(answers))  # those that could not be asked are next
        tickers = [ticker for answer in answers for ticker in _tickers(answer)]
        told = [self._quote(ticker) for ticker in tickers if ticker["symbol"] in self._ours]
        quotes = [quote for quote in told if quote.is_sound]
        self._newest.update((quote.symbol, quote) for quote in quotes)
        return quotes

    def _quote(self, ticker: Mapping[str, Any]) -> Quote:
        symbol = self._ours[ticker["symbol"]]
        prices = number(ticker["bid"]), number(ticker["ask"])
        sizes = [number(ticker[key] or 0) for key in ("bidVolume", "askVolume")]
        if ticker["timestamp"]:
            return Quote(symbol, ticker["timestamp"] * MS, *prices, *sizes)
        quote = Quote(symbol, time.time_ns(), *prices, *sizes)
        return as_asked(quote, self._newest.get(symbol))

    async def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        """The bars of the last `count` minutes, where they were traded."""
        start = until - count * MINUTE
        return [bar async for page in self._pages(symbol, MINUTE, start, until) for bar in page]

    async def bars(
        self, symbol: str, interval: int, start: int, end: int
    ) -> AsyncGenerator[Sequence[Bar], None]:
        """Raises UserError too where the exchange does not have them since `start` any more."""
        async for page in self._pages(symbol, interval, start, end, whole=True):
            yield page

    async def _pages(
        self, symbol: str, interval: int, start: int, end: int, whole: bool = False
    ) -> AsyncGenerator[Sequence[Bar], None]:
        venue = STREAMS[self.name]
        end = min(end, time.time_ns())
        while start + interval <= end:
            page = await self._page(symbol, interval, start)
            cut = venue.keeps_one_page and len(page) >= venue.page
            if whole and cut and page[0].start >= start + interval:
                first = f"{utc(page[0].start):%Y-%m-%d %H:%M}"
                raise UserError(
                    f"{self.name} keeps no bars of that timeframe before {first} UTC",
                    "take a shorter span, or a longer timeframe",
                )
            yield [bar for bar in page if start <= bar.start and bar.ts <= end]
            if not page and not venue.by_window:
                return
            start = page[-1].ts if page else start + venue.page * interval

    async def _page(self, symbol: str, interval: int, start: int) -> list[Bar]:
        """The bars that began at or after `start`, as many as are told at once; the last one may
        not be closed yet."""
        exchange = await self._ready()
        size = STREAMS[self.name].page
        timeframe = self._timeframe(exchange, interval)
        since = -(-start // MS)
        call = exchange.fetch_ohlcv(self._theirs[symbol], timeframe, since, size)
        rows = await self._answer(call)
        with _understood(self.name):
            return [_bar(symbol, row, interval) for row in rows]

    def _timeframe(self, exchange: Any, interval: int) -> str:
        for name in exchange.timeframes:
            if exchange.parse_timeframe(name) * NANOS == interval:
                return name
        has = ", ".join(exchange.timeframes)
        raise UserError(f"{self.name} has no bars of that timeframe", f"take one of {has}")

    # --- asking ---------------------------------------------------------------------------------

    async def _ready(self) -> Any:
        """The exchange, and it knows its markets. One at a time asks for these: ccxt has all wait
        for one task, and whoever gives up waiting would cancel it for the others too."""
        async with self._opening:
            if self._exchange is None:
                self._exchange = _open(self.name, self._access)
            if not self._exchange.markets:
                await _load(self._exchange, self._ours)
            return self._exchange

    async def _answer(self, call: Awaitable[Any]) -> Any:
        return await _told(self.name, call)

    async def close(self) -> None:
        if self._exchange is not None:
            closing, self._exchange = self._exchange, None
            await closing.close()


class _Heard:
    """What came by a stream and is not passed on yet; why it has `ended`, once it has."""

    def __init__(self, talk: Stream) -> None:
        self.talk = talk
        self.ended: str | None = None
        self._arrived: list[Datum] = []
        self._woken = asyncio.Event()

    def hear(self, message: Any) -> bool:
        """Whether `message` is about the market. Raises any error where it is none."""
        if not isinstance(message, dict):
            raise ValueError("a message is an object")
        said = self.talk.hear(cast("dict[str, Any]", message))
        if said is not None:
            self.add(said)
        return said is not None

    def add(self, said: Sequence[Datum]) -> None:
        self._arrived.extend(said)
        self._woken.set()

    def end(self, subscription: asyncio.Future[Any]) -> None:
        """No subscription ends but with its connection."""
        error = None if subscription.cancelled() else subscription.exception()
        self.ended = type(error).__name__ if error else "closed"
        self._woken.set()

    async def wait(self) -> None:
        await self._woken.wait()
        self._woken.clear()

    async def next(self) -> list[Datum]:
        """What has come, and what is due; nothing after `LOOK_S`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self.wait()
        batch = [*self._arrived, *self.talk.due()]
        self._arrived.clear()
        return batch


def _open(name: str, access: Access) -> Any:
    with library_of(name):
        from engine.brokers.ccxt.client import market_data
    return market_data(name, access)


async def _load(exchange: Any, symbols: Iterable[str], *, again: bool = False) -> Mapping[str, Any]:
    from engine.brokers.ccxt.client import load_markets

    return await _told(exchange.id, load_markets(exchange, symbols, again=again))


async def _told(name: str, call: Awaitable[Any]) -> Any:
    """What is answered. Raises NotConnected or RateLimited where there is none."""
    from engine.brokers.ccxt.errors import told

    try:
        return await call
    except Exception as error:
        known = told(error)
        if isinstance(known, RateLimited):
            raise known from None
        raise NotConnected(f"{name}'s data: {known}") from None


@contextmanager
def _understood(name: str) -> Generator[None]:
    """What cannot be read is no answer."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError):
        raise NotConnected(f"{name}'s data: the answer was not understood") from None


def _instrument(name: str, symbol: str, markets: Mapping[str, Any]) -> Instrument:
    market = markets.get(symbol)
    if market is None or not market["spot"] or market["active"] is False:
        spot = [one for one, market in markets.items() if market["spot"] and market["active"]]
        near = get_close_matches(symbol, spot, cutoff=0.5) or spot[:3]
        raise SymbolRefused(f"{name} does not trade {clean(symbol)}", ", ".join(map(clean, near)))
    return Instrument(
        symbol,
        AssetClass.CRYPTO,
        _step(market["precision"]["price"]),
        _step(market["precision"]["amount"]),
        currency=clean(market["quote"]),
        min_notional=_step(market["limits"]["cost"]["min"] or 0),
        venue=name,
        commission_in_base=VENUES[name].commission_in_base,
        min_quantity=_step(market["limits"]["amount"]["min"] or 0),
    )


def _step(text: Any) -> Decimal:
    """As it is written plainly."""
    return Decimal(f"{Decimal(str(text)).normalize():f}")


def _tickers(answer: Any) -> Iterable[Mapping[str, Any]]:
    """Of one call: one ticker, or some by their symbols."""
    if isinstance(answer, BaseException):
        return ()
    return (answer,) if "symbol" in answer else answer.values()


def _bar(symbol: str, row: Sequence[Any], interval: int) -> Bar:
    open_, high, low, close, volume = map(number, row[1:6])
    return Bar(symbol, int(row[0]) * MS + interval, open_, high, low, close, volume, interval)


async def _give_up(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
