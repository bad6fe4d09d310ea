"""What the streams of ccxt's exchanges say of the market, message by message.

ccxt opens the connections and subscribes. Its own reading of the messages keeps the last of several
that come together, and forgets whether a candle is closed; so they are read here.
"""

import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from engine.core.model import MINUTE, NANOS, Bar, Quote
from engine.feeds.edge import nanos_of, number

MS = 1_000_000
GRACE = NANOS
"""How long after a minute its last trades may still come (ns)."""
SETTLED = 3 * NANOS
"""How long after a minute its bar is asked for, where it was not heard from the beginning (ns)."""

Said = Mapping[str, Any]
Names = Mapping[str, Sequence[str]]
"""Our symbols of each name in the stream's messages: two may trade in one book."""


class BinanceStream:
    """Every change of the best bid and ask, and candles that say when they are closed.

    Its quotes have no time: they get that at which they came. Protocol:
    https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
    """

    page = 1000
    """Most bars of an answer."""
    by_window = False
    """Whether they are those of so long from the start on, which may be none, or the next ones."""
    keeps_one_page = False
    """Whether older ones are not to be had."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._told: dict[str, Bar] = {}
        self._confirmed = 0

    @staticmethod
    def name_of(market: Said) -> str:
        return market["id"]

    @staticmethod
    def subscribe(exchange: Any, symbols: Sequence[str]) -> list[Awaitable[Any]]:
        """On one connection: of two, one could be mute while the other speaks."""
        exchange.options["streamLimits"] = {"spot": 1}
        return [
            exchange.watch_bids_asks(symbols),
            exchange.watch_ohlcv_for_symbols([[symbol, "1m"] for symbol in symbols]),
        ]

    @staticmethod
    def ask(exchange: Any, symbols: Sequence[str]) -> list[Awaitable[Any]]:
        """For the newest quotes."""
        return [exchange.fetch_bids_asks(symbols)]

    @property
    def listens(self) -> bool:
        """Whether the exchange has confirmed all subscriptions."""
        return self._confirmed >= 2

    def hear(self, message: Said) -> Sequence[Quote | Bar] | None:
        """What `message` says; None where it is not about the market. Raises any error for what
        cannot be understood: then the connection is given up."""
        if "k" in message:
            return self._candle(message["k"])
        if "b" in message and "a" in message:
            now = time.time_ns()
            bid, ask, bids, asks = (number(message.get(key)) for key in "baBA")
            names = self._names.get(message["s"], ())
            return [Quote(name, now, bid, ask, bids, asks) for name in names]
        if "id" in message and "error" not in message:
            self._confirmed += 1
            return ()
        return None

    def due(self) -> list[Bar]:
        """The bars that are closed, though no message says so."""
        return []

    def unheard(self) -> list[int]:
        """The closes of the minutes that were not heard whole, each once: to be asked for."""
        return []

    def _candle(self, candle: Said) -> list[Bar]:
        closed: list[Bar] = []
        if candle["x"] is not True:
            return closed
        for name in self._names.get(candle["s"], ()):
            bar = _bar(name, candle["t"] * MS, (candle[key] for key in "ohlcv"))
            if self._told.get(name) != bar:
                self._told[name] = bar
                closed.append(bar)
        return closed


class _Minutes:
    """The bars of exchanges that do not say when one is closed: it is once a later one began, or
    `GRACE` after its minute. One that is changed later is told again.

    The time is the exchange's, by the newest of what it said: it is never ahead of it, whatever
    becomes of our clock.
    """

    def __init__(self) -> None:
        self._open: dict[str, Bar] = {}
        self._told: dict[str, Bar] = {}
        self._ahead: int | None = None
        self._from = 0
        self._unheard: set[int] = set()

    def hears(self, said: int) -> None:
        """The exchange said `said` (ns UTC) just now. What had closed before the first of it is not
        told."""
        ahead = said - time.monotonic_ns()
        if self._ahead is None:
            self._ahead = ahead
            self._from = said
        self._ahead = max(self._ahead, ahead)

    def misses(self, since: int, until: int) -> None:
        """Something between these times (ns UTC) was not heard."""
        self._unheard.update(range(_close_of(since), _close_of(until) + 1, MINUTE))

    def of(self, symbol: str, ts: int) -> Bar | None:
        """The bar that closes at `ts`, as far as it is known."""
        found = (self._open.get(symbol), self._told.get(symbol))
        return next((bar for bar in found if bar is not None and bar.ts == ts), None)

    def put(self, bar: Bar) -> list[Bar]:
        """What is closed by it."""
        told, former = self._told.get(bar.symbol), self._open.get(bar.symbol)
        if told is not None and bar.ts <= told.ts:
            return self._tell(bar) if bar.ts == told.ts and bar != told else []
        self._open[bar.symbol] = bar
        return self._tell(former) if former is not None and former.ts < bar.ts else []

    def due(self) -> list[Bar]:
        now = self._now()
        over = [bar for bar in self._open.values() if bar.ts + GRACE <= now]
        return [told for bar in over for told in self._tell(bar)]

    def unheard(self) -> list[int]:
        now = self._now()
        over = sorted(ts for ts in self._unheard if ts + SETTLED <= now)
        self._unheard.difference_update(over)
        self._from = max([self._from, *over])
        return over

    def _tell(self, bar: Bar) -> list[Bar]:
        if self._open.get(bar.symbol) is bar:
            del self._open[bar.symbol]
        if bar.ts <= self._from or bar.ts in self._unheard:
            return []
        self._told[bar.symbol] = bar
        return [bar]

    def _now(self) -> int:
        return 0 if self._ahead is None else time.monotonic_ns() + self._ahead


class KrakenStream:
    """Every change of the best prices, and candles as they form: both on one connection.

    Protocol: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2 (ticker, ohlc).
    """

    page = 720
    by_window = False
    keeps_one_page = True

    def __init__(self, names: Names) -> None:
        self._names = names
        self._minutes = _Minutes()
        self._confirmed = 0
        self.due, self.unheard = self._minutes.due, self._minutes.unheard

    @staticmethod
    def name_of(market: Said) -> str:
        return market["symbol"]

    @staticmethod
    def subscribe(exchange: Any, symbols: Sequence[str]) -> list[Awaitable[Any]]:
        candles = [exchange.watch_ohlcv(symbol, "1m") for symbol in symbols]
        return [exchange.watch_bids_asks(symbols), *candles]

    @staticmethod
    def ask(exchange: Any, symbols: Sequence[str]) -> list[Awaitable[Any]]:
        return [exchange.fetch_tickers(symbols)]

    @property
    def listens(self) -> bool:
        return self._confirmed >= 2 * len(self._names)

    def hear(self, message: Said) -> Sequence[Quote | Bar] | None:
        match message.get("channel"):
            case "ticker":
                now = time.time_ns()
                return [quote for row in message["data"] for quote in self._quotes(row, now)]
            case "ohlc":
                if "timestamp" in message:
                    self._minutes.hears(nanos_of(message["timestamp"]))
                rows: Sequence[Said] = message["data"]
                if (
                    message["type"] == "snapshot"
                ):  # the last one may change, those before it are old
                    rows = [*{row["symbol"]: row for row in rows}.values()]
                return [bar for row in rows for bar in self._closed(row)]
            case _:
                return self._confirm(message)

    def _confirm(self, message: Said) -> Sequence[Bar] | None:
        if message.get("method") != "subscribe":
            return None
        if message["success"] is not True:
            raise ValueError(message["error"])
        self._confirmed += 1
        return ()

    def _quotes(self, row: Said, now: int) -> list[Quote]:
        bid, ask, bids, asks = (
            number(row.get(key)) for key in ("bid", "ask", "bid_qty", "ask_qty")
        )
        names = self._names.get(row["symbol"], ())
        return [Quote(name, now, bid, ask, bids, asks) for name in names]

    def _closed(self, row: Said) -> list[Bar]:
        start = nanos_of(row["interval_begin"])
        prices = [row[key] for key in ("open", "high", "low", "close", "volume")]
        bars = [_bar(name, start, prices) for name in self._names.get(row["symbol"], ())]
        return [closed for bar in bars for closed in self._minutes.put(bar)]


class CoinbaseStream:
    """The best bid and ask at each trade, and bars that are made of the trades: the candles of its
    stream are of five minutes.

    A minute of which something was not heard, as the first one and any with a gap in the numbers of
    the messages, is to be asked for. Protocol:
    https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
    """

    page = 300
    by_window = True
    keeps_one_page = False

    def __init__(self, names: Names) -> None:
        self._names = names
        self._minutes = _Minutes()
        self._confirmed = 0
        self._last: tuple[int, int] | None = None
        self._snapshot: dict[str, set[str]] = {}
        self.due, self.unheard = self._minutes.due, self._minutes.unheard

    @staticmethod
    def name_of(market: Said) -> str:
        """Of a pair in USDC the stream tells under the name of that in USD: one book has both."""
        return market["info"].get("alias") or market["id"]

    @staticmethod
    def subscribe(exchange: Any, symbols: Sequence[str]) -> list[Awaitable[Any]]:
        """The heartbeats keep a connection open on which nothing is traded."""
        return [
            exchange.subscribe_multiple("ticker", False, symbols),
            exchange.watch_trades_for_symbols(symbols),
            exchange.subscribe("heartbeats", False),
        ]

    @staticmethod
    def ask(exchange: Any, symbols: Sequence[str]) -> list[Awaitable[Any]]:
        """One by one: the call for all wants keys. Their time is that of the last trade, which the
        stream has told too unless it is mute."""
        return [exchange.fetch_ticker(symbol) for symbol in symbols]

    @property
    def listens(self) -> bool:
        return self._confirmed >= 3

    def hear(self, message: Said) -> Sequence[Quote | Bar] | None:
        channel = message.get("channel")
        if channel is None:
            return None
        said = nanos_of(message["timestamp"])
        self._count(message["sequence_num"], said)
        match channel:
            case "ticker":
                rows = [row for event in message["events"] for row in event["tickers"]]
                return [quote for row in rows for quote in self._quotes(row, said)]
            case "market_trades":
                closed = [self._traded(event) for event in message["events"]]
                return [bar for bars in closed for bar in bars]
            case "subscriptions":
                self._confirmed += 1
                return ()
            case _:
                return ()

    def _count(self, sequence: int, said: int) -> None:
        """What is lost before a message may be of any minute since the last one."""
        self._minutes.hears(said)
        last, since = self._last or (None, said)
        if last is None or sequence > last + 1:
            self._minutes.misses(since, said)
        self._last = sequence, said

    def _quotes(self, row: Said, said: int) -> list[Quote]:
        bid, ask = number(row.get("best_bid")), number(row.get("best_ask"))
        bids, asks = (number(row.get(f"best_{side}_quantity")) for side in ("bid", "ask"))
        names = self._names.get(row["product_id"], ())
        return [Quote(name, said, bid, ask, bids, asks) for name in names]

    def _traded(self, event: Said) -> list[Bar]:
        """The newest trade comes first. What the snapshot had may come again."""
        closed: list[Bar] = []
        for trade in reversed(event["trades"]):
            product, trade_id = trade["product_id"], trade["trade_id"]
            known = self._snapshot.setdefault(product, set())
            if trade_id in known:
                continue
            if event["type"] == "snapshot":
                known.add(trade_id)
            for name in self._names.get(product, ()):
                closed += self._minutes.put(self._with(name, trade))
        return closed

    def _with(self, symbol: str, trade: Said) -> Bar:
        """The bar of the trade's minute, with the trade."""
        price, size = number(trade["price"]), number(trade["size"])
        ts = _close_of(nanos_of(trade["time"]))
        bar = self._minutes.of(symbol, ts)
        if bar is None:
            return Bar(symbol, ts, price, price, price, price, size)
        high, low = max(bar.high, price), min(bar.low, price)
        return Bar(symbol, ts, bar.open, high, low, price, bar.volume + size)


Stream = BinanceStream | KrakenStream | CoinbaseStream
STREAMS: Mapping[str, type[Stream]] = {
    "binance": BinanceStream,
    "kraken": KrakenStream,
    "coinbase": CoinbaseStream,
}


def _close_of(ts: int) -> int:
    return ts - ts % MINUTE + MINUTE


def _bar(symbol: str, start: int, values: Any) -> Bar:
    open_, high, low, close, volume = map(number, values)
    return Bar(symbol, start + MINUTE, open_, high, low, close, volume)
