"""Recorded market data played in time order, as if it came now."""

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from math import isfinite
from operator import attrgetter

from engine.core.events import BarClosed, FeedChanged, QuoteUpdate
from engine.core.model import DAY, MINUTE, NANOS, Bar, Quote, utc
from engine.feeds.base import MOST_PAST, Played, Publish, Show
from engine.feeds.clock import NanosecondSource, ReplayClock
from engine.feeds.recordings import Recordings
from engine.ops.errors import UserError

_ts = attrgetter("ts")

HOUR = 60 * MINUTE
SKIP_AFTER = HOUR
YIELD_EVERY = 500
YIELD_AFTER = 5_000_000


def merged(
    recordings: Recordings,
    symbols: Iterable[str],
    start: int | None = None,
    end: int | None = None,
    quotes: bool = False,
) -> Iterator[QuoteUpdate | BarClosed]:
    """The events of `symbols` between two times (as `Tape.between` bounds them), in time order.

    At equal times the closing quotes of the minute come first, then the bars, then the opening
    quotes of the next minute, each in the order of `symbols`. `quotes` False leaves quotes out.
    """
    return map(_event, _in_time_order(recordings, symbols, start, end, quotes))


def _in_time_order(
    recordings: Recordings,
    symbols: Iterable[str],
    start: int | None = None,
    end: int | None = None,
    quotes: bool = False,
) -> list[Bar | Quote]:
    tapes = [recordings.tape(symbol).between(start, end) for symbol in symbols]
    values: list[Bar | Quote] = []
    if quotes:
        values += [quote for tape in tapes for quote in tape.closing]
    values += [bar for tape in tapes for bar in tape.bars]
    if quotes:
        values += [quote for tape in tapes for quote in tape.opening]
    # The sort is stable, so what was put first stays first at equal times; and the parts are in
    # order already, which it finds and merges.
    values.sort(key=_ts)
    return values


def _event(value: Bar | Quote) -> QuoteUpdate | BarClosed:
    if isinstance(value, Bar):
        return BarClosed(value, ts=value.ts)
    return QuoteUpdate(value, ts=value.ts)


class ReplayFeed:
    """Plays the bars and quotes of `symbols` from `start` (ns UTC) on.

    `speed` is a multiple of real time, 0 for as fast as possible. What became known up to `start`
    is `past`: of what the recordings have at that very time the first `done` events, by default
    all but the opening quotes. Where no symbol has data for more than an hour, time is skipped, and
    said so. After the end market time goes on in real time, so that an order in doubt is asked
    about again. `wall` is the monotonic clock (ns) that the speed refers to.
    """

    name = "replay"
    recorded = True
    conflated = 0

    def __init__(
        self,
        recordings: Recordings,
        symbols: Iterable[str],
        start: int,
        speed: float,
        wall: NanosecondSource = time.monotonic_ns,
        done: int | None = None,
    ) -> None:
        self._recordings = recordings
        self._symbols = tuple(symbols)
        self._start = start
        self._wall = wall
        self.clock = ReplayClock(start, _checked(speed), wall)
        self.instruments = tuple(map(recordings.instrument, self._symbols))
        self._done = done
        self._played = Played(start, done)
        self._values: list[Bar | Quote] = []
        self._publish: Publish | None = None
        self._steered = asyncio.Event()
        self._ended = False

    @property
    def span(self) -> tuple[int, int]:
        ends = (self._recordings.span(symbol)[1] for symbol in self._symbols)
        return self._start, max(self._start, *ends)

    async def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        bars = await asyncio.to_thread(self._recordings.bars, symbol, end=until)
        return bars[max(0, len(bars) - count) :]

    @property
    def played(self) -> Played | None:
        return None if self._ended else self._played

    async def past(self, count: int, since: int, show: Show) -> None:
        await show(await asyncio.to_thread(self._past, count, since))

    def _past(self, count: int, since: int) -> list[Bar | Quote]:
        values = self._all()
        kept: list[Bar | Quote] = []
        quoted: set[str] = set()
        bars: Counter[str] = Counter()
        before: Counter[str] = Counter()
        for value in reversed(values[: self._begin(values)]):
            symbol = value.symbol
            if isinstance(value, Bar):
                bars[symbol] += 1
                before[symbol] += value.ts <= since
                if bars[symbol] <= MOST_PAST and before[symbol] <= count:
                    kept.append(value)
            elif symbol not in quoted:
                quoted.add(symbol)
                kept.append(value)
        return kept[::-1]

    def _all(self) -> list[Bar | Quote]:
        """All that is recorded of the symbols, in time order."""
        if not self._values:
            self._values = _in_time_order(self._recordings, self._symbols, quotes=True)
        return self._values

    def _begin(self, values: list[Bar | Quote]) -> int:
        """How many of `values` are past at the start."""
        first, end = (side(values, self._start, key=_ts) for side in (bisect_left, bisect_right))
        if self._done is not None:
            return min(first + self._done, end)  # there were more symbols then
        tapes = [self._recordings.tape(symbol) for symbol in self._symbols]
        known = (value for tape in tapes for value in (*tape.closing, *tape.bars))
        return first + sum(value.ts == self._start for value in known)

    async def run(self, publish: Publish, ready: asyncio.Event | None = None) -> None:
        """Play to the end of the recordings. Raises RecordingError where a file cannot be read."""
        everything = await asyncio.to_thread(self._all)
        begin = self._begin(everything)
        values = everything[begin:]
        self._played = Played(self._start, begin - bisect_left(everything, self._start, key=_ts))
        self._publish = publish
        self.clock.advance_to(self._start)
        self._announce(f"playing from {_iso(self._start)}")
        try:
            await self._play(values, publish, ready)
        except asyncio.CancelledError:
            self.clock.run_on()  # what is asked again as the engine stops needs the time
            raise
        finally:
            self._publish = None
        self._ended = True
        publish(FeedChanged(self.name, "ended", self._end_of(values), ts=self.clock.now()))
        self.clock.run_on()

    def steer(self, action: str, speed: float, author: str = "") -> None:
        """Pause, resume, or play at `speed` from now on, and say that `author` did. Raises
        UserError for anything else, and after the end."""
        if self._ended:
            raise UserError("The recording has ended", _REMEDY)
        before = self.clock.paused, self.clock.speed
        match action:
            case "pause":
                self.clock.pause()
                done = ""
            case "resume":
                self.clock.resume()
                done = "resumed"
            case "speed":
                self.clock.set_speed(_checked(speed))
                done = f"speed set to {_speed(speed)}"
            case _:
                raise UserError(f"A replay cannot {action!r}", "Use pause, resume or speed")
        self._steered.set()
        if (self.clock.paused, self.clock.speed) != before:
            by = f"asked for by {author}" if author else ""
            self._announce(", ".join(filter(None, (done, by))))

    async def _play(
        self, values: list[Bar | Quote], publish: Publish, ready: asyncio.Event | None
    ) -> None:
        clock = self.clock
        burst_end = 0
        for number, value in enumerate(values, 1):
            ts = value.ts
            if ts - clock.now() > SKIP_AFTER:
                await self._skip_to(ts)
            clock.hold_at(ts)
            if clock.wall_until(ts) != 0:
                await self._wait_for(ts)
            elif number % YIELD_EVERY == 0 or self._wall() > burst_end:
                await asyncio.sleep(0)
                burst_end = self._wall() + YIELD_AFTER
            while ready is not None and not ready.is_set():
                await ready.wait()
            self._played = self._after(value)
            publish(_event(value))

    def _after(self, value: Bar | Quote) -> Played:
        ts, events = self._played
        return Played(value.ts, (events or 0) + 1 if value.ts == ts else 1)

    async def _skip_to(self, ts: int) -> None:
        await self._wait_for(self.clock.now())
        gap = ts - self.clock.now()
        self.clock.advance_to(ts)
        self._announce(f"skipped {_duration(gap)} without data, to {_iso(ts)}")

    async def _wait_for(self, ts: int) -> None:
        """Until market time `ts`, whatever is steered meanwhile."""
        while (delay := self.clock.wall_until(ts)) != 0:
            self._steered.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if delay is None else delay / NANOS):
                    await self._steered.wait()

    def _announce(self, reason: str) -> None:
        if self._publish is not None:
            status = "paused" if self.clock.paused else "connected"
            self._publish(FeedChanged(self.name, status, reason, ts=self.clock.now()))

    def _end_of(self, values: list[Bar | Quote]) -> str:
        if values:
            return f"the recording ended at {_iso(values[-1].ts)}; {_REMEDY}"
        spans = [self._recordings.span(symbol) for symbol in self._symbols]
        first, last = min(first for first, _ in spans), max(last for _, last in spans)
        return (
            f"no data after {_iso(self._start)}: the recordings run from {_iso(first)} to "
            f"{_iso(last)}; {_REMEDY}"
        )


_REMEDY = "set REPLAY_START to an earlier time to play it again"


def _checked(speed: float) -> float:
    if not (isfinite(speed) and speed >= 0):
        raise UserError(
            f"Replay speed {speed} is not a multiple of real time",
            "Use 1, 10, 60 or any number above 0, or 0 for as fast as possible",
        )
    return speed


def _speed(speed: float) -> str:
    return f"{speed:g} times real time" if speed else "as fast as possible"


def _iso(ts: int) -> str:
    return utc(ts).strftime("%Y-%m-%dT%H:%M:%SZ")


def _duration(ns: int) -> str:
    return f"{ns // DAY} days" if ns >= 2 * DAY else f"{ns // HOUR} h"
