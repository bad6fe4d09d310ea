"""A day of the console at ten times the market's speed: memory that stays flat.

The real console draws a frame for each second of its day, as fast as it can; ten seconds of the
market have passed in each. All quotes are new then, orders, signals and lines of the log come and
go. Meanwhile it goes from screen to screen, opens and closes dialogs, filters and sorts.
"""

import asyncio
import gc
from collections.abc import Iterator
from itertools import cycle

from msgspec.structs import replace

from engine.core.model import NANOS, OrderState, Side
from engine.view.snapshot import LogLine, Snapshot
from tests.bench.measure import Figure
from tests.bench.soak import growth, memory
from tests.tui import scripted
from tests.tui.scripted import Desk, desk
from tui.app import TOAST_S
from tui.commands import SCREENS
from tui.themes import THEMES

SPEED = 10
KEPT = 200
"""Orders, signals and lines of the log that a snapshot has."""
STEP = 20
"""Frames between two things that the operator does."""

ROUND = (
    *(place.key for place in SCREENS.values()),
    *("1", "question_mark", "escape", "K", "escape", "q", "escape", "m", "escape"),
    *("slash", "A", "enter", "escape", "greater_than_sign", "r", "ctrl+p", "escape"),
    *("2", "enter", "escape", "w", "escape", "slash", "S", "P", "escape", "6", "z", "z", "T"),
)
"""It ends with the next theme."""

CYCLE = len(THEMES) * len(ROUND) * STEP
"""Frames until all is as it was: what a theme has drawn and kept differs by a tenth from another's.
What is compared is therefore that many frames, or a multiple of them, apart."""
FRAMES, WARM_UP = -(-24 * 3600 // CYCLE) * CYCLE, 5 * CYCLE
"""A warm-up of five and a half hours: until then the caches of Textual and rich fill, which are
bounded; a layout's has sixteen entries in each widget, one of them for each time it is opened."""


def measure() -> Iterator[Figure]:
    (before, known), (end, left) = asyncio.run(drive())
    days = (FRAMES - WARM_UP) / (24 * 3600)
    note = f"{FRAMES:,} frames, {FRAMES // STEP:,} keys, "
    yield growth("memory of the console in a day", (before, end), days, "% a day", note)
    yield Figure("objects more at its end", left - known, "", "after warm-up", known)


async def drive() -> tuple[tuple[float, int], tuple[float, int]]:
    """Resident bytes and objects, after the warm-up and at the end. Python takes a mebibyte at a
    time, and what was once needed at most stays resident: the bytes are that peak, by steps."""
    keys = cycle(ROUND)
    async with desk(scripted.paper()) as it:
        for frame in range(WARM_UP):
            await one_frame(it, frame, keys)
        before = counted()
        for frame in range(WARM_UP, FRAMES):
            await one_frame(it, frame, keys)
        return before, counted()


def counted() -> tuple[float, int]:
    gc.collect()
    return memory(), len(gc.get_objects())


async def one_frame(it: Desk, frame: int, keys: Iterator[str]) -> None:
    assert it.client.snapshot is not None
    it.client.asked.clear()
    it.client.snapshot = following(it.client.snapshot, frame)
    it.clock.now += 1
    it.app.tick()
    if frame % int(TOAST_S) == 0:
        it.app.clear_notifications()  # they end by a clock of their own, which is not the day's
    if frame % STEP:
        await asyncio.sleep(0)
    else:
        await it.pilot.press(next(keys))


def following(last: Snapshot, frame: int) -> Snapshot:
    """The snapshot ten seconds later."""
    ts = last.ts + SPEED * NANOS
    move = 1 + (frame % 7 - 3) / 1000
    quotes = tuple(
        replace(
            row,
            quote=replace(row.quote, ts=ts, bid=row.quote.bid * move, ask=row.quote.ask * move),
            last=row.last * move,
            ts=ts,
        )
        for row in scripted.QUOTES
        if row.quote is not None and row.last is not None
    )
    side = Side.BUY if frame % 2 else Side.SELL
    order = scripted.order(frame, "AAPL", side, "29", OrderState.FILLED, "169.98", filled="29")
    line = LogLine(frame + 100, ts, "info", f"filled: {side} 29 AAPL, order {frame}")
    signal = scripted.signal(frame, "AAPL", side, 170.0, "order", "")
    return replace(
        last,
        seq=last.seq + 1,
        ts=ts,
        wall_ts=ts,
        quotes=quotes,
        orders=(*last.orders, order)[-KEPT:],
        signals=(*last.signals, signal)[-KEPT:],
        log=(*last.log, line)[-KEPT:],
    )
