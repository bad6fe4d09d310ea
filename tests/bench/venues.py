"""Simulated brokers that note when they are asked for a cancel, and can go deaf."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping

from msgspec.structs import replace

from engine.brokers.base import BaseBroker
from engine.brokers.paper import PaperBroker
from engine.build import exchange_rules, make_feed
from engine.core.events import CancelRejected, ExecutionReport, Restored
from engine.core.model import Order
from engine.core.sessions import Calendars
from engine.feeds.base import Feed, Played
from engine.feeds.synthetic import SyntheticFeed
from engine.host.runtime import Parts
from engine.ops.settings import Settings

LISTEN_AGAIN_S = 0.02


class Venue(PaperBroker):
    """`cancels` are the times (perf_counter seconds) at which it was asked. While it is `deaf` it
    takes cancels and questions, and answers none."""

    cancels: list[float]
    deaf = False

    async def cancel_order(self, order: Order) -> ExecutionReport | CancelRejected:
        self.cancels.append(time.perf_counter())
        await self._hear()
        return await super().cancel_order(order)

    async def get_order(self, order: Order) -> ExecutionReport | None:
        await self._hear()
        return await super().get_order(order)

    async def _hear(self) -> None:
        while self.deaf:  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(LISTEN_AGAIN_S)


class Venues:
    """The brokers `names`; the symbols are dealt out among them in turn."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.at: dict[str, Venue] = {}
        self.parts = Parts(feed=self._feed, brokers=self._brokers)

    async def _feed(self, settings: Settings, resume: Played | None, held: Collection[str]) -> Feed:
        feed = await make_feed(settings, resume, held)
        assert isinstance(feed, SyntheticFeed)
        names = self.names
        feed.instruments = tuple(
            replace(instrument, venue=names[number % len(names)])
            for number, instrument in enumerate(feed.instruments)
        )
        return feed

    def _brokers(
        self,
        settings: Settings,
        feed: Feed,
        restored: Restored,
        calendars: Calendars,
        now: Callable[[], int],
    ) -> Mapping[str, BaseBroker]:
        for name in self.names:
            venue = Venue(feed.instruments, exchange_rules(settings), calendars, now)
            venue.name, venue.cancels = name, []
            venue.restore(restored)
            self.at[name] = venue
        return self.at
