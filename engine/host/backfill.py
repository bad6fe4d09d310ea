"""Bars that were missed while the feed was away: fetched before the next one is seen."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from msgspec.structs import replace

from engine.core.events import BarClosed
from engine.core.model import Bar
from engine.core.text import clean
from engine.host.tasks import Tasks

FETCH_S = 5.0

log = logging.getLogger(__name__)


class Backfill:
    """Holds a symbol's bars back while the ones before them are fetched.

    `history` is the feed's, `admit` passes a bar on. Where the missing bars cannot be had, the next
    one goes on as `holed`: it is seen, and not decided on. `failed` is told of an error of our own.
    """

    def __init__(
        self,
        history: Callable[[str, int, int], Awaitable[list[Bar]]],
        admit: Callable[[BarClosed], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._history = history
        self._admit = admit
        self._last: dict[str, int] = {}
        self._held: dict[str, list[BarClosed]] = {}
        self._tasks = Tasks(failed)

    def holds(self, event: BarClosed) -> bool:
        """Whether `event` waits; then it is admitted later."""
        bar = event.bar
        held = self._held.get(bar.symbol)
        if held is not None:
            held.append(event)
            return True
        last = self._last.get(bar.symbol, 0)
        self._last[bar.symbol] = max(last, bar.ts)
        if not event.live or not last or bar.start <= last:
            return False
        self._held[bar.symbol] = [event]
        self._tasks.start(self._fill(bar, last))
        return True

    def hold(self, symbols: Iterable[str]) -> None:
        """Hold the bars of `symbols` back until each is released: their past comes first."""
        self._held.update((symbol, []) for symbol in symbols)

    def release(self, symbol: str, last: int = 0) -> None:
        """Its past is there, up to the bar that closed at `last` (ns UTC)."""
        self._last[symbol] = max(self._last.get(symbol, 0), last)
        for event in self._held.pop(symbol, ()):
            if not self.holds(event):
                self._admit(event)

    async def close(self) -> None:
        """What is held back stays so."""
        await self._tasks.close()

    async def _fill(self, bar: Bar, last: int) -> None:
        """Admit what is missing between `last` and `bar`, then what was held."""
        missing = (bar.start - last) // bar.interval + 1
        past: list[Bar] | None = None
        try:
            async with asyncio.timeout(FETCH_S):
                past = await self._history(bar.symbol, missing, bar.start)
        except Exception as error:
            log.error("no bars of %s before %d", clean(bar.symbol), bar.ts, exc_info=error)
        for old in past or ():
            if last < old.ts <= bar.start:
                self._admit(BarClosed(old, live=False, ts=old.ts))
        first, *later = self._held.pop(bar.symbol)
        self._admit(first if past is not None else replace(first, holed=True))
        for event in later:
            if not self.holds(event):
                self._admit(event)
