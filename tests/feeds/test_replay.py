"""Replay: all the data in time order, at the speed and from the time that was asked for."""

import asyncio
import csv
import gzip
import itertools
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from engine.core.events import BarClosed, Event, FeedChanged, QuoteUpdate
from engine.core.model import MINUTE, NANOS, Bar, Quote, nanos
from engine.feeds.base import Feed, Played
from engine.feeds.recordings import SAMPLES, RecordingError, Recordings
from engine.feeds.replay import ReplayFeed, merged
from engine.ops.errors import UserError
from tests.feeds.conftest import VirtualTime

Write = Callable[[str, Sequence[str]], Path]

SYMBOLS = ("AAPL", "BTC-PERP", "BTC-USD", "ETH-USD", "SPY")
HOUR = 60 * MINUTE


@pytest.fixture(scope="module")
def samples() -> Recordings:
    return Recordings()


def at(text: str) -> int:
    return nanos(datetime.fromisoformat(text + "Z"))


def rows_in(symbol: str, kind: str) -> list[list[str]]:
    """The rows of a sample, read without the code under test."""
    rows: list[list[str]] = []
    for path in SAMPLES.glob(f"{symbol}-2*-{kind}-1m.csv.gz"):
        with gzip.open(path, "rt") as file:
            rows += list(csv.reader(file))[1:]
    return rows


def rank(event: Event) -> int:
    """Closing quotes, bars, opening quotes; a quote on a minute's start may be either."""
    return 1 if isinstance(event, BarClosed) else 0


def data(events: Sequence[Event]) -> list[QuoteUpdate | BarClosed]:
    return [e for e in events if isinstance(e, QuoteUpdate | BarClosed)]


def changes(events: Sequence[Event]) -> list[tuple[str, str]]:
    return [(e.status, e.reason) for e in events if isinstance(e, FeedChanged)]


class Player:
    """Plays a feed in virtual time; keeps what it published, and when.

    `at` says what to do at which second of wall time after the feed is connected.
    """

    def __init__(
        self, virtual: VirtualTime, recordings: Recordings, symbols: Sequence[str]
    ) -> None:
        self.virtual = virtual
        self.recordings = recordings
        self.symbols = symbols
        self.events: list[Event] = []
        self.walls: list[float] = []
        self.market: list[int] = []
        self.feed: ReplayFeed

    def play(
        self, start: int, speed: float, at: dict[float, Callable[[], object]] | None = None
    ) -> None:
        loop = self.virtual.loop
        self.feed = ReplayFeed(self.recordings, self.symbols, start, speed, loop.nanoseconds)

        def publish(event: Event) -> None:
            if not self.events:
                for seconds, action in (at or {}).items():
                    loop.call_later(seconds, action)
            self.events.append(event)
            self.walls.append(loop.time())
            self.market.append(self.feed.clock.now())

        async def main() -> None:
            try:
                await self.feed.run(publish)
            except asyncio.CancelledError:
                self.events.append(FeedChanged("test", "cancelled"))

        self.virtual.run(main())

    def steer(self, action: str, speed: float, author: str) -> None:
        self.feed.steer(action, speed, author)


@pytest.fixture
def player(virtual: VirtualTime, samples: Recordings) -> Callable[[Sequence[str]], Player]:
    return lambda symbols: Player(virtual, samples, symbols)


@pytest.fixture
def small(write: Write, tmp_path: Path, virtual: VirtualTime) -> Player:
    """Ten bars and quotes of one symbol, from 12:00 on; the quote moves within each minute."""
    times = [f"2024-03-01T12:{minute:02d}:00Z" for minute in range(10)]
    write(
        "X-bars-1m.csv",
        ["timestamp,open,high,low,close,volume", *(f"{time},10,11,9,10,5" for time in times)],
    )
    write(
        "X-quotes-1m.csv",
        [
            "timestamp,bid_open,bid_close,bid_size,ask_open,ask_close,ask_size",
            *(f"{time},10,11,1,12,13,1" for time in times),
        ],
    )
    return Player(virtual, Recordings(tmp_path), ["X"])


START = at("2024-03-01T12:00:00")

# --- order and completeness ----------------------------------------------------------------------


def test_the_order_over_all_symbols(samples: Recordings) -> None:
    events = list(merged(samples, SYMBOLS, quotes=True))
    assert all(a.ts <= b.ts for a, b in itertools.pairwise(events))
    moment = at("2013-10-08T15:00:00")
    assert [
        (type(e).__name__, e.quote.bid if isinstance(e, QuoteUpdate) else e.bar.close)
        for e in merged(samples, ["SPY"], moment - MINUTE, moment + 1, quotes=True)
    ] == [
        ("QuoteUpdate", float(row_at("SPY", "quotes", "14:59")[1])),
        ("QuoteUpdate", float(row_at("SPY", "quotes", "14:59")[4])),
        ("BarClosed", float(row_at("SPY", "bars", "14:59")[4])),
        ("QuoteUpdate", float(row_at("SPY", "quotes", "15:00")[1])),
    ]


def row_at(symbol: str, kind: str, time: str) -> list[str]:
    return next(row for row in rows_in(symbol, kind) if row[0] == f"2013-10-08T{time}:00Z")


def test_at_equal_times_symbols_come_in_the_order_asked_for(samples: Recordings) -> None:
    for symbols in (["BTC-USD", "ETH-USD"], ["ETH-USD", "BTC-USD"]):
        moment = at("2018-04-04T10:00:00")
        events = merged(samples, symbols, moment - MINUTE, moment + 1, quotes=True)
        at_moment = [
            e.bar.symbol if isinstance(e, BarClosed) else e.quote.symbol
            for e in events
            if e.ts == moment
        ]
        assert at_moment == [*symbols, *symbols]


def test_no_row_of_the_files_is_lost(samples: Recordings) -> None:
    events = list(merged(samples, SYMBOLS, quotes=True))
    for symbol in SYMBOLS:
        bars = [e for e in events if isinstance(e, BarClosed) and e.bar.symbol == symbol]
        assert len(bars) == len(rows_in(symbol, "bars"))
        quotes = [e for e in events if isinstance(e, QuoteUpdate) and e.quote.symbol == symbol]
        rows = rows_in(symbol, "quotes")
        moved = sum((row[1], row[6]) != (row[4], row[9]) for row in rows)
        assert len(quotes) == len(rows) + moved


def test_bars_alone_for_a_backtest(samples: Recordings) -> None:
    start, end = at("2022-01-05T00:00:00"), at("2022-01-06T00:00:00")
    events = list(merged(samples, ["BTC-PERP"], start, end))
    assert {type(e) for e in events} == {BarClosed}
    assert (len(events), events[0].ts, events[-1].ts) == (1440, start + MINUTE, end)


def test_every_event_has_the_time_at_which_it_was_known(samples: Recordings) -> None:
    for event in merged(samples, ["SPY"], quotes=True):
        value = event.bar if isinstance(event, BarClosed) else event.quote
        assert event.ts == value.ts


# --- playing -------------------------------------------------------------------------------------


def test_a_replay_is_a_feed(samples: Recordings) -> None:
    feed: Feed = ReplayFeed(samples, ["SPY", "AAPL"], 0, 1)
    assert feed.recorded
    assert [instrument.symbol for instrument in feed.instruments] == ["SPY", "AAPL"]
    assert feed.span == (0, samples.span("AAPL")[1])


@pytest.mark.parametrize("speed", [0, 60, 1000])
def test_it_plays_all_that_follows_the_start(
    player: Callable[[Sequence[str]], Player], samples: Recordings, speed: float
) -> None:
    start = at("2018-04-05T20:00:00")
    play = player(["BTC-USD", "ETH-USD"])
    play.play(start, speed)
    expected = list(merged(samples, ["BTC-USD", "ETH-USD"], start, quotes=True))
    assert len(expected) > 1000
    assert data(play.events) == expected
    # Market time at each event is the event's own, at any speed.
    assert play.market == [event.ts for event in play.events]


@pytest.mark.parametrize("speed", [1, 10, 60])
def test_it_keeps_its_speed(small: Player, speed: float) -> None:
    small.play(START, speed)
    expected = [(event.ts - START) / NANOS / speed for event in data(small.events)]
    measured = [wall for wall, e in zip(small.walls, small.events, strict=True) if data([e])]
    assert measured == pytest.approx(expected, abs=1e-6)
    assert measured[-1] == pytest.approx(600 / speed)


def test_as_fast_as_possible_takes_no_time_and_lets_others_run(
    virtual: VirtualTime, samples: Recordings
) -> None:
    feed = ReplayFeed(samples, ["SPY"], 0, 0, virtual.loop.nanoseconds)
    turns: list[int] = []
    events: list[Event] = []

    async def other() -> None:
        while True:
            turns.append(len(events))
            await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.create_task(other())
        await feed.run(events.append)
        turns.append(len(events))
        task.cancel()

    virtual.run(main())
    assert len(data(events)) == 4128 + 4557 + 3823
    assert virtual.loop.time() == 0
    longest = max(b - a for a, b in itertools.pairwise(turns))
    assert longest <= 501


def test_slow_code_gets_its_turn_after_five_milliseconds(
    virtual: VirtualTime, samples: Recordings
) -> None:
    feed = ReplayFeed(samples, ["AAPL"], 0, 0, virtual.loop.nanoseconds)
    turns: list[float] = []

    async def other() -> None:
        while True:
            turns.append(virtual.loop.time())
            await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.create_task(other())
        await feed.run(lambda _: virtual.loop.spend(0.001))
        task.cancel()

    virtual.run(main())
    assert turns[-1] > 7
    assert max(b - a for a, b in itertools.pairwise(turns)) < 0.0081


def test_a_late_engine_changes_no_time(small: Player) -> None:
    """Each event takes a second, which is a minute of market time: time waits for the events."""
    loop = small.virtual.loop
    feed = ReplayFeed(small.recordings, ["X"], START, 60, loop.nanoseconds)
    seen: list[tuple[int, int]] = []

    def publish(event: Event) -> None:
        loop.spend(1)
        seen.append((event.ts, feed.clock.now()))

    small.virtual.run(feed.run(publish))
    assert len(seen) == 32
    assert all(ts == now for ts, now in seen)


def test_time_spent_before_it_plays_is_not_made_up_for(small: Player) -> None:
    loop = small.virtual.loop
    feed = ReplayFeed(small.recordings, ["X"], START, 1, loop.nanoseconds)
    loop.spend(300)
    walls: list[float] = []
    small.virtual.run(feed.run(lambda _: walls.append(loop.time())))
    assert (walls[0], walls[-1]) == pytest.approx((300, 900))


def test_history_and_replay_meet_at_the_start(
    player: Callable[[Sequence[str]], Player], samples: Recordings
) -> None:
    start = at("2018-04-04T12:34:00")
    play = player(["BTC-USD"])
    play.play(start, 0)
    history = asyncio.run(play.feed.history("BTC-USD", 100, start))
    assert (len(history), history[-1].ts) == (100, start)
    played = [event.bar for event in data(play.events) if isinstance(event, BarClosed)]
    assert history + played == samples.bars("BTC-USD", start - 100 * MINUTE)
    assert asyncio.run(play.feed.history("BTC-USD", 10_000, start)) == samples.bars(
        "BTC-USD", end=start
    )
    assert asyncio.run(play.feed.history("BTC-USD", 0, start)) == []


def test_history_knows_nothing_of_the_future(samples: Recordings) -> None:
    feed = ReplayFeed(samples, ["BTC-USD"], 0, 1)
    (bar,) = asyncio.run(feed.history("BTC-USD", 1, at("2018-04-04T12:34:59")))
    assert bar.ts == at("2018-04-04T12:34:00")


# --- steering ------------------------------------------------------------------------------------


def test_a_pause_holds_everything_and_loses_nothing(small: Player) -> None:
    times: list[int] = []
    small.play(
        START,
        60,
        {
            2.5: lambda: small.feed.steer("pause", 0),
            2.6: lambda: times.append(small.feed.clock.now()),
            99.0: lambda: times.append(small.feed.clock.now()),
            100.0: lambda: small.feed.steer("resume", 0),
        },
    )
    assert times == [START + 150 * NANOS] * 2
    assert len(data(small.events)) == 30
    assert not [wall for wall in small.walls if 2.5 < wall < 100]
    assert small.walls[-1] == pytest.approx(10 + 97.5)
    assert [status for status, _ in changes(small.events)] == [
        "connected", "paused", "connected", "ended",
    ]  # fmt: skip
    paused, resumed = (
        e for e in small.events if isinstance(e, FeedChanged) and 0 < e.ts - START < 600 * NANOS
    )
    assert (paused.ts, resumed.ts) == (START + 150 * NANOS, START + 150 * NANOS)


def test_a_pause_while_as_fast_as_possible(small: Player) -> None:
    loop = small.virtual.loop
    feed = ReplayFeed(small.recordings, ["X"], START, 0, loop.nanoseconds)
    walls: list[float] = []

    def publish(_: Event) -> None:
        walls.append(loop.time())
        if len(walls) == 7:
            feed.steer("pause", 0)
            loop.call_later(30, feed.steer, "resume", 0)

    small.virtual.run(feed.run(publish))
    assert walls == [0] * 8 + [30] * 26


def test_pausing_twice_is_said_once(small: Player) -> None:
    def twice(action: str) -> Callable[[], object]:
        return lambda: (small.feed.steer(action, 0), small.feed.steer(action, 0))

    small.play(START, 60, {1.0: twice("pause"), 2.0: twice("resume")})
    assert [status for status, _ in changes(small.events)].count("paused") == 1
    assert small.walls[-1] == pytest.approx(11)


def test_who_steered_a_replay_is_said(small: Player) -> None:
    actions = {1.0: ("pause", 0), 2.0: ("speed", 120), 3.0: ("resume", 0), 4.0: ("speed", 120)}
    small.play(
        START,
        60,
        {
            second: partial(small.steer, action, speed, f"person-{second:g}")
            for second, (action, speed) in actions.items()
        },
    )
    assert changes(small.events)[1:-1] == [
        ("paused", "asked for by person-1"),
        ("paused", "speed set to 120 times real time, asked for by person-2"),
        ("connected", "resumed, asked for by person-3"),
    ]  # the fourth changed nothing


def test_a_replay_that_starts_paused_says_so(small: Player) -> None:
    feed = ReplayFeed(small.recordings, ["X"], START, 0, small.virtual.loop.nanoseconds)
    feed.steer("pause", 0)
    events: list[Event] = []

    def publish(event: Event) -> None:
        events.append(event)
        if len(events) == 1:
            small.virtual.loop.call_later(1, feed.steer, "resume", 0)

    small.virtual.run(feed.run(publish))
    assert [status for status, _ in changes(events)] == ["paused", "connected", "ended"]


def test_a_new_speed_takes_hold_at_once(small: Player) -> None:
    small.play(START, 1, {30.0: lambda: small.feed.steer("speed", 60)})
    # Half a minute at 1, then nine and a half minutes at 60.
    assert small.walls[-1] == pytest.approx(30 + 9.5)
    first_bar = next(i for i, e in enumerate(small.events) if isinstance(e, BarClosed))
    assert small.walls[first_bar] == pytest.approx(30.5)


def test_speed_can_become_as_fast_as_possible_and_back(small: Player) -> None:
    small.play(START, 1, {90.0: lambda: small.feed.steer("speed", 0)})
    assert small.walls[-1] == pytest.approx(90)
    assert len(data(small.events)) == 30


@pytest.mark.parametrize("speed", [-1, float("nan"), float("inf")])
def test_a_speed_must_be_a_number_from_0_on(samples: Recordings, speed: float) -> None:
    with pytest.raises(UserError, match="not a multiple of real time"):
        ReplayFeed(samples, ["SPY"], 0, speed)
    feed = ReplayFeed(samples, ["SPY"], 0, 1)
    with pytest.raises(UserError, match="not a multiple of real time"):
        feed.steer("speed", speed)
    assert feed.clock.speed == 1


def test_an_unknown_action_is_refused(samples: Recordings) -> None:
    with pytest.raises(UserError, match="Use pause, resume or speed"):
        ReplayFeed(samples, ["SPY"], 0, 1).steer("rewind", 0)


# --- gaps and ends -------------------------------------------------------------------------------


def test_time_without_data_is_skipped_and_said(player: Callable[[Sequence[str]], Player]) -> None:
    play = player(["AAPL"])
    play.play(at("2014-06-05T23:00:00"), 60)
    assert changes(play.events) == [
        ("connected", "playing from 2014-06-05T23:00:00Z"),
        ("connected", "skipped 7 h without data, to 2014-06-06T08:00:00Z"),
        ("connected", "skipped 2 days without data, to 2014-06-09T08:00:00Z"),
        (
            "ended",
            "the recording ended at 2014-06-10T00:01:00Z; "
            "set REPLAY_START to an earlier time to play it again",
        ),
    ]
    # 61 minutes, then two days of 04:00 to 20:01 New York, at a minute a second.
    assert play.walls[-1] == pytest.approx(61 + 2 * 961, abs=0.01)
    assert play.market == [event.ts for event in play.events]


def test_a_gap_of_one_symbol_is_not_skipped_while_another_has_data(
    player: Callable[[Sequence[str]], Player],
) -> None:
    """Bars of BTC-USD stop for 432 minutes; its quotes go on."""
    play = player(["BTC-USD"])
    play.play(at("2018-04-04T16:00:00"), 60)
    assert [status for status, _ in changes(play.events)] == ["connected", "ended"]


def test_years_between_recordings_are_skipped(player: Callable[[Sequence[str]], Player]) -> None:
    play = player(["SPY", "AAPL"])
    play.play(at("2013-10-11T23:50:00"), 1000)
    assert changes(play.events)[1] == (
        "connected",
        "skipped 236 days without data, to 2014-06-05T08:00:00Z",
    )


def test_a_pause_holds_the_skip_too(player: Callable[[Sequence[str]], Player]) -> None:
    play = player(["AAPL"])
    start = at("2014-06-06T01:00:00")  # in the night, seven hours before the next quote
    times: list[int] = []
    loop = play.virtual.loop
    feed = play.feed = ReplayFeed(play.recordings, ["AAPL"], start, 60, loop.nanoseconds)
    feed.steer("pause", 0)

    def publish(event: Event) -> None:
        if not times:
            loop.call_later(10, lambda: times.append(feed.clock.now()))
            loop.call_later(11, feed.steer, "resume", 0)
            times.append(feed.clock.now())

    play.virtual.run(feed.run(publish))
    assert times == [start, start]


def test_a_start_after_the_end_says_what_there_is(
    player: Callable[[Sequence[str]], Player],
) -> None:
    play = player(["AAPL"])
    play.play(at("2020-01-01T00:00:00"), 1)
    assert changes(play.events)[1:] == [
        (
            "ended",
            "no data after 2020-01-01T00:00:00Z: the recordings run from 2014-06-05T08:00:00Z to "
            "2014-06-10T00:01:00Z; set REPLAY_START to an earlier time to play it again",
        )
    ]


@pytest.mark.parametrize("speed", [0, 60])
def test_after_the_end_time_is_real_and_cannot_be_steered(small: Player, speed: float) -> None:
    loop = small.virtual.loop
    feed = ReplayFeed(small.recordings, ["X"], START, speed, loop.nanoseconds)

    async def play_on() -> None:
        await feed.run(small.events.append)
        await asyncio.sleep(90)

    small.virtual.run(play_on())
    for action in ("pause", "speed"):
        with pytest.raises(UserError, match="The recording has ended"):
            feed.steer(action, 0)
    assert (changes(small.events)[-1][0], small.events[-1].ts) == ("ended", START + 600 * NANOS)
    assert feed.clock.now() == START + 690 * NANOS


def test_time_is_real_after_the_end_of_nothing_while_it_was_paused(
    virtual: VirtualTime, samples: Recordings
) -> None:
    start = at("2020-01-01T00:00:00")
    feed = ReplayFeed(samples, ["AAPL"], start, 60, virtual.loop.nanoseconds)
    feed.steer("pause", 0)

    async def play_on() -> None:
        await feed.run(lambda event: None)
        await asyncio.sleep(5)

    virtual.run(play_on())
    assert feed.clock.now() == start + 5 * NANOS


def test_a_cancelled_replay_stops_and_does_not_say_that_it_ended(small: Player) -> None:
    loop = small.virtual.loop
    feed = ReplayFeed(small.recordings, ["X"], START, 60, loop.nanoseconds)
    events: list[Event] = []
    first = asyncio.Event()

    def publish(event: Event) -> None:
        events.append(event)
        if data([event]):
            first.set()

    async def main() -> None:
        task = asyncio.create_task(feed.run(publish))
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        feed.steer("pause", 0)

    small.virtual.run(main())
    assert len(data(events)) == 1
    assert [status for status, _ in changes(events)] == ["connected"]


def test_a_file_that_cannot_be_read_is_said_before_anything_plays(
    write: Write, tmp_path: Path, virtual: VirtualTime
) -> None:
    write("X.csv", ["timestamp,open,high,low,close,volume", "soon,1,1,1,1,1"])
    write("instruments.toml", ["[X]", 'asset_class = "stock"', 'tick = "1"', 'lot = "1"'])
    feed = ReplayFeed(Recordings(tmp_path), ["X"], 0, 0, virtual.loop.nanoseconds)
    events: list[Event] = []

    async def main() -> None:
        with pytest.raises(RecordingError, match="line 2: 'soon' is not a time"):
            await feed.run(events.append)

    virtual.run(main())
    assert events == []


def test_an_unknown_symbol_is_refused(samples: Recordings) -> None:
    with pytest.raises(UserError, match="'BTC'"):
        ReplayFeed(samples, ["SPY", "BTC"], 0, 1)


def test_events_are_new_each_time(samples: Recordings) -> None:
    """The bus stamps the events it is given: two runs must not share them."""
    first, second = (next(iter(merged(samples, ["SPY"]))) for _ in range(2))
    assert first == second
    assert first is not second
    assert isinstance(first, BarClosed)
    assert isinstance(first.bar, Bar)


# --- where it goes on ----------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(8))
def test_it_goes_on_after_the_event_that_it_was_played_to(
    small: Player, virtual: VirtualTime, number: int
) -> None:
    """Whichever that was, of several at one time too: none is missing, and none comes twice."""
    events = [value(event) for event in merged(small.recordings, ["X"], quotes=True)]
    last = events[number]
    done = sum(event.ts == last.ts for event in events[: number + 1])
    clock = virtual.loop.nanoseconds
    feed = ReplayFeed(small.recordings, ["X"], last.ts, 0, clock, done)
    heard: list[Event] = []
    places: list[Played | None] = []

    def publish(event: Event) -> None:
        heard.append(event)
        places.append(feed.played)

    assert past_of(feed, 100, 0)[-1] == last
    virtual.run(feed.run(publish))
    _, *played, _ = heard
    assert [value(event) for event in played] == events[number + 1 :]
    assert places[0] == Played(last.ts, done)
    told = [event.ts for event in events]
    assert places[1:-1] == [
        Played(ts, told[: at + 1].count(ts)) for at, ts in enumerate(told) if at > number
    ]


def past_of(feed: ReplayFeed, count: int, since: int) -> list[Bar | Quote]:
    shown: list[Bar | Quote] = []

    async def show(values: Sequence[Bar | Quote]) -> None:
        shown.extend(values)

    asyncio.run(feed.past(count, since, show))
    return shown


def value(event: Event) -> Bar | Quote:
    assert isinstance(event, BarClosed | QuoteUpdate)
    return event.bar if isinstance(event, BarClosed) else event.quote


def test_the_past_is_what_the_first_session_was_shown_and_all_since(samples: Recordings) -> None:
    start = at("2018-04-05T10:00:00")
    shown = past_of(ReplayFeed(samples, ["BTC-USD"], start, 0), 2, start - 4 * MINUTE)
    closes = [(v.ts - start) // MINUTE for v in shown if isinstance(v, Bar)]
    assert closes == [-5, -4, -3, -2, -1, 0]
    (quote,) = [v for v in shown if isinstance(v, Quote)]
    assert quote.ts == start - MINUTE
    assert shown.index(quote) == len(shown) - 2, "it came before the last bar"


def test_after_the_end_there_is_nothing_to_go_on_with(small: Player) -> None:
    small.play(START, 0)
    assert small.feed.played is None
