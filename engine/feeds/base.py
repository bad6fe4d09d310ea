"""What every source of market data can do."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from engine.core.events import Event
from engine.core.model import Bar, Instrument, Quote
from engine.feeds.clock import Clock

Publish = Callable[[Event], None]
Show = Callable[[Sequence[Bar | Quote]], Awaitable[None]]

MOST_PAST = 20_000
"""Bars of a minute: two weeks of a market that never closes."""


class Played(NamedTuple):
    """How far a recording was played: up to the time `ts` (ns UTC), and of what it has at that time
    the first `events`. None is what was known at it: all but the quotes that open then."""

    ts: int
    events: int | None = None


class Feed(Protocol):
    """A source of market data, on the engine's loop."""

    @property
    def name(self) -> str: ...

    @property
    def recorded(self) -> bool:
        """Whether market time is not now."""
        ...

    @property
    def conflated(self) -> int:
        """Quotes that were left out while it was behind, for a newer one of their symbol."""
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

    async def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        """The last `count` bars of `symbol` that are known at `until` (ns UTC), oldest first; fewer
        where there are not so many."""
        ...

    @property
    def played(self) -> Played | None:
        """Where a recording goes on after a restart. None where it has nothing left to play, and
        where market time is now."""
        ...

    async def past(self, count: int, since: int, show: Show) -> None:
        """Show what was known at the start: of each symbol the bars that closed after `since` (ns
        UTC) and `count` before them, and of a recording the last quote.

        A recording shows all at once, in the order in which it came; another feed the bars of one
        symbol after the other, as the venue answers, and none of a symbol that it has none of. No
        more than `MOST_PAST` bars of a symbol: what is older weighs nothing any more.
        """
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

    def steer(self, action: str, speed: float, author: str = "") -> None:
        """Carry out a ControlFeed command of `author`, and say by whom it was steered. A feed whose
        market time is now has nothing to steer."""
        ...
