"""What an engine at a loopback venue is given: a market that both see, and a broker."""

import asyncio
import time
from collections.abc import Mapping

from msgspec.structs import replace

from engine.brokers.base import BaseBroker
from engine.core.events import BarClosed, QuoteUpdate, Restored
from engine.core.model import MINUTE, Bar, Instrument, Quote
from engine.feeds.base import Feed, Publish, Show
from engine.feeds.clock import SystemClock
from engine.host.runtime import Parts
from engine.host.watchdog import Unwatched
from engine.ops.settings import Settings
from tests.brokers.contract import WiredPeer


class PeerMarket:
    """The instrument of `peer`, and `others` beside it, without a past; a Feed whose `run` says how
    they move.

    Its bars began `span` (ns) before now: none comes from the future."""

    name = "told"
    recorded = False
    conflated = 0
    played = None

    def __init__(self, peer: WiredPeer, span: int, *others: Instrument) -> None:
        self.peer = peer
        instruments = (peer.instrument, *others)
        self.instruments = tuple(replace(i, venue=peer.broker.name) for i in instruments)
        self.traded = self.instruments[0]
        self.clock = SystemClock(time.time_ns, time.monotonic_ns)
        first = self.clock.now() // MINUTE * MINUTE - span
        self._bar_ts = {instrument.symbol: first for instrument in self.instruments}

    @property
    def span(self) -> tuple[int, int]:
        now = self.clock.now()
        return now, now

    async def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        return []

    async def past(self, count: int, since: int, show: Show) -> None:
        pass

    def steer(self, action: str, speed: float, author: str = "") -> None:
        pass

    async def run(self, publish: Publish, ready: asyncio.Event | None = None) -> None:
        raise NotImplementedError

    def tell_quote(
        self, publish: Publish, bid: float, ask: float, units: int, other: Instrument | None = None
    ) -> None:
        """To the venue, and to the engine; of the instrument, or of another one."""
        size, now = float(units * self.peer.unit), self.clock.now()
        if other is None:
            self.peer.quote(bid, ask, units)
        else:
            self.peer.venue.quote(self.peer.name_of(other), bid, ask, size)
        symbol = (other or self.traded).symbol
        publish(QuoteUpdate(Quote(symbol, now, bid, ask, size, size), ts=now))

    def tell_bar(
        self, publish: Publish, opened: float, closed: float, other: Instrument | None = None
    ) -> None:
        """The next minute, to the engine alone."""
        symbol = (other or self.traded).symbol
        self._bar_ts[symbol] += MINUTE
        low, high = sorted((opened, closed))
        bar = Bar(symbol, self._bar_ts[symbol], opened, high, low, closed, 100_000.0)
        publish(BarClosed(bar, ts=self.clock.now()))


def parts_at(market: PeerMarket) -> Parts:
    """An engine's, with a broker of its own."""

    async def feed(*_: object) -> Feed:
        return market

    def brokers(
        _settings: Settings, _feed: Feed, restored: Restored, *_: object
    ) -> Mapping[str, BaseBroker]:
        traded = (market.peer.instrument, *market.instruments[1:])
        broker = market.peer.another(*(traded if len(traded) > 1 else ()))
        broker.restore(restored)
        return {market.traded.venue: broker}

    return Parts(feed=feed, brokers=brokers, watchdog=Unwatched, wall=time.time_ns)
