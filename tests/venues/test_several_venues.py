"""One engine at several venues: Alpaca and Binance, and Kraken without an account, on servers that
speak their protocols."""

import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engine.core.model import MINUTE, NANOS, AssetClass, Bar, Idempotency, Instrument, Quote
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.store.identity import OtherAccount
from engine.view.snapshot import Snapshot
from tests.loopback.alpaca import KEY, SECRET, AlpacaServer
from tests.loopback.alpaca_data import AlpacaData
from tests.loopback.binance import Binance
from tests.loopback.faults import Fault
from tests.loopback.kraken import Kraken
from tests.loopback.serving import Server, serving
from tests.loopback.venue import Venue
from tests.session import ZIGZAG, Session, running

PATIENCE_S = 40
CENT, LOT = Decimal("0.01"), Decimal("0.00001")
AT_ALPACA, AT_BINANCE, AT_KRAKEN = "alpaca:BTC/USD", "binance:BTC/USDT", "kraken:BTC/USD"
ALL = (AT_ALPACA, AT_BINANCE, AT_KRAKEN)
SIGNED = "c2VjcmV0MTIz"


class Street:
    """The venues, and a market that moves at all of them."""

    def __init__(self, folder: Path) -> None:
        usd = Instrument("BTC/USD", AssetClass.CRYPTO, CENT, LOT)
        usdt = Instrument("BTC/USDT", AssetClass.CRYPTO, CENT, LOT, currency="USDT")
        cash = Decimal(100_000)
        self.alpaca = AlpacaServer(Venue([usd], cash=cash))
        self.data = AlpacaData(KEY, SECRET)
        self.binance = Binance(Venue([usdt], Idempotency.OPEN_ONLY, cash=cash))
        self.kraken = Kraken(Venue([usd], Idempotency.OPEN_ONLY, cash=cash, now=self._minute))
        self.servers = {
            name: Server(spoken.app, spoken.faults)
            for name, spoken in (("binance", self.binance), ("kraken", self.kraken))
        }
        self._folder = folder
        self._bars = 0
        self._first = time.time_ns() // MINUTE * MINUTE - 60 * MINUTE

    def _minute(self) -> int:
        """The time of the market: a second into the minute after the last bar."""
        return self._first + self._bars * MINUTE + NANOS

    def settings(self, **given: Any) -> Settings:
        plugins = self._folder / "plugins"
        plugins.mkdir(exist_ok=True)
        (plugins / "zigzag.py").write_text(ZIGZAG)
        usual: dict[str, Any] = {
            "data_dir": self._folder / "var",
            "symbols": ALL,
            "strategies": ("zigzag",),
            "strategies_dir": plugins,
            "alpaca_api_key": KEY,
            "alpaca_api_secret": SECRET,
            "alpaca_url": self.alpaca.url,
            "alpaca_stream_url": self.alpaca.stream_url,
            "alpaca_data_url": self.data.url,
            "alpaca_data_stream_url": self.data.stream_url,
            "binance_api_key": "key",
            "binance_api_secret": SIGNED,
            "binance_url": self.servers["binance"].url,
            "kraken_url": self.servers["kraken"].url,
            "submit_timeout_s": 2,
            "stale_after_s": 86_400,
            "reconcile_s": 5,
        }
        return Settings(**(usual | given))

    def quote(self, price: float = 100.0) -> None:
        """All venues are at `price` now."""
        now = time.time_ns()
        self.alpaca.venue.quote("BTC/USD", price, price + 0.01, 100.0)
        row = {"S": "BTC/USD", "bp": price, "ap": price + 0.01, "bs": 100, "as": 100, "t": now}
        self.data.say({"T": "q"} | row)
        for spoken, symbol in ((self.binance, "BTC/USDT"), (self.kraken, "BTC/USD")):
            spoken.venue.quote(symbol, price, price + 0.01, 100.0)
            spoken.tell_quote(Quote(symbol, now, price, price + 0.01, 100.0, 100.0))

    def bar(self, price: float = 100.0) -> None:
        """A quote, and the next minute's bar."""
        self.quote(price)
        start = self._first + self._bars * MINUTE
        row = dict.fromkeys("ohlc", price) | {"v": 1000, "S": "BTC/USD"}
        self.data.say({"T": "b", "t": start} | row)
        for spoken, symbol in ((self.binance, "BTC/USDT"), (self.kraken, "BTC/USD")):
            bar = Bar(symbol, start + MINUTE, price, price, price, price, 1000.0)
            spoken.tell_candle(bar, closed=True)
        self._bars += 1
        following = Bar("BTC/USD", start + 2 * MINUTE, price, price, price, price, 1000.0)
        self.kraken.tell_candle(following, closed=False)  # by that alone it says what is closed

    def at_venues(self) -> dict[str, Decimal]:
        return {
            AT_ALPACA: self.alpaca.venue.positions["BTC/USD"],
            AT_BINANCE: self.binance.venue.positions["BTC/USDT"],
        }


@pytest_asyncio.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    made = Street(tmp_path)
    async with serving(made.data, made.alpaca, *made.servers.values()):
        yield made


def is_up(snapshot: Snapshot) -> bool:
    brokers = {broker.name: broker.connected for broker in snapshot.brokers}
    up = dict.fromkeys(("alpaca", "binance", "kraken"), True)
    return brokers == up and snapshot.feed.status == "connected"


def held(snapshot: Snapshot) -> dict[str, Decimal]:
    return {row.position.symbol: row.position.quantity for row in snapshot.positions}


async def buys(street: Street, session: Session, *symbols: str) -> Snapshot:
    """The third bar buys at each venue."""
    await street.data.streams.has_joined()
    for _ in range(3):
        street.bar()

    def has_bought(snapshot: Snapshot) -> bool:
        street.quote()
        return all(held(snapshot).get(symbol, 0) > 0 for symbol in symbols)

    return await session.until(has_bought, PATIENCE_S)


async def test_each_order_goes_to_the_venue_of_its_symbol(street: Street) -> None:
    """At Kraken there is no account: there it is traded on paper, on its live data."""
    street.binance.venue.cash = Decimal("70000.5")
    async with running(street.settings()) as session:
        snapshot = await session.until(is_up, PATIENCE_S)
        cash = {row.venue: (row.currency, row.cash) for row in snapshot.accounts}
        assert cash == {
            "alpaca": ("USD", Decimal(100_000)),
            "binance": ("USDT", Decimal("70000.5")),
            "kraken": ("USD", Decimal(100_000)),
        }
        assert snapshot.equity == Decimal("270000.5")
        snapshot = await buys(street, session, *ALL)
        there = street.at_venues()
        assert {symbol: held(snapshot)[symbol] for symbol in there} == there
        assert snapshot.feed.name == "alpaca+binance+kraken"
    assert street.kraken.venue.orders == {}
    assert street.alpaca.faults.requests["submit"] >= 1
    assert street.binance.faults.requests["submit"] >= 1


async def test_all_are_asked_at_once_for_what_their_accounts_have(street: Street) -> None:
    """A broker that does not answer is one that the others are not behind."""
    street.alpaca.faults.plan("balance", Fault.HANG)
    session = Session(street.settings())
    session.start()
    with pytest.raises(UserError, match="alpaca does not say what its account has"):
        await session.until(lambda _: False, PATIENCE_S)
    assert street.binance.faults.requests["positions"] > 0


async def test_books_on_paper_are_refused_to_the_account_of_keys_that_come_later(
    street: Street,
) -> None:
    """Without keys Binance was traded here: 100,000 that its account does not have."""
    async with running(street.settings(binance_api_key="")) as session:
        await session.until(is_up, PATIENCE_S)
    session = Session(street.settings())
    session.start()
    with pytest.raises(OtherAccount, match="the books of binance are of a simulated account"):
        await session.until(lambda _: False, PATIENCE_S)
    assert street.binance.venue.orders == {}
    assert street.alpaca.venue.orders == {}


async def test_a_venue_that_is_down_stops_no_other(street: Street) -> None:
    async with running(street.settings()) as session:
        await session.until(is_up, PATIENCE_S)
        await street.servers["binance"].stop()
        snapshot = await session.until(lambda s: s.feed.status == "degraded", PATIENCE_S)
        assert "binance" in snapshot.feed.note
        snapshot = await buys(street, session, AT_ALPACA, AT_KRAKEN)
        assert AT_BINANCE not in held(snapshot)
        down = [broker.name for broker in snapshot.brokers if not broker.connected]
        assert down == ["binance"]
        await street.servers["binance"].start()
        await session.until(is_up, PATIENCE_S)
        assert street.binance.venue.orders == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"symbols": (*ALL, "AAPL")}, "SYMBOLS has AAPL"),
        ({"symbols": (*ALL, "binance:NO/USDT")}, "binance does not trade NO/USDT"),
    ],
)
async def test_settings_that_make_no_sense_are_told(
    street: Street, given: dict[str, Any], said: str
) -> None:
    session = Session(street.settings(**given))
    session.start()
    with pytest.raises(UserError, match=said):
        await session.until(lambda _: False, 5)
