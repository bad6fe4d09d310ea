"""Interactive Brokers under the contract: the real ib_async, and a server that speaks as TWS."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal

from msgspec.structs import replace

from engine.brokers.interactive_brokers import Gateway, InteractiveBrokers
from engine.core.model import AssetClass, Idempotency, Instrument
from tests.brokers.contract import WiredPeer
from tests.loopback.faults import Fault
from tests.loopback.ib import IbServer
from tests.loopback.venue import Venue

AAPL = Instrument("AAPL", AssetClass.STOCK, Decimal("0.01"), Decimal(1))
MSFT = replace(AAPL, symbol="MSFT")
TIMEOUT_S = 2.0
CLIENT_ID = 7


class InteractiveBrokersPeer(WiredPeer):
    other = MSFT
    cannot = frozenset(Fault) - {
        Fault.SLOW, Fault.HANG, Fault.RESET, Fault.LOST, Fault.LATE, Fault.MUTE,
    }  # fmt: skip

    def __init__(self, server: IbServer) -> None:
        self.server = server
        self.venue, self.faults, self.streams = server.venue, server.faults, server.streams
        super().__init__(self.another(), AAPL, Decimal(1), time.time_ns())

    def another(
        self,
        *instruments: Instrument,
        account: str = "",
        client_id: int = CLIENT_ID,
        timeout_s: float = 0.0,
    ) -> InteractiveBrokers:
        """A broker that knows nothing, as after a restart."""
        gateway = Gateway(
            port=self.server.port,
            client_id=client_id,
            account=account,
            timeout_s=timeout_s or TIMEOUT_S,
        )
        return InteractiveBrokers(instruments or [AAPL], time.time_ns, gateway)

    async def start_server(self) -> None:
        await self.server.start()

    async def stop_server(self) -> None:
        await self.server.stop()


@asynccontextmanager
async def interactive_brokers() -> AsyncGenerator[InteractiveBrokersPeer]:
    server = IbServer(Venue([AAPL, MSFT], Idempotency.NONE))
    await server.start()
    peer = InteractiveBrokersPeer(server)
    await peer.link.tried.wait()
    yield peer
    await peer.close()
    await server.stop()


PEERS = {"interactive_brokers": interactive_brokers}
