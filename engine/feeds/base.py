"""What every source of market data can do."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from engine.core.events import Event
from engine.core.model import Bar, Instrument
from engine.feeds.clock import Clock

Publish = Callable[[Event], None]


class Feed(Protocol):
    """A source of market data, on the engine's loop."""

    @property
    def name(self) -> str: ...

    @property
    def recorded(self) -> bool:
        """Whether market time is not now."""
        ...

    @property
    def instruments(self) -> tuple[Instrument, ...]: ...

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last time (ns UTC) of its data; now, where it cannot be known."""
        ...

    @property
    def clock(self) -> Clock:
        """Market time."""
        ...

    def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        """The last `count` bars of `symbol` that are known at `until` (ns UTC), oldest first; fewer
        where there are not so many."""
        ...

    async def run(self, publish: Publish, ready: asyncio.Event | None = None) -> None:
        """Publish QuoteUpdate, BarClosed and FeedChanged in time order, until the data end or the
        task is cancelled.

        A recording publishes only while `ready` is set, which it is not while an intent or an order
        is under way: market time stands still meanwhile, so that what follows from an event does
        not depend on how fast the machine is. Nor is it set while the disk does not follow: what
        waits for it would be lost with the process.
        """
        ...

    def steer(self, action: str, speed: float) -> None:
        """Carry out a ControlFeed command. A feed whose market time is now has nothing to steer."""
        ...
