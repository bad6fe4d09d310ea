"""A live feed: the stream first, the REST interface while it is away, and the stream again."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from engine.brokers.base import NotConnected
from engine.core.events import BarClosed, Event, FeedChanged, HaltChanged, QuoteUpdate
from engine.core.model import MINUTE, NANOS, AssetClass, Bar, Instrument, Quote
from engine.core.text import clean
from engine.feeds.live import LONGEST_PAUSE_S, MUTE_S, POLL_S, Datum, LiveFeed
from tests.feeds.conftest import VirtualTime

Step = Sequence[Datum] | Exception | float
"""What a stream does next: send, break, or wait so many seconds."""


class Scripted:
    """A venue whose stream does what `script` says each time that it is opened, and then goes on
    for ever; `opened` and `asked` are the loop times at which that happened."""

    def __init__(self, name: str, *script: Sequence[Step]) -> None:
        self.name = name
        symbol = name.upper()
        self.instruments = (Instrument(symbol, AssetClass.STOCK, Decimal("0.01"), Decimal(1)),)
        self.script = list(script)
        self.opened: list[float] = []
        self.asked: list[float] = []
        self.answer: Callable[[], Sequence[Quote]] = tuple
        self.closed = False

    async def stream(self) -> AsyncGenerator[Sequence[Datum], None]:
        self.opened.append(asyncio.get_running_loop().time())
        for step in self.script.pop(0) if self.script else ((),):
            if isinstance(step, Exception):
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

    def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        return [bar(symbol, until // NANOS)] * count

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
    assert venue.asked[0] <= MUTE_S + 1
    assert len(venue.opened) == 2
    assert heard.statuses[-1] == ("connected", "")


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
    assert heard.feed.history(symbol, 2, MINUTE) == [bar(symbol, 60)] * 2
