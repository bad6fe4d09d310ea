"""Crypto exchanges under the contract, through the real ccxt."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from typing import Generic, TypeVar

from msgspec.structs import replace
from pydantic import SecretStr

from engine.brokers.base import BaseBroker
from engine.brokers.ccxt import ccxt_broker
from engine.brokers.ccxt.venues import Access
from engine.core.model import AssetClass, Idempotency, Instrument
from tests.brokers.contract import ANSWER_S, COSTS, WiredPeer
from tests.loopback.binance import Binance
from tests.loopback.coinbase import Coinbase
from tests.loopback.kraken import Kraken
from tests.loopback.serving import Server
from tests.loopback.venue import Venue

TIMEOUT_S = 1.0
BTC = Instrument(
    "BTC/USDT",
    AssetClass.CRYPTO,
    Decimal("0.01"),
    Decimal("0.00001"),
    currency="USDT",
    venue="binance",
)


XBT = Instrument(
    "BTC/USD", AssetClass.CRYPTO, Decimal("0.1"), Decimal("0.00000001"), venue="kraken"
)

AT_COINBASE = Instrument(
    "BTC/USD", AssetClass.CRYPTO, Decimal("0.01"), Decimal("0.00000001"), venue="coinbase"
)

ETH = {
    traded.venue: replace(traded, symbol=traded.symbol.replace("BTC", "ETH"))
    for traded in (BTC, XBT, AT_COINBASE)
}

S = TypeVar("S", Binance, Kraken, Coinbase)


class CcxtPeer(WiredPeer, Generic[S]):
    """`spoken` is the server at the other end."""

    def __init__(self, spoken: S, server: Server, instrument: Instrument) -> None:
        self.spoken, self.server = spoken, server
        self.venue, self.faults, self.streams = spoken.venue, spoken.faults, spoken.streams
        self._traded = instrument
        self.other = ETH[instrument.venue]
        super().__init__(self.another(), instrument, Decimal("0.001"), time.time_ns())

    def another(self, *instruments: Instrument) -> BaseBroker:
        name = self._traded.venue
        access = Access(
            SecretStr("key"),
            SecretStr("c2VjcmV0MTIz"),
            paper=name == "binance",
            url=self.server.url,
            timeout_s=TIMEOUT_S,
        )
        return ccxt_broker(name, instruments or [self._traded], access, time.time_ns)

    async def start_server(self) -> None:
        await self.server.start()

    async def stop_server(self) -> None:
        await self.server.stop()


@asynccontextmanager
async def connected(spoken: S, instrument: Instrument) -> AsyncGenerator[CcxtPeer[S]]:
    """A broker at the server that `spoken` is."""
    server = Server(spoken.app, spoken.faults)
    await server.start()
    peer = CcxtPeer(spoken, server, instrument)
    try:
        async with asyncio.timeout(ANSWER_S):
            await peer.link.tried.wait()
            await peer.streams.has_joined()
        yield peer
    finally:
        await peer.close()
        await server.stop()


def binance() -> AbstractAsyncContextManager[CcxtPeer[Binance]]:
    return connected(Binance(Venue([BTC, ETH["binance"]], Idempotency.OPEN_ONLY)), BTC)


def binance_in_base() -> AbstractAsyncContextManager[CcxtPeer[Binance]]:
    coin = replace(BTC, commission_in_base=True)
    return connected(Binance(Venue([coin], Idempotency.OPEN_ONLY, rules=COSTS)), coin)


def kraken() -> AbstractAsyncContextManager[CcxtPeer[Kraken]]:
    return connected(Kraken(Venue([XBT, ETH["kraken"]], Idempotency.OPEN_ONLY)), XBT)


def coinbase() -> AbstractAsyncContextManager[CcxtPeer[Coinbase]]:
    return connected(Coinbase(Venue([AT_COINBASE, ETH["coinbase"]])), AT_COINBASE)


PEERS = {"binance": binance, "kraken": kraken, "coinbase": coinbase}
IN_BASE = {"binance": binance_in_base}
