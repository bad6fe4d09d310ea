"""Market data of now: the stream of each venue, and its REST interface while the stream is away."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from random import Random
from typing import Protocol

from msgspec.structs import replace

from engine.core.events import BarClosed, Event, FeedChanged, HaltChanged, QuoteUpdate
from engine.core.model import MINUTE, Bar, Instrument, Quote
from engine.core.text import clean
from engine.feeds.base import MOST_PAST, Publish, Show
from engine.feeds.clock import Clock, SystemClock
from engine.feeds.conflation import Conflation
from engine.ops.backoff import FIRST_PAUSE_S, Backoff
from engine.ops.errors import InDoubt, NotSent, RateLimited

LOOK_S = 1.0
ASK_AFTER, MUTE_AFTER = 3, 5
"""Looks at a stream in a row before which nothing had come: after so many it is compared with the
REST interface, and, where that has more, it is mute after so many: within 5 s. They are counted,
and not the seconds, because a loop that stands still hears nothing; and what the REST interface
has may be on its way by the stream."""
QUIET_S = 4.0
"""Of silence about one symbol, after which it is asked for, and between such questions: what the
stream does not tell of it is known within 5 s."""
DEAF_AFTER = 8
"""Questions in a row that the stream should have answered: it is deaf to the symbol."""
PATIENCE_S = 60.0
"""The longest that the past is waited for where a venue limits the rate; strategies warm up as bars
come where it would be longer."""
GIVE_UP_AFTER = 3
"""Symbols in a row without an answer, after which a venue is asked for no more of the past."""
POLL_S = 2.0
MOST_AT_ONCE = 2_000
"""More data than these, that came while the engine was busy, are conflated: it does not follow."""
BEHIND_S = 2.0
"""Without such a burst, after which a feed is no longer behind."""

BEHIND = "more comes than can be handled; of each symbol the newest quote alone goes on"

Datum = Quote | Bar | HaltChanged

log = logging.getLogger(__name__)


class Source(Protocol):
    """The market data of one venue. Its methods raise NotSent or InDoubt where there is no answer;
    of any other error only the name is shown."""

    @property
    def name(self) -> str: ...

    @property
    def instruments(self) -> tuple[Instrument, ...]: ...

    def stream(self) -> AsyncGenerator[Sequence[Datum], None]:
        """Quotes, closed bars (a corrected one again, with the time that it had) and halts as they
        come; nothing of them at first, as soon as it listens. Ends, or raises, where the connection
        is lost."""
        ...

    async def quotes(self) -> Sequence[Quote]:
        """The newest quote of each symbol that has one, asked for."""
        ...

    async def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        """As `Feed.history`: bars of a minute."""
        ...

    def bars(
        self, symbol: str, interval: int, start: int, end: int
    ) -> AsyncGenerator[Sequence[Bar], None]:
        """All bars of `interval` (ns) that began at or after `start` and had closed at `end` (ns
        UTC), page by page, the oldest first. Raises UserError for an `interval` that the venue
        does not have."""
        ...

    async def close(self) -> None: ...


class LiveFeed:
    """All sources at once; one that is down stops no other.

    A stream that is lost is opened again after pauses that double, with jitter; meanwhile quotes
    are asked for every `POLL_S`. So they are while a stream is silent: where the venue has newer
    quotes, and the stream does not send them either, it is mute, and is opened anew. A single
    symbol that is silent is asked for too; where there are newer quotes again and again the stream
    is opened anew. What a stream missed of bars, the engine's `Backfill` asks for.
    """

    recorded = False

    def __init__(
        self, sources: Sequence[Source], clock: Clock | None = None, random: Random | None = None
    ) -> None:
        self.name = "+".join(dict.fromkeys(source.name for source in sources))
        self.clock = clock or SystemClock()
        self.instruments = tuple(i for source in sources for i in source.instruments)
        self._random = random or Random()
        self._lines = [_Line(source) for source in sources]
        self._source_of = {i.symbol: source for source in sources for i in source.instruments}
        self._start = self.clock.now()
        self._conflation = Conflation(lambda event: self._publish(event))
        self._behind_until = 0.0

    @property
    def conflated(self) -> int:
        return self._conflation.dropped

    @property
    def span(self) -> tuple[int, int]:
        return self._start, self._start

    async def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        return await self._source_of[symbol].history(symbol, count, until)

    @property
    def played(self) -> None:
        """Its market time is now."""

    async def past(self, count: int, since: int, show: Show) -> None:
        """As `Feed.past`; of a venue that does not answer none: its strategies warm up as bars
        come. A limit of a venue's is waited for, unless it is a ban."""
        count = min(count + max(0, self._start - since) // MINUTE, MOST_PAST)
        await asyncio.gather(*(self._past_of(line.source, count, show) for line in self._lines))

    async def _past_of(self, source: Source, count: int, show: Show) -> None:
        failures = 0
        for instrument in source.instruments:
            try:
                bars = await _patient(source, instrument.symbol, count, self._start)
                failures = 0
            except (NotSent, InDoubt) as error:
                log.warning("no bars of %s: %s", clean(instrument.symbol), _reason_of(error))
                failures += 1
                if failures == GIVE_UP_AFTER:
                    break
            else:
                await show(bars)

    async def run(self, publish: Publish, ready: asyncio.Event | None = None) -> None:
        """Publish until cancelled."""
        self._publish = publish
        try:
            async with asyncio.TaskGroup() as tasks:
                for line in self._lines:
                    tasks.create_task(self._follow(line))
        finally:
            await asyncio.gather(*(line.source.close() for line in self._lines))

    def steer(self, action: str, speed: float, author: str = "") -> None:
        """Nothing: its time is now."""

    async def _follow(self, line: "_Line") -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(self._random)
        while True:
            began = loop.time()
            line.down = await self._listen(line)
            self._announce()
            await self._poll(line, backoff.after(loop.time() - began))

    async def _listen(self, line: "_Line") -> str:
        """Publish what the stream sends; why it is no more to be listened to."""
        loop = asyncio.get_running_loop()
        line.begin(loop.time())
        reader = asyncio.create_task(self._read(line))
        try:
            while not (await asyncio.wait({reader}, timeout=LOOK_S))[0]:
                self._catch_up(loop.time())
                line.silent += 1
                if line.silent == ASK_AFTER and await self._ask(line) == []:
                    line.silent = 0
                if line.silent >= MUTE_AFTER:
                    return "the stream is mute"
                if deaf_to := await self._look_for_the_quiet(line):
                    return f"the stream is mute on {clean(deaf_to)}"
            error = None if reader.cancelled() else reader.exception()
            return _reason_of(error) if error else "the stream has ended"
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, line: "_Line") -> None:
        loop = asyncio.get_running_loop()
        async with aclosing(line.source.stream()) as batches:
            async for batch in batches:
                heard, line.silent = loop.time(), 0
                if line.down is not None:
                    line.down = None
                    self._announce()
                if len(batch) > MOST_AT_ONCE:
                    self._fall_behind(heard)
                    self._send_newest(line, batch)
                else:
                    for datum in batch:
                        self._send(line, datum)
                line.heard_of.update((datum.symbol, heard) for datum in batch)

    def _send_newest(self, line: "_Line", batch: Sequence[Datum]) -> None:
        """All but quotes that a newer one of their symbol follows, before anything else of it."""
        for datum in batch:
            if isinstance(datum, Quote):
                self._conflation.keep(self._quoted(line, datum))
            else:
                self._conflation.flush_one(datum.symbol)
                self._send(line, datum)
        self._conflation.flush()

    def _fall_behind(self, now: float) -> None:
        was_behind, self._behind_until = self._behind_until, now + BEHIND_S
        if not was_behind:
            self._announce()

    def _catch_up(self, now: float) -> None:
        if self._behind_until and now > self._behind_until:
            self._behind_until = 0.0
            self._announce()

    async def _look_for_the_quiet(self, line: "_Line") -> str:
        """Ask for the quotes of symbols that are silent; the one to which the stream is deaf."""
        now = asyncio.get_running_loop().time()
        quiet = line.quiet(now)
        if not quiet or now - line.asked < QUIET_S:
            return ""
        line.asked = now
        newer = quiet.intersection(await self._ask(line) or ())
        line.missed = {symbol: line.missed.get(symbol, 0) + 1 for symbol in newer}
        return next((symbol for symbol, times in line.missed.items() if times >= DEAF_AFTER), "")

    async def _poll(self, line: "_Line", seconds: float) -> None:
        """Ask for quotes until `seconds` have passed."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0:
            await self._ask(line)
            await asyncio.sleep(min(POLL_S, left))

    async def _ask(self, line: "_Line") -> list[str] | None:
        """Publish the quotes that are newer than those that were sent: of which symbols, or None
        where there is no answer."""
        try:
            async with asyncio.timeout(POLL_S):
                quotes = await line.source.quotes()
        except Exception as error:
            log.warning("no quotes from %s: %s", line.source.name, _reason_of(error))
            return None
        newer = [quote for quote in quotes if quote.ts > line.newest.get(quote.symbol, 0)]
        for quote in newer:
            self._send(line, quote)
        return [quote.symbol for quote in newer]

    def _send(self, line: "_Line", datum: Datum) -> None:
        self._publish(self._event(line, datum))

    def _event(self, line: "_Line", datum: Datum) -> Event:
        if isinstance(datum, Quote):
            return self._quoted(line, datum)
        now = self.clock.now()
        if isinstance(datum, Bar):
            return BarClosed(datum, ts=now)
        return replace(datum, ts=now)

    def _quoted(self, line: "_Line", quote: Quote) -> QuoteUpdate:
        line.newest[quote.symbol] = quote.ts
        return QuoteUpdate(quote, ts=self.clock.now())

    def _announce(self) -> None:
        """Say which venues cannot be heard, or that there is more than can be handled."""
        down = [line for line in self._lines if line.down is not None]
        status = "degraded" if down else "connected"
        if len(down) == len(self._lines):
            status = "disconnected"
        reason = "; ".join(f"{line.source.name}: {line.down}" for line in down)
        if self._behind_until and not down:
            status, reason = "behind", BEHIND
        self._publish(FeedChanged(self.name, status, reason, ts=self.clock.now()))


class _Line:
    """A source: why it is `down` (None while it is up), for how many looks it has been `silent`,
    when it was last heard of each symbol, and `asked` about silent ones (loop time), the time of
    the `newest` quote of each symbol, and how often in a row the stream `missed` one that was
    silent."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.down: str | None = "connecting"
        self.silent = 0
        self.heard_of: dict[str, float] = {}
        self.asked = 0.0
        self.newest: dict[str, int] = {}
        self.missed: dict[str, int] = {}

    def begin(self, now: float) -> None:
        """A stream is opened."""
        self.silent, self.asked = 0, now
        self.heard_of = dict.fromkeys((i.symbol for i in self.source.instruments), now)
        self.missed = {}

    def quiet(self, now: float) -> set[str]:
        """The symbols of which the stream has said nothing for a while."""
        return {symbol for symbol, heard in self.heard_of.items() if now - heard >= QUIET_S}


async def _patient(source: Source, symbol: str, count: int, until: int) -> list[Bar]:
    while True:
        try:
            return await source.history(symbol, count, until)
        except RateLimited as error:
            if error.wait_s > PATIENCE_S:
                raise
            await asyncio.sleep(max(error.wait_s, FIRST_PAUSE_S))


def _reason_of(error: BaseException) -> str:
    """What to tell of an error. The text of one that is none of ours may hold secrets."""
    known = isinstance(error, NotSent | InDoubt)
    return clean(str(error)) if known else type(error).__name__
