"""What listens to a source: to its stream alone, or to a feed of it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from engine.core.events import Event
from engine.feeds.live import Datum, LiveFeed, Source
from tests.loopback.faults import Streams

ENOUGH_S = 10.0


class Clock:
    """The computer's, set to where a test wants it."""

    def __init__(self) -> None:
        self.ahead = 0
        self._stands_at: int | None = None

    def __call__(self) -> int:
        return time.time_ns() + self.ahead if self._stands_at is None else self._stands_at

    def set(self, ts: int) -> None:
        self.ahead = ts - time.time_ns()
        self._stands_at = None

    def stop(self, ts: int) -> None:
        """Let it stand at `ts` until it is set again."""
        self._stands_at = ts


class Listener:
    """Collects what a stream sends; it has begun once it has joined the server's `streams`."""

    def __init__(self, source: Source, streams: Streams | None = None) -> None:
        self._stream = source.stream()
        self._streams = streams
        self._joined = streams.joined + 1 if streams else 0
        self.heard: list[Datum] = []

    async def until(self, count: int) -> list[Datum]:
        async with asyncio.timeout(ENOUGH_S):
            while len(self.heard) < count:
                self.heard += await anext(self._stream)
        return self.heard

    async def __aenter__(self) -> "Listener":
        async with asyncio.timeout(ENOUGH_S):
            assert not await anext(self._stream), "it listens, and nothing has come"
            if self._streams is not None:
                await self._streams.has_joined(self._joined)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stream.aclose()


class Heard:
    """What a feed of `sources` publishes."""

    def __init__(self, *sources: Source) -> None:
        self._events: list[Event] = []
        self._came = asyncio.Event()
        self._running = asyncio.create_task(LiveFeed(sources).run(self._publish))

    def _publish(self, event: Event) -> None:
        self._events.append(event)
        self._came.set()

    async def hears(
        self, kind: type[Event], count: int = 1, check: Callable[[Any], bool] = lambda _: True
    ) -> list[Any]:
        """The events of `kind` of which `check` holds, as soon as there are `count`."""
        async with asyncio.timeout(ENOUGH_S):
            while len(found := [e for e in self._events if type(e) is kind and check(e)]) < count:
                self._came.clear()
                await self._came.wait()
        return found

    async def close(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
