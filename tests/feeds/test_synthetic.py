"""Synthetic quotes: seeded, at the rate that was asked for, whatever the timing."""

import asyncio
from itertools import islice, pairwise

import pytest

from engine.core.events import BarClosed, Event, FeedChanged, QuoteUpdate
from engine.core.model import NANOS, Bar, Quote
from engine.feeds.base import Feed
from engine.feeds.synthetic import SyntheticFeed, quotes, symbol_names
from tests.feeds.conftest import VirtualTime

SECOND = NANOS
EPOCH = 1_700_000_000 * NANOS + NANOS // 4


class LoopClock:
    """Now, in virtual time."""

    speed = 1.0

    def __init__(self, virtual: VirtualTime) -> None:
        self._loop = virtual.loop

    def now(self) -> int:
        return EPOCH + self._loop.nanoseconds()


def record(
    virtual: VirtualTime, feed: SyntheticFeed, seconds: float, cost: float = 0.0
) -> list[Event]:
    """What `feed` publishes in `seconds`, where each event takes `cost` seconds to handle."""
    events: list[Event] = []

    def publish(event: Event) -> None:
        events.append(event)
        if cost:
            virtual.loop.spend(cost)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await feed.run(publish)

    virtual.run(main())
    return events


def quotes_in(events: list[Event]) -> list[Quote]:
    return [event.quote for event in events if isinstance(event, QuoteUpdate)]


def bars_in(events: list[Event]) -> list[Bar]:
    return [event.bar for event in events if isinstance(event, BarClosed)]


def prices(values: list[Quote]) -> list[tuple[str, float, float]]:
    return [(quote.symbol, quote.bid, quote.ask) for quote in values]


def test_the_same_seed_gives_the_same_quotes() -> None:
    symbols = symbol_names(7)
    first = list(islice(quotes(1, symbols), 5000))
    assert first == list(islice(quotes(1, symbols), 5000))
    assert prices(first) != prices(list(islice(quotes(2, symbols), 5000)))


def test_quotes_are_sound_on_the_tick_and_move() -> None:
    values = list(islice(quotes(3, symbol_names(2)), 20_000))
    assert all(quote.is_sound for quote in values)
    assert all(round(q.bid, 2) == q.bid and round(q.ask, 2) == q.ask for q in values)
    assert len({quote.bid for quote in values}) > 50
    assert {quote.symbol for quote in values} == {"S000", "S001"}


def test_a_synthetic_feed_is_a_feed_of_now(virtual: VirtualTime) -> None:
    feed: Feed = SyntheticFeed(3, 10, 0, clock=LoopClock(virtual))
    assert not feed.recorded
    assert [instrument.symbol for instrument in feed.instruments] == ["S000", "S001", "S002"]
    feed.steer("pause", 0)
    assert feed.clock.now() == EPOCH
    virtual.loop.close()


@pytest.mark.parametrize("rate", [1, 3, 1000, 9999])
def test_the_rate_holds_without_drift(virtual: VirtualTime, rate: int) -> None:
    events = record(virtual, SyntheticFeed(50, rate, 1, clock=LoopClock(virtual)), 20.0)
    values = quotes_in(events)
    # The last batch may be up to 5 ms old.
    assert rate * 20 * (1 - 0.0005) - 1 <= len(values) <= rate * 20
    assert [quote.ts - EPOCH for quote in values] == [
        number * SECOND // rate for number in range(1, len(values) + 1)
    ]


def test_prices_do_not_depend_on_timing(virtual: VirtualTime) -> None:
    feed = SyntheticFeed(10, 1000, 5, clock=LoopClock(virtual))
    values = quotes_in(record(virtual, feed, 5.0, cost=0.0007))
    assert len(values) > 3000
    assert prices(values) == prices(list(islice(quotes(5, symbol_names(10)), len(values))))


def test_time_never_runs_backwards(virtual: VirtualTime) -> None:
    feed = SyntheticFeed(10, 1000, 5, interval=SECOND, clock=LoopClock(virtual))
    events = record(virtual, feed, 10.0, cost=0.002)
    assert all(a.ts <= b.ts for a, b in pairwise(events))


def test_a_rate_that_cannot_be_kept_is_said(virtual: VirtualTime) -> None:
    feed = SyntheticFeed(10, 1000, 5, clock=LoopClock(virtual))
    events = record(virtual, feed, 10.0, cost=0.002)
    said = [event for event in events if isinstance(event, FeedChanged)]
    assert [event.status for event in said] == ["connected"] * len(said)
    assert said[0].reason == ""
    assert "1000 quotes/s were too many" in said[1].reason
    # It goes on from now: never more than about a second behind.
    assert all(event.ts >= EPOCH for event in said)
    assert max(wall_lag(events)) <= 3.2 * SECOND


def test_a_slow_rate_is_not_taken_for_a_late_one(virtual: VirtualTime) -> None:
    feed = SyntheticFeed(3, 1, 5, clock=LoopClock(virtual))
    events = record(virtual, feed, 10.5, cost=0.001)
    assert len(quotes_in(events)) == 10
    assert [event.reason for event in events if isinstance(event, FeedChanged)] == [""]


def wall_lag(events: list[Event]) -> list[int]:
    """How far each quote's time lies behind the wall, at 2 ms an event."""
    return [
        EPOCH + number * 2_000_000 - event.ts
        for number, event in enumerate(events)
        if isinstance(event, QuoteUpdate)
    ]


def test_others_run_between_the_quotes_and_the_bars_of_a_burst(virtual: VirtualTime) -> None:
    feed = SyntheticFeed(200, 1_000_000, 5, interval=SECOND // 100, clock=LoopClock(virtual))
    turns: list[int] = []
    events: list[Event] = []

    async def other() -> None:
        while True:
            turns.append(len(events))
            virtual.loop.spend(0.00001)
            await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.create_task(other())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await feed.run(events.append)
        task.cancel()

    virtual.run(main())
    assert len(events) > 5000
    assert sum(isinstance(event, BarClosed) for event in events) > 200
    assert max(b - a for a, b in pairwise(turns)) <= 51


def test_bars_are_formed_of_the_mids(virtual: VirtualTime) -> None:
    feed = SyntheticFeed(4, 500, 9, interval=SECOND, clock=LoopClock(virtual))
    events = record(virtual, feed, 5.0)
    mids: dict[tuple[str, int], list[float]] = {}
    for quote in quotes_in(events):
        end = (quote.ts // SECOND + 1) * SECOND
        mids.setdefault((quote.symbol, end), []).append((quote.bid + quote.ask) / 2)
    bars = bars_in(events)
    assert len(bars) == 4 * 5
    for bar in bars:
        formed = mids[bar.symbol, bar.ts]
        assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (
            formed[0], max(formed), min(formed), formed[-1], 100.0 * len(formed),
        )  # fmt: skip
        assert bar.is_sound
        assert bar.interval == SECOND


def test_history_leads_up_to_the_first_quotes(virtual: VirtualTime) -> None:
    clock = LoopClock(virtual)
    feed = SyntheticFeed(3, 300, 4, interval=SECOND, clock=clock)
    now = clock.now()
    history = {s: asyncio.run(feed.history(s, 200, now)) for s in symbol_names(3)}
    again = SyntheticFeed(3, 300, 4, interval=SECOND, clock=clock)
    assert asyncio.run(again.history("S001", 200, now)) == history["S001"]
    # A shorter history is the end of a longer one.
    assert asyncio.run(again.history("S001", 50, now)) == history["S001"][-50:]
    events = record(virtual, feed, 2.5)
    for symbol, bars in history.items():
        assert len(bars) == 200
        assert bars[-1].ts == EPOCH // SECOND * SECOND
        assert all(bar.is_sound for bar in bars)
        assert all(a.ts == b.start and a.close == b.open for a, b in pairwise(bars))
        first = next(bar for bar in bars_in(events) if bar.symbol == symbol)
        assert first.start == bars[-1].ts
        assert first.open == pytest.approx(bars[-1].close, abs=0.05)
