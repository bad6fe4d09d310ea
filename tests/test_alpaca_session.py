"""A whole engine at Alpaca: account and market data on loopback servers, and their faults."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engine.core.model import MINUTE, AssetClass, Instrument, OrderState
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.snapshot import Snapshot
from tests.loopback.alpaca import KEY, SECRET, AlpacaServer
from tests.loopback.alpaca_data import AlpacaData
from tests.loopback.faults import Fault
from tests.loopback.venue import Venue
from tests.session import ZIGZAG, Session, running

BTC = Instrument("BTC/USD", AssetClass.CRYPTO, Decimal("0.01"), Decimal("0.0001"))
PATIENCE_S = 30


class Street:
    """The account and the market data of Alpaca, and a market that moves in both."""

    def __init__(self, folder: Path) -> None:
        self.venue = Venue([BTC], cash=Decimal(100_000))
        self.server = AlpacaServer(self.venue)
        self.data = AlpacaData(KEY, SECRET)
        self._folder = folder
        self._bars = 0
        self._first = time.time_ns() // MINUTE * MINUTE - 60 * MINUTE

    def settings(self, **given: Any) -> Settings:
        plugins = self._folder / "plugins"
        plugins.mkdir(exist_ok=True)
        (plugins / "zigzag.py").write_text(ZIGZAG)
        usual: dict[str, Any] = {
            "data_dir": self._folder / "var",
            "symbols": ("alpaca:BTC/USD",),
            "strategies": ("zigzag",),
            "strategies_dir": plugins,
            "alpaca_api_key": KEY,
            "alpaca_api_secret": SECRET,
            "alpaca_url": self.server.url,
            "alpaca_stream_url": self.server.stream_url,
            "alpaca_data_url": self.data.url,
            "alpaca_data_stream_url": self.data.stream_url,
            "submit_timeout_s": 2,
            "stale_after_s": 86_400,
            "in_doubt_lag_s": 0.1,
            "reconcile_s": 5,
        }
        return Settings(**(usual | given))

    def quote(self, price: float) -> None:
        """The market is at `price` now, at the venue and in its data."""
        bid, ask, size = price, price + 0.01, 100.0
        self.venue.quote("BTC/USD", bid, ask, size)
        row = {"S": "BTC/USD", "bp": bid, "ap": ask, "bs": size, "as": size, "t": time.time_ns()}
        self.data.say({"T": "q"} | row)

    def bar(self, price: float = 100.0) -> None:
        """A quote, and the next minute's bar."""
        self.quote(price)
        row = dict.fromkeys("ohlc", price) | {"v": 1000, "S": "BTC/USD"}
        self.data.say({"T": "b", "t": self._first + self._bars * MINUTE} | row)
        self._bars += 1


@pytest_asyncio.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    made = Street(tmp_path)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(made.data.running())
        await made.server.start()
        stack.push_async_callback(made.server.stop)
        yield made


def is_up(snapshot: Snapshot) -> bool:
    brokers = [broker.connected for broker in snapshot.brokers]
    return brokers == [True] and snapshot.feed.status == "connected"


def held(snapshot: Snapshot) -> Decimal:
    return sum((row.position.quantity for row in snapshot.positions), Decimal(0))


async def buys(street: Street, session: Session) -> Snapshot:
    """The third bar buys; then the position and its stop are there, and both sides agree."""
    await session.until(is_up, PATIENCE_S)
    await street.data.streams.has_joined()
    for _ in range(3):
        street.bar()
    await session.until(lambda s: s.orders, PATIENCE_S)
    await street.server.faults.has_come("submit", 1)
    return await session.until(lambda s: has_position_and_stop(street, s), PATIENCE_S)


def has_position_and_stop(street: Street, snapshot: Snapshot) -> bool:
    street.quote(100.0)
    stops = [o for o in snapshot.orders if o.purpose == "protective_stop" and o.is_open]
    accepted = [o for o in stops if o.state is OrderState.ACCEPTED]
    return held(snapshot) > 0 and len(accepted) == 1


async def test_a_strategy_trades_at_alpaca(street: Street) -> None:
    async with running(street.settings()) as session:
        snapshot = await buys(street, session)
        assert held(snapshot) == street.venue.positions["BTC/USD"]
        assert [row.name for row in snapshot.brokers] == ["alpaca"]
        assert snapshot.feed.name == "alpaca"
        entries = [o for o in snapshot.orders if o.purpose == "entry"]
        assert len(entries) == street.server.faults.requests["submit"] - 1 == 1


async def test_a_submit_that_was_accepted_with_504_is_one_order(street: Street) -> None:
    street.server.faults.plan("submit", Fault.GATEWAY_TIMEOUT)
    async with running(street.settings()) as session:
        snapshot = await buys(street, session)
    assert held(snapshot) == street.venue.positions["BTC/USD"]
    ids = [placed.order.client_order_id for placed in street.venue.orders.values()]
    assert len(ids) == len(set(ids)) == street.server.faults.requests["submit"] == 2


async def test_the_streams_are_lost_and_come_back_by_themselves(street: Street) -> None:
    async with running(street.settings()) as session:
        await buys(street, session)
        await street.data.streams.close()
        await session.until(lambda s: s.feed.status == "disconnected", PATIENCE_S)
        await session.until(is_up, PATIENCE_S)
        await street.server.streams.close()
        await session.until(lambda s: not is_up(s), PATIENCE_S)
        snapshot = await session.until(is_up, PATIENCE_S)
        assert held(snapshot) == street.venue.positions["BTC/USD"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alpaca_api_key": ""}, "there is no key"),
        ({"alpaca_api_key": "AKREAL"}, "that of a real account"),
        ({"mode": "live"}, "on paper accounts only"),
        ({"symbols": ("alpaca:BTC/USD", "AAPL")}, "SYMBOLS has AAPL"),
        ({"symbols": ("nowhere:AAPL",)}, "SYMBOLS has nowhere:AAPL"),
        ({"symbols": ("alpaca:NONE",)}, "Alpaca has no NONE"),
    ],
)
async def test_settings_that_make_no_sense_are_told(
    street: Street, given: dict[str, Any], said: str
) -> None:
    session = Session(street.settings(**given))
    session.start()
    with pytest.raises(UserError, match=said):
        await session.until(lambda _: False, PATIENCE_S)
    assert street.venue.orders == {}


async def test_wrong_keys_are_told_and_nothing_is_traded(street: Street) -> None:
    settings = street.settings(alpaca_api_secret="not-the-secret")
    session = Session(settings)
    session.start()
    with pytest.raises(UserError, match="Alpaca does not take the key") as caught:
        await session.until(lambda _: False, PATIENCE_S)
    assert "not-the-secret" not in str(caught.value)
    assert street.venue.orders == {}
