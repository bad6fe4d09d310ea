"""The past comes while quotes flow: nobody waits for it, and nothing is decided before it."""

import asyncio
from collections.abc import Collection
from pathlib import Path

from engine.core.events import BarClosed, FeedChanged, QuoteUpdate, ToggleStrategy
from engine.core.model import MINUTE, Bar, Quote
from engine.feeds.base import Feed, Played, Publish, Show
from engine.feeds.clock import SystemClock
from engine.feeds.synthetic import SyntheticFeed
from engine.host.runtime import Parts
from engine.ops.settings import Settings
from tests.session import Session, journals, replayed, zigzag

COUNTING = '''
from engine.core.model import Side
from engine.core.strategy import Strategy


class Counting(Strategy):
    """Signals at each bar, with how many closes it was shown."""

    def initialize(self):
        self.closes = []

    def required_history(self):
        return {required}

    def on_bar(self, bar, history):
        self.closes.append(bar.close)
        side = Side.BUY if len(self.closes) % 2 else Side.SELL
        return self.signal(side, bar, {{"first": self.closes[0], "shown": len(self.closes)}})


STRATEGY_NAME = "counting"
STRATEGY_CLASS = Counting
'''


class Slow(SyntheticFeed):
    """A venue whose past comes when the test says so; bar `n` closes at `n`, the last one of the
    past is 600."""

    name = "slow"

    def __init__(self) -> None:
        super().__init__(1, 1, 1)
        self.past_comes = asyncio.Event()
        self.past_ends, self.answers = asyncio.Event(), asyncio.Event()
        self.past_ends.set()
        self.answers.set()
        self.publish: Publish = lambda event: None
        self.first = SystemClock().now() // MINUTE * MINUTE - 601 * MINUTE

    def bar(self, number: int) -> Bar:
        price = float(number)
        return Bar("S000", self.first + number * MINUTE, price, price, price, price, 1e6)

    async def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        await self.answers.wait()
        last = min(600, (until - self.first) // MINUTE)
        return [self.bar(number) for number in range(max(1, last - count + 1), last + 1)]

    async def past(self, count: int, since: int, show: Show) -> None:
        await self.past_comes.wait()
        await show(await self.history("S000", count, self.first + 600 * MINUTE))
        await self.past_ends.wait()

    async def run(self, publish: Publish, ready: asyncio.Event | None = None) -> None:
        self.publish = publish
        publish(FeedChanged(self.name, "connected", ts=self.clock.now()))
        await asyncio.Event().wait()

    def quote(self, price: float) -> None:
        now = self.clock.now()
        self.publish(QuoteUpdate(Quote("S000", now, price, price + 1, 100.0, 100.0), ts=now))

    def close(self, number: int) -> None:
        bar = self.bar(number)
        self.publish(BarClosed(bar, ts=bar.ts))


def session_on(feed: Slow, folder: Path, required: int, on: bool) -> Session:
    async def make(settings: Settings, resume: Played | None, held: Collection[str]) -> Feed:
        return feed

    settings = zigzag(folder, strategies=("counting",) if on else ())
    (folder / "plugins" / "zigzag.py").unlink()
    (folder / "plugins" / "counting.py").write_text(COUNTING.format(required=required))
    return Session(settings, parts=Parts(feed=make))


async def test_quotes_flow_and_nothing_is_decided_until_the_past_is_there(tmp_path: Path) -> None:
    feed = Slow()
    session = session_on(feed, tmp_path, required=31, on=True)
    session.start()
    await session.until(lambda s: s.feed.status == "connected")
    feed.quote(700.0)
    snapshot = await session.until(lambda s: s.quotes[0].last == 700.5)
    assert snapshot.feed.awaited == 1
    feed.close(601)
    feed.past_comes.set()
    snapshot = await session.until(lambda s: s.signals)
    assert snapshot.feed.awaited == 0
    assert snapshot.signals[0].signal.indicators == {"first": 101.0, "shown": 501.0}
    assert snapshot.quotes[0].last == 601.0
    await session.stop()
    machine = session.runtime.machine
    assert replayed(session.settings, journals(session.settings)[0]).state_hash() == (
        machine.state_hash()
    )


async def test_a_gap_while_the_past_of_others_comes_is_filled_as_any(tmp_path: Path) -> None:
    feed = Slow()
    feed.past_comes.set()
    feed.past_ends.clear()
    session = session_on(feed, tmp_path, required=31, on=True)
    session.start()
    await session.until(lambda s: s.feed.status == "connected" and not s.feed.awaited)
    feed.answers.clear()
    for number in (601, 604):
        feed.close(number)
    feed.past_ends.set()
    feed.quote(700.0)
    await session.until(lambda s: s.quotes[0].last == 700.5)
    feed.answers.set()
    await session.until(lambda s: any(row.signal.indicators["shown"] == 502 for row in s.signals))
    await session.stop()


async def test_the_day_begins_once_the_past_of_what_is_held_is_there(tmp_path: Path) -> None:
    feed = Slow()
    feed.past_comes.set()
    session = session_on(feed, tmp_path, required=1, on=True)
    session.start()
    await session.until(lambda s: s.feed.status == "connected" and not s.feed.awaited)
    feed.quote(600.0)
    feed.close(601)
    await session.until(lambda s: any(order.state == "accepted" for order in s.orders))
    feed.quote(599.0)
    await session.until(lambda s: s.positions)
    await session.stop()
    later = Slow()
    again = session_on(later, tmp_path, required=1, on=True)
    again.start()
    waiting = await again.until(lambda s: s.feed.awaited)
    assert waiting.feed.status == "connecting"
    later.past_comes.set()
    await again.until(lambda s: s.feed.status == "connected" and not s.feed.awaited)
    await again.stop()


async def test_one_that_is_switched_on_later_is_shown_as_much_as_it_requires(
    tmp_path: Path,
) -> None:
    feed = Slow()
    feed.past_comes.set()
    session = session_on(feed, tmp_path, required=550, on=False)
    session.start()
    await session.until(lambda s: s.feed.status == "connected" and not s.feed.awaited)
    feed.close(601)
    session.runtime.command(ToggleStrategy(strategy="counting", enabled=True, author="me"))
    await session.until(lambda s: any(row.warm == 550 for row in s.strategies))
    feed.close(602)
    snapshot = await session.until(lambda s: s.signals)
    assert snapshot.signals[0].signal.indicators == {"first": 52.0, "shown": 551.0}
    await session.stop()
    again = replayed(session.settings, journals(session.settings)[0])
    assert again.state_hash() == session.runtime.machine.state_hash()
