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
from pydantic import SecretStr

from engine.brokers.alpaca import Login as AlpacaLogin
from engine.brokers.ccxt.venues import Access
from engine.brokers.interactive_brokers import Gateway
from engine.brokers.questrade import Login, open_session
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


class Place:
    """A server of market data, what reads it, and two instruments that it has."""

    streams: Streams
    faults: Faults
    source: Source
    traded: tuple[Instrument, ...]

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
    def __init__(self, spoken: Any, name: str, url: str) -> None:
        self._spoken, self.streams, self.faults = spoken, spoken.market.streams, spoken.faults
        self.traded = tuple(spoken.venue.instruments.values())
        self.source = CcxtSource(name, Access(paper=False, url=url, timeout_s=1.0), self.traded)

    def quote(self, instrument: Instrument, bid: float, ask: float) -> None:
        self._spoken.tell_quote(Quote(instrument.symbol, time.time_ns(), bid, ask, 1000, 1000))

    def close(self, bar: Bar, *, told: bool) -> None:
        self._spoken.market.add([bar])
        if told:
            self._spoken.tell_candle(bar, closed=True)


class AtQuestrade(Place):
    def __init__(self, server: QuestradeServer, folder: Path) -> None:
        self._server, self.streams, self.faults = server, server.quote_streams, server.faults
        self.traded = tuple(server.venue.instruments.values())
        login = Login(SecretStr(FIRST_TOKEN), folder / "t.json", url=server.login_url)
        self.session = open_session(login, time.time_ns)
        self.session.join()
        self.source = QuestradeSource(self.session, list(self.traded))

    def quote(self, instrument: Instrument, bid: float, ask: float) -> None:
        self._server.venue.quote(instrument.symbol, bid, ask, 1000)
        self._server.say_quote(instrument.symbol, bidPrice=bid or None, askPrice=ask or None)


class AtTws(Place):
    def __init__(self, server: IbServer) -> None:
        self._server, self.streams, self.faults = server, server.streams, server.faults
        self.traded = tuple(server.venue.instruments.values())
        gateway = Gateway(port=server.port, timeout_s=1.0)
        self.source = InteractiveBrokersSource(gateway, list(self.traded), time.time_ns)

    def quote(self, instrument: Instrument, bid: float, ask: float) -> None:
        self._server.venue.quote(instrument.symbol, bid, ask, 1000)
        self._server.say_quote(instrument.symbol, bid or -1, ask or -1, 1000)


@asynccontextmanager
async def place_at(name: str, folder: Path) -> AsyncGenerator[Place]:
    if name == "alpaca":
        data = AlpacaData()
        async with serving(data):
            yield AtAlpaca(data)
    elif name in EXCHANGES:
        money = "USDT" if name == "binance" else "USD"
        pairs = instruments(name, AssetClass.CRYPTO, f"BTC/{money}", f"ETH/{money}")
        spoken = EXCHANGES[name](Venue(pairs))
        server = Server(spoken.app, spoken.faults)
        async with serving(server):
            yield AtExchange(spoken, name, server.url)
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
        tws = IbServer(Venue(shares, Idempotency.NONE))
        async with serving(tws):
            yield AtTws(tws)


EXCHANGES: dict[str, Callable[[Venue], Any]] = {
    "binance": Binance,
    "kraken": Kraken,
    "coinbase": Coinbase,
}
VENUES = ("alpaca", *EXCHANGES, "questrade", "interactive_brokers")
TELL_BARS = ("alpaca", "binance")
"""Of the others bars are closed by the clock, made of trades, or asked for every minute."""


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
    rows = [row for row in snapshot.positions if row.instrument.symbol == instrument.symbol]
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


@pytest.mark.parametrize("name", TELL_BARS)
async def test_a_hole_is_filled_before_the_next_bar_is_seen_or_it_is_not_decided_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream was away for two minutes, and then for two hours."""
    monkeypatch.setattr("engine.feeds.live.POLL_S", 0.05)
    monkeypatch.setattr("engine.ops.backoff.FIRST_PAUSE_S", 0.01)
    started = time.time_ns() // MINUTE * MINUTE - 300 * MINUTE
    async with (
        place_at(name, tmp_path) as place,
        engine(place, tmp_path, "watching", SEEN) as session,
    ):
        traded = place.traded[0].symbol

        def close(*numbers: int, told: bool) -> None:
            for number in numbers:
                price = 100.0 + number
                bar = Bar(traded, started + number * MINUTE, price, price, price, price, 1e6)
                place.close(bar, told=told)

        async def cut() -> None:
            joined = place.streams.joined
            await place.streams.close()
            await place.streams.has_joined(joined + 1)

        slot = session.runtime.machine.runner.runs["watching"].slots[traded]
        close(1, told=True)
        await session.until(lambda _: slot.seen >= 1)
        await cut()
        close(2, 3, told=False)
        close(4, told=True)
        await session.until(lambda _: slot.seen >= 4)
        await cut()
        place.faults.plan("bars", Fault.RESET)
        close(*range(5, 125), told=False)
        close(125, 126, told=True)
        await session.until(lambda _: slot.seen >= 6)
        module = sys.modules["plugin_watching"]
        seen = [(int(price - 100), live) for price, live in module.SEEN]
    assert seen[:4] == [(1, True), (2, False), (3, False), (4, True)]
    assert seen[4:] == [(125, False), (126, True)]
