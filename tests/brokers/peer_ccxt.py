"""Crypto exchanges under the contract, through the real ccxt."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from typing import Generic, TypeVar

from pydantic import SecretStr

from engine.brokers.ccxt import ccxt_broker
from engine.brokers.ccxt.venues import Access
from engine.core.model import AssetClass, Idempotency, Instrument
from tests.brokers.contract import ANSWER_S, WiredPeer
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

S = TypeVar("S", Binance, Kraken, Coinbase)


class CcxtPeer(WiredPeer, Generic[S]):
    """`spoken` is the server at the other end."""

    server: Server
    spoken: S

    async def stop_server(self) -> None:
        await self.server.stop()


@asynccontextmanager
async def connected(spoken: S, instrument: Instrument) -> AsyncGenerator[CcxtPeer[S]]:
    """A broker at the server that `spoken` is."""
    server = Server(spoken.app(), spoken.faults)
    await server.start()
    name = instrument.venue
    access = Access(
        SecretStr("key"),
        SecretStr("c2VjcmV0MTIz"),
        paper=name == "binance",
        url=server.url,
        timeout_s=TIMEOUT_S,
    )
    broker = ccxt_broker(name, [instrument], access, time.time_ns)
    peer: CcxtPeer[S] = CcxtPeer(broker, instrument, Decimal("0.001"), time.time_ns())
    peer.venue, peer.faults, peer.streams = spoken.venue, spoken.faults, spoken.streams
    peer.server, peer.spoken = server, spoken
    try:
        async with asyncio.timeout(ANSWER_S):
            await peer.link.tried.wait()
            await peer.streams.has_joined()
        yield peer
    finally:
        await peer.close()
        await server.stop()


def binance() -> AbstractAsyncContextManager[CcxtPeer[Binance]]:
    return connected(Binance(Venue([BTC], Idempotency.OPEN_ONLY)), BTC)


def kraken() -> AbstractAsyncContextManager[CcxtPeer[Kraken]]:
    return connected(Kraken(Venue([XBT], Idempotency.OPEN_ONLY)), XBT)


def coinbase() -> AbstractAsyncContextManager[CcxtPeer[Coinbase]]:
    return connected(Coinbase(Venue([AT_COINBASE])), AT_COINBASE)


PEERS = {"binance": binance, "kraken": kraken, "coinbase": coinbase}
