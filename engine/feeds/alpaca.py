"""Market data of Alpaca through alpaca-py: stocks (iex or sip) and crypto.

The stream speaks MessagePack; its library would connect anew by itself and say nothing, so only its
single steps are used, and `LiveFeed` sees every loss. Protocol: https://docs.alpaca.markets, under
"Market Data API".
"""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from engine.brokers.alpaca import library
from engine.brokers.alpaca.answers import Refused
from engine.brokers.alpaca.login import Login
from engine.core.events import HaltChanged
from engine.core.model import DAY, MINUTE, ZERO, AssetClass, Bar, Instrument, Quote, utc
from engine.core.text import clean
from engine.feeds.edge import nanos_of, number
from engine.feeds.live import Datum
from engine.feeds.price_bands import PriceBands
from engine.feeds.recordings import STOCK_CALENDAR
from engine.ops.errors import (
    InDoubt,
    NotAuthenticated,
    NotConnected,
    NotSent,
    SymbolRefused,
    UserError,
)

if TYPE_CHECKING:
    import requests

OPEN_S, READ_S, CLOSE_S = 8.0, 5.0, 1.0
"""Seconds for opening a stream, for a server that is silent, and for closing."""
AGAIN_S = 0.1
TURNS = 5
"""Of the loop, in which the library reads a frame that is there."""
MOST_READ = 5_000
"""Messages, after which those that were read are handled."""
PAGE = 10_000
"""Most bars of an answer."""
CRYPTO_MIN_NOTIONAL = Decimal(10)
"""In dollars (https://docs.alpaca.markets/docs/crypto-orders)."""
SMALLEST_STEP = Decimal("0.000000001")
HALTED = {"2", "H", "P"}
RESUMED = {"3", "T"}
"""Status codes of the tapes: 2 and 3 of the CTA plan, H, P (a pause) and T of the UTP plan."""


def instruments(login: Login, names: Sequence[str]) -> list[Instrument]:
    """How each of `names` trades, asked of Alpaca: a pair with a slash is crypto. Blocks. The
    symbols of the instruments are these names.

    Raises UserError for what Alpaca does not have or does not trade, NotConnected where there is no
    answer.
    """
    library.load()
    from alpaca.common.exceptions import APIError

    from engine.brokers.alpaca.rest import sent_once, trading_client

    client: Any = trading_client(login)
    found: list[Instrument] = []
    with sent_once(client, READ_S):
        for name in names:
            try:
                asset = client.get_asset(name)
            except APIError as error:
                raise _no_asset(name, error) from None
            except Exception as error:
                raise NotConnected(f"Alpaca: {type(error).__name__}") from None
            if not asset.get("tradable"):
                raise SymbolRefused(f"Alpaca does not trade {clean(name)}")
            found.append(_instrument(name, asset))
    return found


def _no_asset(name: str, error: Any) -> Exception:
    if error.status_code == 404:
        return SymbolRefused(f"Alpaca has no {clean(name)}", "AAPL, BTC/USD")
    if error.status_code in (401, 403):
        return UserError(
            "Alpaca does not take the key", "set ALPACA_API_KEY and ALPACA_API_SECRET anew"
        )
    return NotConnected(f"Alpaca answered {error.status_code}")


def _instrument(name: str, asset: dict[str, Any]) -> Instrument:
    """Stocks in whole shares: parts of one can have no protective stop at Alpaca."""
    if asset.get("class") != "crypto":
        cent, share = Decimal("0.01"), Decimal(1)
        return Instrument(
            name, AssetClass.STOCK, cent, share, venue="alpaca", calendar=STOCK_CALENDAR
        )
    tick, lot = (_step(asset.get(key)) for key in ("price_increment", "min_trade_increment"))
    return Instrument(
        name,
        AssetClass.CRYPTO,
        tick,
        lot,
        venue="alpaca",
        min_notional=CRYPTO_MIN_NOTIONAL,
        commission_in_base=True,  # https://docs.alpaca.markets/docs/crypto-fees
        min_quantity=_number(asset.get("min_order_size")),
    )


def _step(text: Any) -> Decimal:
    return _number(text) or SMALLEST_STEP


def _number(text: Any) -> Decimal:
    """Zero where it says none."""
    said = Decimal(str(text)) if 0 < number(text) < inf else ZERO
    return said.normalize()


class AlpacaSource:
    """Stocks, or with `crypto` pairs such as BTC/USD.

    A stock at a price band is halted here as long as that lasts. While the stream was away a halt
    may have ended: a bar of a stock that began after it was opened, before any word of a halt, says
    that it is traded.
    """

    def __init__(self, login: Login, traded: Sequence[Instrument], crypto: bool = False) -> None:
        self.name = "alpaca"
        self.instruments = tuple(traded)
        self._login = login
        self._crypto = crypto
        self._ours = {i.symbol.removeprefix("alpaca:"): i.symbol for i in traded}
        self._threads = ThreadPoolExecutor(1, "alpaca-data")
        self._client: Any = None
        self._session: requests.Session | None = None
        self._opened = 0
        self._unsure: set[str] = set()
        self._bands = PriceBands()

    # --- the stream -----------------------------------------------------------------------------

    async def stream(self) -> AsyncGenerator[Sequence[Datum], None]:
        arrived: list[Datum] = []
        woken = asyncio.Event()

        async def take(message: dict[str, Any]) -> None:
            datum = self._datum(message)
            if datum is not None:
                arrived.extend((*self._halts(datum), datum))
                woken.set()

        await asyncio.to_thread(library.load)
        stream = self._make_stream(take)
        try:
            await self._open(stream)
            self._opened = time.time_ns()
            self._bands = PriceBands()
            self._unsure = set() if self._crypto else set(self._ours.values())
            yield ()
            reading = asyncio.create_task(_consume(stream, woken))
            try:
                while not reading.done() or arrived:
                    await woken.wait()
                    woken.clear()
                    await _all_that_came(arrived)
                    batch = arrived[:]
                    arrived.clear()
                    yield batch
                    if reading.done():
                        reading.result()
            finally:
                await _end(reading)
        finally:
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await stream.close()

    def _make_stream(self, take: Callable[[dict[str, Any]], Any]) -> Any:
        from alpaca.data.enums import DataFeed
        from alpaca.data.live import CryptoDataStream, StockDataStream

        login = self._login
        keys = login.key.get_secret_value(), login.secret.get_secret_value()
        path = "v1beta3/crypto/us" if self._crypto else f"v2/{login.feed}"
        options: dict[str, Any] = {"raw_data": True, "url_override": login.data_stream(path)}
        if not self._crypto:
            options["feed"] = DataFeed(login.feed)
        kind: Any = CryptoDataStream if self._crypto else StockDataStream
        stream = kind(*keys, **options)
        symbols = tuple(self._ours)
        stream.subscribe_quotes(take, *symbols)
        stream.subscribe_bars(take, *symbols)
        stream.subscribe_updated_bars(take, *symbols)
        if not self._crypto:
            stream.subscribe_trading_statuses(take, *symbols)
            stream._handlers["lulds"] = dict.fromkeys(symbols, take)
        stream._dispatch = partial(_dispatch, stream._dispatch, take)
        return stream

    async def _open(self, stream: Any) -> None:
        try:
            async with asyncio.timeout(OPEN_S):
                await stream._start_ws()
                await stream._send_subscribe_msg()
        except ssl.SSLError:  # one of them is a ValueError
            raise NotConnected("Alpaca's stream: its certificate is not valid") from None
        except ValueError as error:  # how the library tells that the keys are not taken
            raise NotAuthenticated(f"Alpaca's stream: {clean(str(error))}") from None
        except Exception as error:
            raise NotConnected(f"Alpaca's stream: {type(error).__name__}") from None

    def _datum(self, message: dict[str, Any]) -> Datum | None:
        symbol = self._ours.get(message.get("S", ""))
        if symbol is None:
            return None
        match message.get("T"):
            case "q":
                return _quote(symbol, message, message["t"].to_unix_nano())
            case "b" | "u":
                return _bar(symbol, message, message["t"].to_unix_nano())
            case "s":
                return _halt(symbol, message)
            case "l":
                self._bands.set(symbol, number(message.get("d")), number(message.get("u")))
                return None
            case _:
                return None

    def _halts(self, datum: Datum) -> Sequence[Datum]:
        """That a halt begins or is over, where `datum` shows it and nobody said so."""
        symbol = datum.symbol
        if isinstance(datum, HaltChanged):
            self._unsure.discard(symbol)
            self._bands.forget(symbol)
        elif isinstance(datum, Quote):
            changed = self._bands.changed_by(datum)
            return [] if changed is None else [changed]
        elif symbol in self._unsure and datum.start >= self._opened:
            self._unsure.discard(symbol)
            return [HaltChanged(symbol, False)]
        return ()

    # --- the REST interface ---------------------------------------------------------------------

    async def quotes(self) -> Sequence[Quote]:
        raw = await self._ask("latest_quote", self._quotes_request)
        return [
            _quote(self._ours[name], row, nanos_of(row["t"]))
            for name, row in raw.items()
            if name in self._ours and row
        ]

    async def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        """The last `count` minute bars that were traded; raises NotConnected where there is no
        answer."""
        since = until - _reach(count)
        # The newest first, as a pause of the market may lie between.
        request = partial(self._bars_request, symbol, MINUTE, since, until, count, newest=True)
        bars = await self._ask_for_bars(symbol, MINUTE, request)
        return sorted((bar for bar in bars if bar.ts <= until), key=lambda bar: bar.ts)[-count:]

    async def bars(
        self, symbol: str, interval: int, start: int, end: int
    ) -> AsyncGenerator[Sequence[Bar], None]:
        while start + interval <= end:
            request = partial(self._bars_request, symbol, interval, start, end, PAGE)
            page = await self._ask_for_bars(symbol, interval, request)
            yield [bar for bar in page if bar.ts <= end]
            if len(page) < PAGE:
                return
            start = page[-1].ts

    async def _ask_for_bars(
        self, symbol: str, interval: int, request: Callable[[], Any]
    ) -> list[Bar]:
        answer = await self._ask("bars", request)
        rows = answer.get(symbol.removeprefix("alpaca:"), ())
        return [_bar(symbol, row, nanos_of(row["t"]), interval) for row in rows]

    async def _ask(self, what: str, make: Callable[[], Any]) -> dict[str, Any]:
        method = f"get_{'crypto' if self._crypto else 'stock'}_{what}"
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._asked, method, make)

    def _asked(self, method: str, make: Callable[[], Any]) -> dict[str, Any]:
        library.load()
        from engine.brokers.alpaca.rest import answered

        try:
            if self._client is None:
                self._connect()
            return answered(getattr(self._client, method), (make(),)) or {}
        except Refused as error:
            raise NotSent(f"alpaca: {error}") from None
        except (UserError, NotSent, InDoubt):
            raise
        except Exception as error:
            raise NotConnected(f"Alpaca's data: {type(error).__name__}") from None

    def _connect(self) -> None:
        from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient

        from engine.brokers.alpaca.rest import sent_once

        kind = CryptoHistoricalDataClient if self._crypto else StockHistoricalDataClient
        self._client = kind(**self._login.to_data)
        self._session = sent_once(self._client, READ_S)

    def _quotes_request(self) -> Any:
        from alpaca.data import requests
        from alpaca.data.enums import DataFeed

        symbols = list(self._ours)
        if self._crypto:
            return requests.CryptoLatestQuoteRequest(symbol_or_symbols=symbols)
        feed = DataFeed(self._login.feed)
        return requests.StockLatestQuoteRequest(symbol_or_symbols=symbols, feed=feed)

    def _bars_request(
        self, symbol: str, interval: int, start: int, end: int, count: int, newest: bool = False
    ) -> Any:
        from alpaca.common.enums import Sort
        from alpaca.data import requests
        from alpaca.data.enums import DataFeed

        options: dict[str, Any] = {
            "symbol_or_symbols": symbol.removeprefix("alpaca:"),
            "timeframe": _time_frame(interval),
            "start": utc(start),
            "end": utc(end - interval),
            "limit": count,
            "sort": Sort.DESC if newest else Sort.ASC,
        }
        if self._crypto:
            return requests.CryptoBarsRequest(**options)
        return requests.StockBarsRequest(**options, feed=DataFeed(self._login.feed))

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._session is not None:
            self._session.close()


async def _all_that_came(arrived: Sequence[object]) -> None:
    """Until what has come while the engine was busy is read, so that it can be told how much: else
    it would wait at the server, and get older and older."""
    read = 0
    while read < len(arrived) < MOST_READ:
        read = len(arrived)
        for _ in range(TURNS):
            await asyncio.sleep(0)


async def _dispatch(
    known: Callable[[dict[str, Any]], Any],
    take: Callable[[dict[str, Any]], Any],
    message: dict[str, Any],
) -> None:
    """In the place of the library's own, which knows no price bands, and goes on after an error
    such as more symbols than are paid for: then nothing comes, and nobody knows why."""
    if message.get("T") == "error":
        raise NotConnected(f"Alpaca's stream: {clean(str(message.get('msg')))}")
    await (take if message.get("T") == "l" else known)(message)


async def _consume(stream: Any, woken: asyncio.Event) -> None:
    try:
        await stream._consume()
    except NotConnected:
        raise
    except Exception as error:
        raise NotConnected(f"Alpaca's stream: {type(error).__name__}") from None
    finally:
        woken.set()


async def _end(reading: asyncio.Task[None]) -> None:
    """Cancel until it has ended: asyncio.wait_for, in which the library waits, forgets a cancel
    that comes together with a message (https://github.com/python/cpython/issues/86296)."""
    while not reading.done():
        reading.cancel()
        await asyncio.wait({reading}, timeout=AGAIN_S)
    await asyncio.gather(reading, return_exceptions=True)


def _time_frame(interval: int) -> Any:
    """Raises UserError for an interval that Alpaca has no bars of."""
    from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

    units: Any = TimeFrameUnit
    for unit, length in ((units.Day, DAY), (units.Hour, 60 * MINUTE), (units.Minute, MINUTE)):
        if not interval % length:
            return TimeFrame(interval // length, unit)
    raise UserError("Alpaca has no bars of less than a minute", "take a longer timeframe")


def _reach(count: int) -> int:
    """How far back (ns) `count` minute bars of a market with nights and holidays may lie."""
    return count * MINUTE * 6 + 7 * 24 * 60 * MINUTE


def _quote(symbol: str, row: dict[str, Any], ts: int) -> Quote:
    return Quote(
        symbol, ts, number(row.get("bp")), number(row.get("ap")),
        number(row.get("bs")), number(row.get("as")),
    )  # fmt: skip


def _bar(symbol: str, row: dict[str, Any], start: int, interval: int = MINUTE) -> Bar:
    open_, high, low, close, volume = (number(row.get(name)) for name in "ohlcv")
    return Bar(symbol, start + interval, open_, high, low, close, volume, interval)


def _halt(symbol: str, row: dict[str, Any]) -> HaltChanged | None:
    code = row.get("sc", "")
    if code not in HALTED | RESUMED:
        return None
    words = " ".join(str(row.get(name) or "") for name in ("sm", "rc", "rm"))
    return HaltChanged(symbol, code in HALTED, clean(words.strip()))
