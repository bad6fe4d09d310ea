"""The paper broker under the contract: there is no wire, its market is what the engine sees."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal

from engine.brokers.paper import PaperBroker
from engine.core.events import QuoteUpdate
from engine.core.model import Quote
from engine.core.sessions import Calendars
from tests.brokers.contract import Peer
from tests.core.rig import ACME, FREE


class PaperPeer(Peer):
    def quote(self, bid: float, ask: float, units: int = 1000) -> None:
        size = float(units * self.unit)
        quote = Quote(self.instrument.symbol, time.time_ns(), bid, ask, size, size)
        for event in self.broker.on_market(QuoteUpdate(quote, ts=quote.ts)):
            self.link.hear(event)


@asynccontextmanager
async def paper() -> AsyncGenerator[PaperPeer]:
    broker = PaperBroker([ACME], FREE, Calendars(), time.time_ns)
    peer = PaperPeer(broker, ACME, Decimal(1), time.time_ns())
    await peer.link.tried.wait()
    yield peer
    await peer.close()


PEERS = {"paper": paper}
