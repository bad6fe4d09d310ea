"""A whole engine on the market data of each venue: a hole in its bars, and a book that is empty."""

import sys
import time
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from engine.brokers.alpaca import Login as AlpacaLogin
from engine.brokers.ccxt.venues import Access
from engine.brokers.interactive_brokers import Gateway
from engine.brokers.questrade import Login, open_session
from engine.brokers.questrade.wire import iso
from engine.core.model import (
    MINUTE,
    NANOS,
    AssetClass,
    Bar,
    Idempotency,
    Instrument,
    OrderPurpose,
    Quote,
)
from engine.feeds.alpaca import AlpacaSource
from engine.feeds.base import Feed, Played
from engine.feeds.ccxt import CcxtSource
from engine.feeds.ccxt_streams import SETTLED
from engine.feeds.interactive_brokers import InteractiveBrokersSource
from engine.feeds.live import LiveFeed, Source
from engine.feeds.questrade import QuestradeSource
from engine.host.runtime import Parts
from engine.ops.settings import Settings
from engine.view.snapshot import PositionRow, Snapshot
from tests.host.test_backfill import SEEN
from tests.loopback.alpaca_data import KEY, SECRET, AlpacaData
from tests.loopback.binance import Binance
from tests.loopback.coinbase import Coinbase
from tests.loopback.faults import Fault, Faults, Streams
from tests.loopback.ib import IbServer
from tests.loopback.kraken import Kraken
from tests.loopback.questrade import FIRST_TOKEN, QuestradeServer
from tests.loopback.serving import Server, serving
from tests.loopback.venue import Venue
from tests.session import Session, running

HOLDS = '''
from engine.core.model import Side, Signal
from engine.core.strategy import Strategy


class Holds(Strategy):
    """Wants to hold whatever has a quote."""

    def on_quote(self, quote):
        return Signal(self.name, self.symbol, Side.BUY, quote.ts, quote.ask)


STRATEGY_NAME = "holds"
STRATEGY_CLASS = Holds
'''


class Clock:
    """The computer's, until it is set: then it stands still."""

    def __init__(self) -> None:
        self.stands_at: int | None = None

    def __call__(self) -> int:
        return time.time_ns() if self.stands_at is None else self.stands_at


class Place:
    """A server of market data, what reads it, and two instruments that it has. `clock` is that of a
    venue which does not say when a minute is over."""

    streams: Streams
    faults: Faults
    source: Source
    traded: tuple[Instrument, ...]
    clock: Clock

    def begin(self, ts: int) -> None:
        """It is `ts`, until the minute that begins is over."""
        self.clock.stands_at = ts

    async def is_followed(self) -> None:
        """Until who listens hears of the bars of the first instrument."""
        await self.streams.has_joined()

    async def cut(self) -> None:
        """The line, until somebody listens again."""
        joined = self.streams.joined
        await self.streams.close()
        await self.streams.has_joined(joined + 1)
        await self.is_followed()

    def quote(self, instrument: Instrument, bid: float, ask: float) -> None:
        raise NotImplementedError

    def close(self, bar: Bar, *, told: bool) -> None:
        """A minute is over; who asks for it is answered, and who listens hears of it where it is
        `told`."""
        raise NotImplementedError


def instruments(venue: str, kind: AssetClass, *symbols: str) -> tuple[Instrument, ...]:
    currency = symbols[0].partition("/")[2] or "USD"
    cent, lot = Decimal("0.01"), Decimal(1) if kind is AssetClass.STOCK else Decimal("0.00001")
    return tuple(Instrument(s, kind, cent, lot, currency, venue=venue) for s in symbols)


class AtAlpaca(Place):
    def __init__(self, server: AlpacaData) -> None:
        self.clock = Clock()
        self._server, self.streams, self.faults = server, server.streams, server.faults
        self.traded = instruments("alpaca", AssetClass.STOCK, "AAPL", "SPIP")
        keys = SecretStr(KEY), SecretStr(SECRET)
        login = AlpacaLogin(*keys, data_url=server.url, data_stream_url=server.stream_url)
        self.source = AlpacaSource(login, list(self.traded))

    def quote(self, instrument: Instrument, bid: float, ask: float) -> None:
        row = {"S": instrument.symbol, "bp": bid, "ap": ask, "bs": 1000, "as": 1000}
        self._server.say({"T": "q", "t": time.time_ns()} | row)

    def close(self, bar: Bar, *, told: bool) -> None:
        row: dict[str, Any] = {"S": bar.symbol, "o": bar.open, "h": bar.high, "l": bar.low}
        row |= {"c": bar.close, "v": bar.volume}
        began = datetime.fromtimestamp(bar.start / NANOS, UTC)
        kept = self._server.bars.setdefault(bar.symbol, [])
        kept.append(row | {"t": f"{began:%Y-%m-%dT%H:%M:%SZ}"})
        if told:
            self._server.say({"T": "b", "t": bar.start} | row)


class AtExchange(Place):
    def __init__(self, spoken: Any, name: str, url: str, clock: Clock) -> None:
        self.clock = clock
        self._spoken, self.streams, self.faults = spoken, spoken.market.streams, spoken.faults
        self.traded = tuple(spoken.venue.instruments.values())
        self.source = CcxtSource(name, Access(paper=False, url=url, timeout_s=1.0), self.traded)

    def quote(self, instrument: Instrument, bid: float, ask: float) -> None:
        self._spoken.tell_quote(Quote(instrument.symbol, time.time_ns(), bid, ask, 1000, 1000))

    def close(self, bar: Bar, *, told: bool) -> None:
        self._spoken.market.add([bar])
        if told:
            self._tell(bar)
        self.clock.stands_at = bar.ts + NANOS

    def _tell(self, bar: Bar) -> None:
        self._spoken.tell_candle(bar, closed=True)


class AtKraken(AtExchange):
    """That a candle is closed is known by the next one."""

    def _tell(self, bar: Bar) -> None:
        self.clock.stands_at = bar.start + NANOS
        self._spoken.tell_candle(bar, closed=False)
        self.clock.stands_at = bar.ts + NANOS
        self._spoken.tell_candle(replace(bar, ts=bar.ts + MINUTE), closed=False)


class AtCoinbase(AtExchange):
    """A bar is made of the trades of its minute; the one in which somebody begins to listen is
    asked for."""

    def _tell(self, bar: Bar) -> None:
        self.clock.stands_at = bar.start + NANOS
        self._spoken.tell_trades(bar.symbol, (bar.start + NANOS, bar.close, bar.volume))
        self.clock.stands_at = bar.ts + SETTLED
        self.quote(self.traded[1], 100, 100.5)


class AtQuestrade(Place):
    def __init__(self, server: QuestradeServer, folder: Path) -> None:
        self.clock = Clock()
        self._server, self.streams, self.faults = server, server.quote_streams, server.faults
        self.traded = tuple(server.venue.instruments.values())
        login = Login(SecretStr(FIRST_TOKEN), folder / "t.json", url=server.login_url)
        self.session = open_session(login, self.clock)
        self.session.join()
        self.source = QuestradeSource(self.session, list(self.traded))

    def quote(self, instrument: Instrument, bid: float, ask: float) -> None:
        self._server.venue.quote(instrument.symbol, bid, ask, 1000)
        self._server.say_quote(instrument.symbol, bidPrice=bid or None, askPrice=ask or None)

    def begin(self, ts: int) -> None:
        """The end of a minute is waited for, in real time; so it always comes soon."""
        super().begin(ts - NANOS // 10)

    def close(self, bar: Bar, *, told: bool) -> None:
        """It is asked for when its minute is over."""
        row: dict[str, Any] = {key: getattr(bar, key) for key in ("open", "high", "low", "close")}
        row |= {"volume": int(bar.volume), "VWAP": bar.close}
        row |= {"start": iso(bar.start), "end": iso(bar.ts)}
        self._server.candles.append(row)
        self._server.late.add(self.traded[1].symbol)
        if told:
            self.clock.stands_at = bar.ts - NANOS // 10


class AtTws(Place):
    def __init__(self, server: IbServer, clock: Clock) -> None:
        self.clock = clock
        self._server, self.streams, self.faults = server, server.streams, server.faults
        self.traded = tuple(server.venue.instruments.values())
        gateway = Gateway(port=server.port, timeout_s=1.0)
        self.source = InteractiveBrokersSource(gateway, list(self.traded), clock)

    def begin(self, ts: int) -> None:
        """There are bars of the day: ib_async follows none else."""
        super().begin(ts)
        for instrument in self.traded:
            self._server.bars[instrument.symbol] = [(ts - 2 * MINUTE, 100, 100, 100, 100, 1)]

    async def is_followed(self) -> None:
        """One symbol is followed after the other."""
        await super().is_followed()
        while sum(fields[7] == "1" for fields in self._server.asked) < 2 * self.streams.joined:
            await self.faults.has_come("bars", self.faults.requests["bars"] + 1)

    def quote(self, instrument: Instrument, bid: float, ask: float) -> None:
        self._server.venue.quote(instrument.symbol, bid, ask, 1000)
        self._server.say_quote(instrument.symbol, bid or -1, ask or -1, 1000)

    def close(self, bar: Bar, *, told: bool) -> None:
        """That it is closed is known by the next one."""
        row = (bar.start, bar.open, bar.high, bar.low, bar.close, bar.volume)
        for instrument in self.traded:
            self._server.bars[instrument.symbol].append(row)
        self.clock.stands_at = bar.ts + NANOS
        if told:
            self._server.say_bar(bar.symbol, row)
            self._server.say_bar(bar.symbol, (bar.ts, *row[1:]))


@asynccontextmanager
async def place_at(name: str, folder: Path) -> AsyncGenerator[Place]:
    if name == "alpaca":
        data = AlpacaData()
        async with serving(data):
            yield AtAlpaca(data)
    elif name in EXCHANGES:
        money = "USDT" if name == "binance" else "USD"
        pairs = instruments(name, AssetClass.CRYPTO, f"BTC/{money}", f"ETH/{money}")
        clock = Clock()
        speaks, place = EXCHANGES[name]
        spoken = speaks(Venue(pairs, now=clock))
        server = Server(spoken.app, spoken.faults)
        async with serving(server):
            yield place(spoken, name, server.url, clock)
    elif name == "questrade":
        shares = instruments(name, AssetClass.STOCK, "SHOP.TO", "RY.TO")
        questrade = QuestradeServer(Venue(shares, Idempotency.NONE))
        for share in shares:
            questrade.venue.quote(share.symbol, 100, 100.5, 1000)
        async with serving(questrade):
            place = AtQuestrade(questrade, folder)
            yield place
            await place.session.leave()
    else:
        shares = instruments(name, AssetClass.STOCK, "AAPL", "MSFT")
        clock = Clock()
        tws = IbServer(Venue(shares, Idempotency.NONE, now=clock))
        async with serving(tws):
            yield AtTws(tws, clock)


EXCHANGES: dict[str, tuple[Callable[[Venue], Any], type[AtExchange]]] = {
    "binance": (Binance, AtExchange),
    "kraken": (Kraken, AtKraken),
    "coinbase": (Coinbase, AtCoinbase),
}
VENUES = ("alpaca", *EXCHANGES, "questrade", "interactive_brokers")
TELL_BARS = ("alpaca", "binance", "kraken")
"""Of the others a fault of what asks for missing bars meets what asks for the next one too."""


def settings(place: Place, folder: Path, name: str, strategy: str) -> Settings:
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / f"{name}.py").write_text(strategy)
    given: dict[str, Any] = {
        "data_dir": folder / "var",
        "currency": place.traded[0].currency,
        "strategies": (name,),
        "strategies_dir": plugins,
        "entry_order_type": "market",
        "entry_timeout_s": 3600,
        "stale_after_s": 86_400,
    }
    return Settings(**given)


@asynccontextmanager
async def engine(place: Place, folder: Path, name: str, strategy: str) -> AsyncGenerator[Session]:
    """It trades on paper, and listens."""

    async def feed(_settings: Settings, _resume: Played | None, _held: Collection[str]) -> Feed:
        return LiveFeed([place.source])

    async with running(settings(place, folder, name, strategy), parts=Parts(feed=feed)) as session:
        await session.until(lambda s: s.feed.status == "connected")
        await place.streams.has_joined()
        yield session


# --- a book that is empty ------------------------------------------------------------------------


def row_of(snapshot: Snapshot, instrument: Instrument) -> PositionRow | None:
    rows = [row for row in snapshot.positions if row.position.symbol == instrument.symbol]
    return rows[0] if rows else None


async def holds(place: Place, session: Session, instrument: Instrument) -> None:
    """Quotes come until it is bought, and protected."""

    def is_held(snapshot: Snapshot) -> bool:
        place.quote(instrument, 100, 100.5)
        row = row_of(snapshot, instrument)
        return row is not None and row.stop_price is not None

    place.quote(instrument, 100, 100.5)
    await session.until(is_held)


@pytest.mark.parametrize("name", VENUES)
async def test_what_has_no_price_is_not_worth_nothing_and_is_not_sold(
    name: str, tmp_path: Path
) -> None:
    """A symbol is delisted, or its book empty on one side or on both; the other one trades on."""
    async with (
        place_at(name, tmp_path) as place,
        engine(place, tmp_path, "holds", HOLDS) as session,
    ):
        first, second = place.traded
        await holds(place, session, first)
        for bid, ask in ((0, 0), (0, 100.5), (100, 0), (0, 0)):
            place.quote(first, bid, ask)
        await holds(place, session, second)
        snapshot = session.snapshots[-1]
        row = row_of(snapshot, first)
        assert row is not None
        assert row.mark == Decimal("100.25")
        assert row.stop_price is not None
        assert snapshot.equity is not None
        assert snapshot.equity > 99_000
        orders = session.runtime.machine.orders.orders.values()
        assert not any(order.purpose is OrderPurpose.EXIT for order in orders)


# --- a hole in the bars --------------------------------------------------------------------------


class Watched:
    """An engine that watches the bars of a place's first instrument."""

    def __init__(self, place: Place, session: Session, started: int) -> None:
        self.place = place
        self._session = session
        self._started = started

    def close(self, *numbers: int, told: bool = True) -> None:
        """Minutes are over, so many after the first one."""
        for number in numbers:
            price = 100.0 + number
            ts = self._started + number * MINUTE
            bar = Bar(self.place.traded[0].symbol, ts, price, price, price, price, 1e6)
            self.place.close(bar, told=told)

    @property
    def seen(self) -> list[tuple[int, bool]]:
        """The numbers of the bars that the strategy saw, and which of them were decided on."""
        module = sys.modules["plugin_watching"]
        return [(int(price - 100), live) for price, live in module.SEEN if price > 100]

    async def until(self, number: int) -> None:
        await self._session.until(lambda _: (number, True) in self.seen)


@asynccontextmanager
async def watched(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Watched]:
    """It has seen one bar."""
    monkeypatch.setattr("engine.feeds.live.POLL_S", 0.05)
    monkeypatch.setattr("engine.feeds.questrade.SETTLE_S", 0.2)
    monkeypatch.setattr("engine.feeds.questrade.AGAIN_S", 0.2)
    monkeypatch.setattr("engine.ops.backoff.FIRST_PAUSE_S", 0.01)
    async with place_at(name, folder) as place:
        started = time.time_ns() // MINUTE * MINUTE - 300 * MINUTE
        place.begin(started)
        async with engine(place, folder, "watching", SEEN) as session:
            watching = Watched(place, session, started)
            await place.is_followed()
            watching.close(1)
            await watching.until(1)
            yield watching


@pytest.mark.parametrize("name", VENUES)
async def test_a_hole_is_filled_before_the_next_bar_is_seen_or_it_is_not_decided_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream was away for two minutes, and then for two hours."""
    async with watched(name, tmp_path, monkeypatch) as engine:
        engine.close(2, 3, told=False)
        await engine.place.cut()
        engine.close(4)
        await engine.until(4)
        engine.close(*range(5, 125), told=False)
        await engine.place.cut()
        engine.close(125)
        await engine.until(125)
        seen = engine.seen
        assert [number for number, _ in seen] == [*range(1, 126)]
        assert [number for number, live in seen if live] == [1, 4, 125]
        if name in TELL_BARS:
            engine.close(126, told=False)
            await engine.place.cut()
            engine.place.faults.plan("bars", Fault.RESET)
            engine.close(127, 128)
            await engine.until(128)
            assert engine.seen[125:] == [(127, False), (128, True)]
