"""The paper broker under the contract: there is no wire, its market is what the engine sees."""

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TypeVar, cast

import msgspec
from msgspec.structs import replace

from engine.brokers.base import InDoubt, NotConnected
from engine.brokers.paper import PaperBroker
from engine.core.events import (
    BarClosed,
    CancelRejected,
    Event,
    ExecutionReport,
    QuoteUpdate,
    VenueOrder,
)
from engine.core.matching import ExchangeRules
from engine.core.model import Fill, Instrument, Order, Quote
from engine.core.sessions import Calendars
from tests.brokers.contract import COSTS, Peer, WiredPeer
from tests.core.rig import ACME, COIN, FREE
from tests.loopback import faults
from tests.loopback.faults import SLOW_S, Fault, Faults, Streams
from tests.loopback.venue import Placed, Venue

T = TypeVar("T")

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


# --- behind a line ------------------------------------------------------------------------------


class Lined(PaperBroker):
    """The paper broker as if it were far away: its requests and what it says go over a line, that
    has the faults of one. Nothing else of it is changed."""

    tells_all = False

    def __init__(self, faults: Faults, streams: Streams) -> None:
        super().__init__([ACME], FREE, Calendars(), time.time_ns)
        self._faults = faults
        self._streams = streams
        self.taken: list[Order] = []

    @property
    def held(self) -> Mapping[str, Decimal]:
        return self._positions

    @property
    def cash(self) -> Decimal:
        return self._cash

    @property
    def executions(self) -> list[Fill]:
        return list(self._fills)

    @property
    def resting(self) -> Sequence[VenueOrder]:
        return self._exchange.open_orders()

    async def connect(self) -> None:
        if self._streams.refuses:
            raise NotConnected("the line is cut")

    async def stream_fills(self) -> AsyncIterator[Event]:
        said: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def close() -> None:
            said.put_nowait(None)

        serving = asyncio.create_task(self._streams.serve(said.put, close, lambda *_: None))
        try:
            while (message := await said.get()) is not None:
                yield msgspec.json.decode(message, type=ExecutionReport)
        finally:
            serving.cancel()

    def on_market(self, event: QuoteUpdate | BarClosed) -> Sequence[Event]:
        for report in super().on_market(event):
            self._streams.say(msgspec.json.encode(report))
        return ()

    async def submit_order(self, order: Order) -> ExecutionReport:
        async def take() -> ExecutionReport:
            self.taken.append(order)
            return await PaperBroker.submit_order(self, order)

        return await self._ask("submit", take)

    async def cancel_order(self, order: Order) -> ExecutionReport | CancelRejected:
        return await self._ask("cancel", lambda: PaperBroker.cancel_order(self, order))

    async def _ask(self, kind: str, carry_out: Callable[[], Awaitable[T]]) -> T:
        fault = self._faults.take(kind)
        if fault is Fault.RESET:
            raise InDoubt("the line was cut")
        if fault is Fault.HANG:
            await self._faults.closing.wait()
        if fault is Fault.SLOW:
            await asyncio.sleep(SLOW_S)
        answer = await carry_out()
        if fault is Fault.LATE:
            await asyncio.sleep(faults.LATE_S)
            self._faults.late += 1
        if fault is Fault.LOST:
            raise InDoubt("the line was cut")
        if fault is Fault.MUTE:
            await self._faults.closing.wait()
        return answer


class LinedVenue:
    """The books of the broker at the other end of the line, as a Venue shows its own."""

    now: Callable[[], int]

    def __init__(self, broker: Callable[[], Lined]) -> None:
        self._broker = broker

    @property
    def orders(self) -> dict[int, Placed]:
        return {n: Placed(n, order) for n, order in enumerate(self._broker().taken, 1)}

    @property
    def open(self) -> list[Placed]:
        return [Placed(0, listed.order) for listed in self._broker().resting]

    @property
    def fills(self) -> list[Fill]:
        return self._broker().executions

    @property
    def positions(self) -> Mapping[str, Decimal]:
        return self._broker().held

    @property
    def cash(self) -> Decimal:
        return self._broker().cash


class LinedPeer(WiredPeer):
    """`faults` and `streams` are those of the line. Its market is what the engine sees."""

    def __init__(self) -> None:
        self.faults, self.streams = Faults(), Streams()
        self.venue = cast(Venue, LinedVenue(lambda: self._lined))
        super().__init__(self.another(), ACME, Decimal(1), time.time_ns())

    def another(self, *_: Instrument) -> Lined:
        self._lined = Lined(self.faults, self.streams)
        return self._lined

    def quote(self, bid: float, ask: float, units: int = 1000) -> None:
        pass

    async def start_server(self) -> None:
        self.faults.closing.clear()

    async def stop_server(self) -> None:
        self.faults.closing.set()


@asynccontextmanager
async def lined() -> AsyncGenerator[LinedPeer]:
    peer = LinedPeer()
    await peer.link.tried.wait()
    yield peer
    await peer.close()
    await peer.stop_server()


LINED = {"paper": lined}
