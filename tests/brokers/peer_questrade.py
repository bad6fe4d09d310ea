"""Questrade under the contract: the real httpx and websockets, and servers that speak its API."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace
from pydantic import SecretStr

from engine.brokers.questrade import Login, QuestradeBroker, open_session
from engine.core.model import AssetClass, Idempotency, Instrument
from tests.brokers.contract import WiredPeer
from tests.loopback.questrade import FIRST_TOKEN, QuestradeServer
from tests.loopback.venue import Venue

SHOP = Instrument("questrade:SHOP.TO", AssetClass.STOCK, Decimal("0.01"), Decimal(1), "CAD")
RY = replace(SHOP, symbol="questrade:RY.TO")
TIMEOUT_S = 1.0


class QuestradePeer(WiredPeer):
    """`tokens` is the file of a broker's tokens."""

    other = RY

    def __init__(self, server: QuestradeServer, tokens: Path) -> None:
        self.server = server
        self.tokens = tokens
        self.venue, self.faults, self.streams = server.venue, server.faults, server.streams
        super().__init__(self.another(), SHOP, Decimal(1), time.time_ns())

    def another(self, *instruments: Instrument, account: str = "") -> QuestradeBroker:
        """A broker that knows nothing but the tokens, as after a restart."""
        login = Login(
            SecretStr(FIRST_TOKEN),
            self.tokens,
            practice=True,
            url=self.server.login_url,
            timeout_s=TIMEOUT_S,
        )
        session = open_session(login, time.time_ns)
        return QuestradeBroker(instruments or [SHOP], session, account=account)

    async def start_server(self) -> None:
        await self.server.start()

    async def stop_server(self) -> None:
        await self.server.stop()


def make_server() -> QuestradeServer:
    listed = [replace(SHOP, symbol=symbol) for symbol in ("SHOP.TO", "RY.TO")]
    return QuestradeServer(Venue(listed, Idempotency.NONE))


@asynccontextmanager
async def questrade() -> AsyncGenerator[QuestradePeer]:
    server = make_server()
    await server.start()
    with TemporaryDirectory() as folder:
        peer = QuestradePeer(server, Path(folder) / "tokens.json")
        await peer.link.tried.wait()
        yield peer
        await peer.close()
        await server.stop()


PEERS = {"questrade": questrade}
