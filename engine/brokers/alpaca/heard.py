"""What a stream of Alpaca says, and whether it is there."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from engine.brokers.base import NotSent
from engine.core.events import BrokerChanged

KEPT = 10_000
"""Updates that wait to be heard; then the stream is not read until there is room."""

Said = BrokerChanged | NotSent | dict[str, Any]
"""An update as it came, empty where nothing was said; that the stream is gone or back; why the
account may not be traded."""


class Heard:
    """`said` has all that a stream says, and that it was lost and is back, in their order. The
    stream itself is a task, which connects again by itself."""

    def __init__(self, name: str) -> None:
        self.said: asyncio.Queue[Said] = asyncio.Queue(KEPT)
        self._name = name
        self._is_there = asyncio.Event()
        self._was_lost = False
        self._task: asyncio.Task[None] | None = None

    async def open(self, stream: Coroutine[Any, Any, None]) -> None:
        """Until `stream` is there; it goes on to try where it cannot connect."""
        self._task = asyncio.create_task(stream)
        await self._is_there.wait()

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def next(self, within_s: float | None = None) -> Said | None:
        """The next thing said, {} where nothing is within so long; None once the stream has ended
        for good."""
        if self._task is None:
            return None
        heard = asyncio.ensure_future(self.said.get())
        try:
            waited = {heard, self._task}
            await asyncio.wait(waited, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if heard.done():
                return heard.result()
            return None if self._task.done() else {}
        finally:
            heard.cancel()

    async def there(self) -> None:
        self._is_there.set()
        if self._was_lost:
            await self.said.put(BrokerChanged(self._name, True))

    async def lost(self) -> None:
        if self._is_there.is_set():
            self._is_there.clear()
            self._was_lost = True
            await self.said.put(BrokerChanged(self._name, False, "its stream is lost"))
