"""A hole in the bars of a live feed: filled before the next bar is decided on, or said so."""

import asyncio
import sys
import threading
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from engine.core.events import BarClosed, FeedChanged
from engine.core.model import MINUTE, Bar
from engine.feeds.base import Feed, Played, Publish, Show
from engine.feeds.clock import SystemClock
from engine.feeds.synthetic import SyntheticFeed
from engine.host.runtime import Parts
from engine.ops.settings import Settings
from tests.session import Session, journals, replayed, zigzag

SEEN = '''
from engine.core.model import Side
from engine.core.strategy import Strategy

SEEN = []


class Watching(Strategy):
    """Buys at odd prices, sells at even ones; remembers which it saw, and whether as live."""

    def on_bar(self, bar, history):
        SEEN.append((bar.close, self.live))
        return self.signal(Side.BUY if bar.close % 2 else Side.SELL, bar, {})


STRATEGY_NAME = "watching"
STRATEGY_CLASS = Watching
'''

History = Callable[[str, int, int], list[Bar]]


class Live(SyntheticFeed):
    """A feed whose bars the test publishes, and whose history it answers."""

    name = "live"

    def __init__(self, history: History) -> None:
        super().__init__(1, 1, 1)
        self._answer = history
        self.publish: Publish = lambda event: None
        self.started = asyncio.Event()

    async def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        return await asyncio.to_thread(self._answer, symbol, count, until)

    async def past(self, count: int, since: int, show: Show) -> None:
        """None: the first bar that is published is the first of all."""

    async def run(self, publish: Publish, ready: asyncio.Event | None = None) -> None:
        publish(FeedChanged(self.name, "connected", ts=self.clock.now()))
        self.publish = publish
        self.started.set()
        await asyncio.Event().wait()


class Script:
    """A session on a `Live` feed; bar `n` closes at `100 + n`, `n` minutes after the first."""

    def __init__(self, folder: Path, history: Callable[["Script", int], list[Bar]]) -> None:
        settings = zigzag(folder, strategies=("watching",))
        (folder / "plugins" / "zigzag.py").unlink()
        (folder / "plugins" / "watching.py").write_text(SEEN)
        self.feed: Live | None = None
        self._history = history
        self.session = Session(settings, parts=Parts(feed=self._make))
        self.first = SystemClock().now() // MINUTE * MINUTE - 600 * MINUTE

    async def _make(self, settings: Settings, resume: Played | None, held: Collection[str]) -> Feed:
        self.feed = Live(lambda symbol, count, until: self._history(self, until))
        return self.feed

    async def __aenter__(self) -> "Script":
        self.session.start()
        await self.session.until(lambda s: s.feed.status == "connected")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.stop()

    def bar(self, number: int) -> Bar:
        price = 100.0 + number
        return Bar("S000", self.first + number * MINUTE, price, price, price, price, 1e6)

    def close(self, *numbers: int) -> None:
        assert self.feed is not None
        for number in numbers:
            bar = self.bar(number)
            self.feed.publish(BarClosed(bar, ts=bar.ts))

    async def seen(self, count: int) -> list[tuple[int, bool]]:
        """What the strategy saw, once it saw so many bars: their numbers, and whether as live."""
        slot = self.session.runtime.machine.runner.runs["watching"].slots["S000"]
        await self.session.until(lambda _: slot.seen >= count)
        module = sys.modules["plugin_watching"]
        return [(int(close - 100), live) for close, live in module.SEEN]


async def test_a_hole_is_filled_before_the_next_bar_is_seen(tmp_path: Path) -> None:
    def history(script: Script, until: int) -> list[Bar]:
        return [bar for n in range(20) if (bar := script.bar(n)).ts <= until]

    async with Script(tmp_path, history) as script:
        script.close(1, 2, 6, 7)
        seen = await script.seen(7)
    assert seen == [(1, True), (2, True), (3, False), (4, False), (5, False), (6, True), (7, True)]


async def test_a_bar_after_a_hole_that_cannot_be_filled_is_not_decided_on(tmp_path: Path) -> None:
    def history(script: Script, until: int) -> list[Bar]:
        raise OSError("503")

    async with Script(tmp_path, history) as script:
        script.close(1)
        await script.seen(1)
        script.close(4, 5, 6)
        seen = await script.seen(4)
        snapshot = await script.session.until(lambda s: s.quotes[0].ts >= script.bar(6).ts)
    assert seen == [(1, True), (4, False), (5, True), (6, True)]
    decided = [int(row.signal.price - 100) for row in snapshot.signals]
    assert decided == [1, 6]


async def test_minutes_in_which_nothing_was_traded_are_no_hole(tmp_path: Path) -> None:
    async with Script(tmp_path, lambda script, until: []) as script:
        script.close(1, 4)
        seen = await script.seen(2)
    assert seen == [(1, True), (4, True)]


async def test_a_session_with_a_hole_replays_to_the_same_state(tmp_path: Path) -> None:
    def history(script: Script, until: int) -> list[Bar]:
        return [script.bar(2)]

    async with Script(tmp_path, history) as script:
        script.close(1, 3)
        await script.seen(3)
    settings = script.session.settings
    again = replayed(settings, journals(settings)[0])
    assert again.state_hash() == script.session.runtime.machine.state_hash()


async def test_a_fill_of_a_hole_that_is_cancelled_ends_the_engine(tmp_path: Path) -> None:
    asked, answer = threading.Event(), threading.Event()

    def history(script: Script, until: int) -> list[Bar]:
        asked.set()
        answer.wait()
        return []

    script = Script(tmp_path, history)
    await script.__aenter__()
    before = asyncio.all_tasks()
    script.close(1, 4)
    (filling,) = asyncio.all_tasks() - before
    await asyncio.to_thread(asked.wait)
    filling.cancel()
    try:
        with pytest.raises(RuntimeError, match="was cancelled"):
            await script.session.until(lambda _: False)
    finally:
        answer.set()


async def test_a_hole_that_is_being_filled_at_a_stop_stays_a_hole(tmp_path: Path) -> None:
    asked, answer = threading.Event(), threading.Event()

    def history(script: Script, until: int) -> list[Bar]:
        asked.set()
        answer.wait()
        return []

    async with Script(tmp_path, history) as script:
        script.close(1, 4)
        await asyncio.to_thread(asked.wait)
    answer.set()
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
    assert script.session.runtime.machine.runner.runs["watching"].slots["S000"].seen == 1
