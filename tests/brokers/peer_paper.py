"""The paper broker under the contract: there is no wire, its market is what the engine sees."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal

from msgspec.structs import replace

from engine.brokers.paper import PaperBroker
from engine.core.events import QuoteUpdate
from engine.core.matching import ExchangeRules
from engine.core.model import Instrument, Quote
from engine.core.sessions import Calendars
from tests.brokers.contract import COSTS, Peer
from tests.core.rig import ACME, COIN, FREE

TENTHS = replace(COIN, lot=Decimal("0.1"), commission_in_base=True)


class PaperPeer(Peer):
    def quote(self, bid: float, ask: float, units: int = 1000) -> None:
        size = float(units * self.unit)
        quote = Quote(self.instrument.symbol, time.time_ns(), bid, ask, size, size)
        for event in self.broker.on_market(QuoteUpdate(quote, ts=quote.ts)):
            self.link.hear(event)


@asynccontextmanager
async def trading(instrument: Instrument, rules: ExchangeRules) -> AsyncGenerator[PaperPeer]:
    broker = PaperBroker([instrument], rules, Calendars(), time.time_ns)
    peer = PaperPeer(broker, instrument, Decimal(1), time.time_ns())
    await peer.link.tried.wait()
    yield peer
    await peer.close()


PEERS = {"paper": lambda: trading(ACME, FREE)}
IN_BASE = {"paper": lambda: trading(TENTHS, COSTS)}
