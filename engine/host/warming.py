"""The past, shown to the strategies that are on: at the start, and to one that is switched on."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from engine.core.events import BarClosed, Event, HistoryLoaded, QuoteUpdate
from engine.core.machine import Machine
from engine.core.model import Bar, Quote
from engine.core.strategy import Slot
from engine.core.text import clean
from engine.feeds.base import Feed
from engine.host.backfill import Backfill
from engine.host.requests import InFlight
from engine.host.tasks import Tasks
from engine.ops.backoff import FIRST_PAUSE_S
from engine.ops.errors import InDoubt, NotSent, RateLimited

AT_A_TIME = 200
"""Bars of the past that are shown without a pause: a kill waits for no more."""
HELD_S = 5.0
"""The longest that data wait for the past of what is held."""
PATIENCE_S = 60.0
"""The longest limit of requests that is waited for."""

log = logging.getLogger(__name__)


class WarmUp:
    """Shows the past; `publish` takes the inputs, `backfill` holds back what comes after it.

    After a restart it is the bars that the account's first session was shown, and all since: so
    every strategy that is on is as it was, to the last bit of an average that never forgets.
    """

    def __init__(
        self,
        machine: Machine,
        feed: Feed,
        backfill: Backfill,
        in_flight: InFlight,
        publish: Callable[[Event], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._machine = machine
        self._feed = feed
        self._backfill = backfill
        self._in_flight = in_flight
        self._publish = publish
        self._tasks = Tasks(failed)
        self._begun = False
        self._awaited: dict[str, None] = {}
        self._withheld: dict[str, None] = {}
        self._all_there = asyncio.Event()
        self._news = asyncio.Event()

    @property
    def awaited(self) -> int:
        """Of how many symbols the past is not there yet."""
        return len(self._awaited)

    async def show_recorded(self, since: int) -> None:
        """All that a recording has from before its start, in the order in which it came."""
        self._begun = True
        await self._feed.past(self._count, since, self._show_in_order)

    def start(self, since: int) -> None:
        """Symbol by symbol, while quotes flow. Bars of a symbol are held back until its past is
        there, and those of all where a strategy decides for all symbols at once."""
        self._begun = True
        self._awaited = dict.fromkeys(self._machine.market.symbols)
        self._withheld = dict.fromkeys(self._awaited)
        self._backfill.hold(self._withheld)
        self._tasks.start(self._show_each(since))

    async def of_what_is_held(self) -> None:
        """Until it is there, `HELD_S` at most: the trading day begins with prices of now, and what
        they changed since the last session is no gain or loss of it."""
        positions = self._machine.portfolio.positions.values()
        held = {position.symbol for position in positions if position.quantity}
        with suppress(TimeoutError):
            async with asyncio.timeout(HELD_S):
                while not held.isdisjoint(self._awaited):
                    self._news.clear()
                    await self._news.wait()

    def switched_on(self, strategy: str) -> None:
        """Show a strategy what it lacks of the past."""
        if self._begun:
            self._tasks.start(self._show_to(strategy))

    async def close(self) -> None:
        await self._tasks.close()

    async def _show_each(self, since: int) -> None:
        try:
            await self._feed.past(self._count, since, self._show_symbol)
        finally:
            for symbol in tuple(self._withheld):
                self._let_go(symbol)
            self._all_there.set()

    @property
    def _count(self) -> int:
        runs = self._machine.runner.runs.values()
        required = (run.required for run in runs if run.enabled)
        return max(self._machine.config.history, *required, 0)

    async def _show_in_order(self, values: Sequence[Bar | Quote]) -> None:
        for number, value in enumerate(values):
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)
            if isinstance(value, Bar):
                self._publish(BarClosed(value, live=False, ts=value.ts))
            else:
                self._publish(QuoteUpdate(value, live=False, ts=value.ts))

    async def _show_symbol(self, values: Sequence[Bar | Quote]) -> None:
        bars = tuple(value for value in values if isinstance(value, Bar))
        if not bars:
            return
        symbol = bars[-1].symbol
        for first in range(0, len(bars), AT_A_TIME):
            self._publish(self._loaded(symbol, bars[first : first + AT_A_TIME]))
            await asyncio.sleep(0)
        self._is_there(symbol)
        runs = self._machine.runner.runs.values()
        if not any(run.enabled and run.kind.decides_for_all for run in runs):
            self._let_go(symbol)

    def _is_there(self, symbol: str) -> None:
        self._awaited.pop(symbol, None)
        self._news.set()

    def _let_go(self, symbol: str) -> None:
        self._is_there(symbol)
        del self._withheld[symbol]  # once: a gap since then holds its bars back, too
        bars = self._machine.market.symbols[symbol].bars
        self._backfill.release(symbol, bars[-1].ts if bars else 0)

    async def _show_to(self, strategy: str) -> None:
        run = self._machine.runner.runs[strategy]
        if self._feed.recorded:  # its time stands still meanwhile
            self._in_flight.begin()
        try:
            for slot in run.slots.values():
                if slot.symbol in self._awaited:
                    await self._all_there.wait()
                if run.enabled and slot.seen < max(run.required, 1):
                    older = await self._older(slot, run.required)
                    self._publish(self._loaded(slot.symbol, older, strategy))
                    await asyncio.sleep(0)
        finally:
            if self._feed.recorded:
                self._in_flight.end()

    async def _older(self, slot: Slot, required: int) -> tuple[Bar, ...]:
        """What a strategy needs besides the bars that are kept; nothing where there is no answer:
        it warms up as bars come."""
        kept = self._machine.market.symbols[slot.symbol].bars
        missing = required - len(kept)
        if missing <= 0:
            return ()
        until = kept[0].start if kept else self._feed.clock.now()
        while True:
            try:
                return tuple(await self._feed.history(slot.symbol, missing, until))
            except RateLimited as error:
                if error.wait_s > PATIENCE_S:
                    return ()
                await asyncio.sleep(max(error.wait_s, FIRST_PAUSE_S))
            except (NotSent, InDoubt) as error:
                log.warning("no bars of %s: %s", clean(slot.symbol), clean(str(error)))
                return ()

    def _loaded(self, symbol: str, bars: tuple[Bar, ...], strategy: str = "") -> HistoryLoaded:
        return HistoryLoaded(symbol, bars, strategy, ts=self._machine.bus.now)
