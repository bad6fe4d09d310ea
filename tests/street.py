"""Alpaca as a whole on loopback: the account, the market data, and a market that moves in both."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from engine.core.matching import ExchangeRules
from engine.core.model import MINUTE, AssetClass, Instrument, utc
from engine.ops.settings import Settings, env_text
from tests.loopback.alpaca import KEY, SECRET, AlpacaServer
from tests.loopback.alpaca_data import AlpacaData
from tests.loopback.venue import FREE, Venue
from tests.session import ZIGZAG

BTC = Instrument("BTC/USD", AssetClass.CRYPTO, Decimal("0.01"), Decimal("0.0001"))

QUOTE_S = 0.2


class Street:
    """The account and the market data of Alpaca, and a market that moves in both."""

    def __init__(self, folder: Path, key: str = KEY, rules: ExchangeRules = FREE) -> None:
        """What trading costs by the `rules` is taken of the coins that are bought."""
        coin = replace(BTC, commission_in_base=rules is not FREE)
        self.venue = Venue([coin], cash=Decimal(100_000), rules=rules, posts_later=True)
        self.server = AlpacaServer(self.venue, key)
        self.data = AlpacaData(key, SECRET)
        self.key = key
        self._folder = folder
        self._bars = 0
        self._first = time.time_ns() // MINUTE * MINUTE - 60 * MINUTE

    def settings(self, **given: Any) -> Settings:
        return Settings(**(self._given() | given))

    def environment(self, **given: Any) -> dict[str, str]:
        """The same for a process."""
        given = self._given() | given
        return {name.upper(): env_text(value) for name, value in given.items()}

    async def start(self) -> None:
        await self.data.start()
        await self.server.start()

    async def stop(self) -> None:
        await self.server.stop()
        await self.data.stop()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Servers that are up, and quotes that come all the time, until the block ends."""
        await self.start()
        quoting = asyncio.create_task(self._quote())
        try:
            yield
        finally:
            quoting.cancel()
            await asyncio.gather(quoting, return_exceptions=True)
            await self.stop()

    async def _quote(self) -> None:
        while True:
            self.quote(100.0)
            await asyncio.sleep(QUOTE_S)

    def _given(self) -> dict[str, Any]:
        plugins = self._folder / "plugins"
        plugins.mkdir(exist_ok=True)
        (plugins / "zigzag.py").write_text(ZIGZAG)
        return {
            "data_dir": self._folder / "var",
            "symbols": ("alpaca:BTC/USD",),
            "strategies": ("zigzag",),
            "strategies_dir": plugins,
            "alpaca_api_key": self.key,
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

    def quote(self, price: float) -> None:
        """The market is at `price` now, at the venue and in its data."""
        bid, ask, size = price, price + 0.01, 100.0
        self.venue.quote("BTC/USD", bid, ask, size)
        row: dict[str, Any] = {"S": "BTC/USD"}
        row |= {"bp": bid, "ap": ask, "bs": size, "as": size, "t": time.time_ns()}
        self.data.say({"T": "q"} | row)
        self.data.quotes["BTC/USD"] = row | {"t": _when(row["t"])}

    def bar(self, price: float = 100.0) -> None:
        """A quote, and the next minute's bar."""
        self.quote(price)
        start = self._first + self._bars * MINUTE
        row: dict[str, Any] = dict.fromkeys("ohlc", price) | {"v": 1000, "S": "BTC/USD"}
        self.data.say({"T": "b", "t": start} | row)
        self.data.bars.setdefault("BTC/USD", []).append(row | {"t": _when(start)})
        self._bars += 1


def _when(ts: int) -> str:
    return f"{utc(ts):%Y-%m-%dT%H:%M:%S.%fZ}"
