"""A live feed: the stream first, the REST interface while it is away, and the stream again."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from engine.brokers.base import NotConnected, RateLimited
from engine.core.events import BarClosed, Event, FeedChanged, HaltChanged, QuoteUpdate
from engine.core.model import MINUTE, NANOS, AssetClass, Bar, Instrument, Quote
from engine.core.text import clean
from engine.feeds.live import ASK_AFTER, POLL_S, Datum, LiveFeed
from engine.ops.backoff import LONGEST_PAUSE_S
from tests.feeds.conftest import VirtualTime

Step = Sequence[Datum] | BaseException | float
"""What a stream does next: send, break, or wait so many seconds."""


class Scripted:
    """A venue whose stream does what `script` says each time that it is opened, and then goes on
    for ever; `opened` and `asked` are the loop times at which that happened."""

    def __init__(self, name: str, *script: Sequence[Step]) -> None:
        self.name = name
        symbol = name.upper()
        self.instruments: tuple[Instrument, ...] = (
            Instrument(symbol, AssetClass.STOCK, Decimal("0.01"), Decimal(1)),
        )
        self.script = list(script)
        self.opened: list[float] = []
        self.asked: list[float] = []
        self.answer: Callable[[], Sequence[Quote]] = tuple
        self.closed = False
        self.refusals: list[Exception] = []
        self.looked_up: list[float] = []

    async def stream(self) -> AsyncGenerator[Sequence[Datum], None]:
        self.opened.append(asyncio.get_running_loop().time())
        for step in self.script.pop(0) if self.script else ((),):
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, int | float):
                await asyncio.sleep(step)
            else:
                yield step
        if not self.script:
            await asyncio.Event().wait()

    async def quotes(self) -> Sequence[Quote]:
        self.asked.append(asyncio.get_running_loop().time())
        return self.answer()

    async def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        self.looked_up.append(asyncio.get_running_loop().time())
        if self.refusals:
            raise self.refusals.pop(0)
        return [bar(symbol, until // NANOS)] * count

    async def bars(
        self, symbol: str, interval: int, start: int, end: int
    ) -> AsyncGenerator[Sequence[Bar], None]:
        yield ()

    async def close(self) -> None:
        self.closed = True


def quote(symbol: str, second: float, bid: float = 10.0) -> Quote:
    return Quote(symbol, int(second * NANOS), bid, bid + 0.01, 1.0, 1.0)


def bar(symbol: str, second: int) -> Bar:
    return Bar(symbol, second * NANOS, 10.0, 10.0, 10.0, 10.0, 1.0)


class Heard:
    """What a feed of `sources` publishes within some seconds."""

    def __init__(self, virtual: VirtualTime, *sources: Scripted) -> None:
        self.events: list[tuple[float, Event]] = []
        self._loop = virtual.loop
        clock = Clock(virtual)
        self.feed = LiveFeed(sources, clock, Random(1))

    def publish(self, event: Event) -> None:
        self.events.append((self._loop.time(), event))

    async def listen(self, seconds: float) -> None:
        running = asyncio.create_task(self.feed.run(self.publish))
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for _, event in self.events if type(event) is kind]

    @property
    def statuses(self) -> list[tuple[str, str]]:
        return [(event.status, event.reason) for event in self.of(FeedChanged)]


class Clock:
    speed = 1.0

    def __init__(self, virtual: VirtualTime) -> None:
        self.now = virtual.loop.nanoseconds


def listen(virtual: VirtualTime, seconds: float, *sources: Scripted) -> Heard:
    heard = Heard(virtual, *sources)
    main: Coroutine[Any, Any, None] = heard.listen(seconds)
    virtual.run(main)
    return heard


def test_what_a_stream_sends_is_published_as_it_comes(virtual: VirtualTime) -> None:
    halt = HaltChanged("ACME", True, "news")
    first, corrected = bar("ACME", 60), bar("ACME", 60)
    venue = Scripted("acme", [(), [quote("ACME", 1), first], 1.5, [halt, corrected]])
    heard = listen(virtual, 3, venue)
    assert heard.statuses == [("connected", "")]
    assert [event.quote for event in heard.of(QuoteUpdate)] == [quote("ACME", 1)]
    assert [event.bar for event in heard.of(BarClosed)] == [first, corrected]
    (said,) = heard.of(HaltChanged)
    assert (said.halted, said.ts) == (True, 1.5 * NANOS)
    assert venue.asked == []
    assert venue.closed


def test_while_a_stream_is_away_quotes_are_asked_for(virtual: VirtualTime) -> None:
    lost = NotConnected("reset by [b]peer[/b]\x1b")
    refused = [NotConnected("refused")]
    back: list[Step] = [(), [quote("ACME", 1000)]]
    venue = Scripted("acme", [(), lost], refused, refused, refused, back)
    venue.answer = lambda: [quote("ACME", virtual.loop.time() + 0.5)]
    heard = listen(virtual, 60, venue)
    assert heard.statuses[0] == ("connected", "")
    assert heard.statuses[1] == ("disconnected", f"acme: {clean(str(lost))}")
    assert heard.statuses[-1] == ("connected", "")
    assert len(venue.opened) == 5
    away = [at for at in venue.asked if at < venue.opened[-1]]
    gaps = [b - a for a, b in pairwise(away)]
    assert max(gaps) <= POLL_S + 0.01
    assert len(heard.of(QuoteUpdate)) >= len(away)


def test_pauses_double_up_to_the_longest_with_jitter(virtual: VirtualTime) -> None:
    venue = Scripted("acme", *[[(), NotConnected("storm")]] * 40)
    listen(virtual, 600, venue)
    gaps = [b - a for a, b in pairwise(venue.opened)]
    assert 0.5 <= gaps[0] <= 1
    assert all(0.5 * 2**n <= gap <= 2**n for n, gap in enumerate(gaps[:5]))
    assert all(LONGEST_PAUSE_S / 2 <= gap <= LONGEST_PAUSE_S for gap in gaps[5:])
    assert len(set(gaps[5:])) > 5


def test_a_stream_that_held_begins_again_with_the_first_pause(virtual: VirtualTime) -> None:
    storm: list[Step] = [NotConnected("storm")]
    venue = Scripted("acme", *[storm] * 5, [(), 20.0, NotConnected("lost")], [()])
    listen(virtual, 200, venue)
    assert venue.opened[6] - venue.opened[5] <= 21


def test_a_mute_stream_is_found_and_opened_anew(virtual: VirtualTime) -> None:
    venue = Scripted("acme", [(), [quote("ACME", 0.0)], 1000.0], [()])
    venue.answer = lambda: [quote("ACME", virtual.loop.time())]
    heard = listen(virtual, 8, venue)
    assert ("disconnected", "acme: the stream is mute") in heard.statuses
    assert venue.asked[0] == ASK_AFTER
    assert next(at for at, e in heard.events if is_loss(e)) <= 5
    assert len(venue.opened) == 2
    assert heard.statuses[-1] == ("connected", "")


def is_loss(event: Event) -> bool:
    return isinstance(event, FeedChanged) and event.status == "disconnected"


def flowing(every_s: float, first_s: float = 0.0) -> list[Step]:
    steps: list[Step] = [(), first_s]
    for number in range(60):
        steps += [[quote("ACME", first_s + number * every_s)], every_s]
    return steps


def test_a_loop_that_stood_still_takes_no_stream_for_mute(virtual: VirtualTime) -> None:
    venue = Scripted("acme", flowing(1.0, first_s=0.3))  # the look is due before the quote is
    venue.answer = lambda: [quote("ACME", virtual.loop.time())]
    for at in (5.5, 20.5):
        virtual.loop.call_at(at, virtual.loop.spend, 12.0)
    heard = listen(virtual, 50, venue)
    assert virtual.loop.time() >= 50
    assert heard.statuses == [("connected", "")]


def test_what_is_on_its_way_by_the_stream_makes_it_no_mute_one(virtual: VirtualTime) -> None:
    venue = Scripted("acme", flowing(3.5))
    venue.answer = lambda: [quote("ACME", virtual.loop.time())]
    heard = listen(virtual, 60, venue)
    assert len(venue.asked) > 10
    assert heard.statuses == [("connected", "")]


def test_a_stream_whose_task_was_cancelled_is_opened_again(virtual: VirtualTime) -> None:
    venue = Scripted("acme", [(), asyncio.CancelledError()], [()])
    heard = listen(virtual, 5, venue)
    assert heard.statuses == [
        ("connected", ""), ("disconnected", "acme: the stream has ended"), ("connected", ""),
    ]  # fmt: skip


def test_a_quiet_market_is_no_mute_stream(virtual: VirtualTime) -> None:
    venue = Scripted("acme", [(), [quote("ACME", 0.5)]])
    venue.answer = lambda: [quote("ACME", 0.5)]
    heard = listen(virtual, 60, venue)
    assert len(venue.opened) == 1
    assert heard.statuses == [("connected", "")]
    assert len(heard.of(QuoteUpdate)) == 1, "what is known is not told again"


def test_a_venue_that_cannot_be_asked_either_is_connected_to_anew(virtual: VirtualTime) -> None:
    def nothing() -> Sequence[Quote]:
        raise NotConnected("no route")

    venue = Scripted("acme", [(), 1000.0], [()])
    venue.answer = nothing
    heard = listen(virtual, 7, venue)
    assert len(venue.opened) == 2
    assert heard.of(QuoteUpdate) == []


def test_one_venue_that_is_down_stops_no_other(virtual: VirtualTime) -> None:
    good = Scripted("acme", [(), *[[quote("ACME", n)] if n % 2 else 1.0 for n in range(1, 60)]])
    bad = Scripted("coin", *[[RuntimeError("secret=hunter2")]] * 9)
    heard = listen(virtual, 20, good, bad)
    assert len(heard.of(QuoteUpdate)) > 15
    assert good.asked == [], "it sends"
    assert heard.statuses[-1] == ("degraded", "coin: RuntimeError")
    assert heard.feed.name == "acme+coin"
    assert [i.symbol for i in heard.feed.instruments] == ["ACME", "COIN"]


def test_an_old_quote_of_the_interface_is_not_told(virtual: VirtualTime) -> None:
    lost: list[Step] = [(), [quote("ACME", 5, 11.0)], NotConnected("lost")]
    venue = Scripted("acme", lost, [()])
    venue.answer = lambda: [quote("ACME", 4, 9.0)]
    heard = listen(virtual, 3, venue)
    assert [event.quote.bid for event in heard.of(QuoteUpdate)] == [11.0]


@pytest.mark.parametrize("symbol", ["ACME", "COIN"])
def test_history_is_asked_of_the_venue_of_the_symbol(virtual: VirtualTime, symbol: str) -> None:
    heard = listen(virtual, 0, Scripted("acme"), Scripted("coin"))
    assert asyncio.run(heard.feed.history(symbol, 2, MINUTE)) == [bar(symbol, 60)] * 2


def two_symbols(seconds: int) -> Scripted:
    """A venue whose stream tells of ACME every second, and of COIN at first alone."""
    steps: list[Step] = [(), [quote("COIN", 0)]]
    for second in range(seconds):
        steps += [1, [quote("ACME", second)]]
    venue = Scripted("acme", [*steps, NotConnected("the end")])
    (acme,) = venue.instruments
    venue.instruments = (acme, replace(acme, symbol="COIN"))
    return venue


def test_a_symbol_that_is_silent_is_asked_for_while_the_others_flow(virtual: VirtualTime) -> None:
    venue = two_symbols(60)
    venue.answer = lambda: [quote("COIN", 0), quote("ACME", 0)]
    heard = listen(virtual, 55, venue)
    assert heard.statuses == [("connected", "")], "nothing was missed: it is a quiet market"
    assert 10 < len(venue.asked) < 14
    assert min(later - one for one, later in pairwise(venue.asked)) >= 4


def test_a_stream_that_is_deaf_to_a_symbol_is_opened_anew(virtual: VirtualTime) -> None:
    venue = two_symbols(60)
    venue.answer = lambda: [quote("COIN", virtual.loop.time())]
    heard = listen(virtual, 35, venue)
    told = [event.quote for event in heard.of(QuoteUpdate) if event.quote.symbol == "COIN"]
    assert [q.ts // NANOS for q in told[:4]] == [0, 4, 8, 12]
    assert ("disconnected", "acme: the stream is mute on COIN") in heard.statuses
    assert len(venue.opened) == 2


def many(name: str, count: int, *refusals: Exception) -> Scripted:
    venue = Scripted(name)
    (first,) = venue.instruments
    venue.instruments = tuple(replace(first, symbol=f"{name}{n}") for n in range(count))
    venue.refusals = list(refusals)
    return venue


def past_of(virtual: VirtualTime, *venues: Scripted) -> list[str]:
    feed = LiveFeed(venues, Clock(virtual), Random(1))
    found: list[str] = []

    async def show(values: Sequence[Bar | Quote]) -> None:
        found.extend(value.symbol for value in values)

    virtual.run(feed.past(1, virtual.loop.nanoseconds(), show))
    return sorted(found)


def test_a_limit_of_the_venue_is_waited_for_at_the_start(virtual: VirtualTime) -> None:
    venue = many("a", 3, RateLimited("too many", 7.5))
    assert past_of(virtual, venue) == ["a0", "a1", "a2"]
    assert venue.looked_up == [0, 7.5, 7.5, 7.5]


def test_a_ban_is_not_waited_for_at_the_start(virtual: VirtualTime) -> None:
    venue = many("a", 9, *[RateLimited("banned", 7200.0)] * 9)
    assert past_of(virtual, venue) == []
    assert virtual.loop.time() < 1


def test_a_limit_without_a_time_is_asked_about_once_a_second(virtual: VirtualTime) -> None:
    venue = many("a", 1, *[RateLimited("too many", 0.0)] * 3)
    assert past_of(virtual, venue) == ["a0"]
    assert venue.looked_up == [0, 1, 2, 3]


def test_a_venue_without_an_answer_does_not_hold_up_the_start(virtual: VirtualTime) -> None:
    down = many("a", 500, *[NotConnected("down")] * 500)
    limited = many("b", 5, NotConnected("once"), NotConnected("twice"))
    assert past_of(virtual, down, limited) == ["b2", "b3", "b4"]
    assert len(down.looked_up) == 3
