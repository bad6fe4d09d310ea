"""Alpaca under the contract: the real alpaca-py, and a server that speaks the Trading API."""

import time
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal

from msgspec.structs import replace
from pydantic import SecretStr

from engine.brokers.alpaca import AlpacaBroker, Login
from engine.core.matching import ExchangeRules
from engine.core.model import AssetClass, Instrument
from tests.brokers.contract import COSTS, WiredPeer
from tests.loopback.alpaca import ACCOUNT_ID, KEY, SECRET, AlpacaServer
from tests.loopback.venue import FREE, Venue

AAPL = Instrument("AAPL", AssetClass.STOCK, Decimal("0.01"), Decimal(1), venue="alpaca")
BTC = Instrument(
    "alpaca:BTC/USD", AssetClass.CRYPTO, Decimal("0.01"), Decimal("0.0001"), venue="alpaca"
)
READ_S = 1.0


def login(server: AlpacaServer) -> Login:
    return Login(
        SecretStr(KEY),
        SecretStr(SECRET),
        url=server.url,
        stream_url=server.stream_url,
        data_url=server.url,
        read_s=READ_S,
    )


class AlpacaPeer(WiredPeer):
    def __init__(
        self, server: AlpacaServer, traded: Instrument, unit: Decimal, account_id: str
    ) -> None:
        self.server = server
        self.venue, self.faults, self.streams = server.venue, server.faults, server.streams
        self.login = replace(login(server), account_id=account_id)
        self.other = BTC if traded is AAPL else AAPL
        super().__init__(self.another(), traded, unit, time.time_ns())

    @property
    def successors(self) -> Collection[int]:
        return self.server.replaces.keys()

    def another(self, *instruments: Instrument) -> AlpacaBroker:
        return AlpacaBroker(instruments or [AAPL, BTC], self.login, time.time_ns)

    async def start_server(self) -> None:
        await self.server.start()

    async def stop_server(self) -> None:
        await self.server.stop()


def alpaca(
    traded: Instrument,
    unit: Decimal,
    account_id: str = "",
    rules: ExchangeRules = FREE,
    gross: bool = False,
) -> Callable[[], AbstractAsyncContextManager[AlpacaPeer]]:
    @asynccontextmanager
    async def make() -> AsyncGenerator[AlpacaPeer]:
        coin = replace(BTC, symbol="BTC/USD", commission_in_base=rules is COSTS)
        server = AlpacaServer(Venue([AAPL, coin], rules=rules, posts_later=True))
        server.gross = gross
        await server.start()
        peer = AlpacaPeer(server, traded, unit, account_id)
        await peer.link.tried.wait()
        yield peer
        await peer.close()
        await server.stop()

    return make


PEERS = {
    "alpaca": alpaca(AAPL, Decimal(1)),
    "alpaca-crypto": alpaca(BTC, Decimal("0.015")),
    "alpaca-broker": alpaca(AAPL, Decimal(1), ACCOUNT_ID),
}
IN_BASE = {
    "alpaca": alpaca(BTC, Decimal("0.015"), rules=COSTS),
    "alpaca, told gross": alpaca(BTC, Decimal("0.015"), rules=COSTS, gross=True),
    "alpaca-broker": alpaca(BTC, Decimal("0.015"), ACCOUNT_ID, COSTS),
}
