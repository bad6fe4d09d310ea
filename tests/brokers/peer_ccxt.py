"""Crypto exchanges under the contract, through the real ccxt."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal

from pydantic import SecretStr

from engine.brokers.ccxt import ccxt_broker
from engine.brokers.ccxt.venues import Access
from engine.core.model import AssetClass, Idempotency, Instrument
from tests.brokers.contract import WiredPeer
from tests.loopback.binance import Binance
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


class CcxtPeer(WiredPeer):
    server: Server
    spoken: Binance

    async def stop_server(self) -> None:
        await self.server.stop()


@asynccontextmanager
async def binance() -> AsyncGenerator[CcxtPeer]:
    venue = Venue([BTC], Idempotency.OPEN_ONLY)
    spoken = Binance(venue)
    server = Server(spoken.app(), spoken.faults)
    await server.start()
    access = Access(SecretStr("key"), SecretStr("secret"), url=server.url, timeout_s=TIMEOUT_S)
    broker = ccxt_broker("binance", [BTC], access, time.time_ns)
    peer = CcxtPeer(broker, BTC, Decimal("0.001"), time.time_ns())
    peer.venue, peer.faults, peer.streams = venue, spoken.faults, spoken.streams
    peer.server, peer.spoken = server, spoken
    try:
        await peer.link.tried.wait()
        await peer.streams.has_joined()
        yield peer
    finally:
        await peer.close()
        await server.stop()


PEERS = {"binance": binance}
