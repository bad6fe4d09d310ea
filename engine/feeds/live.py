"""Market data of now: the stream of each venue, and its REST interface while the stream is away."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from operator import attrgetter
from random import Random
from typing import Protocol

from msgspec.structs import replace

from engine.core.events import BarClosed, Event, FeedChanged, HaltChanged, QuoteUpdate
from engine.core.model import MINUTE, Bar, Instrument, Quote
from engine.core.text import clean
from engine.feeds.base import MOST_PAST, Publish
from engine.feeds.clock import Clock, SystemClock
from engine.ops.errors import InDoubt, NotSent

LOOK_S = 1.0
MUTE_S = 4.0
"""Of silence, after which a stream is compared with the REST interface: with LOOK_S on top a mute
one is found within 5 s."""
POLL_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
STABLE_S = 10.0
"""A stream that held for so long begins again with the first pause when it is lost."""

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

    def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        """As `Feed.history`; may block, and is called on a thread."""
        ...

    async def close(self) -> None: ...


class LiveFeed:
    """All sources at once; one that is down stops no other.

    A stream that is lost is opened again after pauses that double, with jitter; meanwhile quotes
    are asked for every `POLL_S`. So they are while a stream is silent: where the venue has newer
    quotes than it sent, the stream is mute, and is opened anew. What a stream missed of bars, the
    engine's `Backfill` asks for.
    """

    recorded = False

    def __init__(
        self, sources: Sequence[Source], clock: Clock | None = None, random: Random | None = None
    ) -> None:
        self.name = "+".join(source.name for source in sources)
        self.clock = clock or SystemClock()
        self.instruments = tuple(i for source in sources for i in source.instruments)
        self._random = random or Random()
        self._lines = [_Line(source) for source in sources]
        self._source_of = {i.symbol: source for source in sources for i in source.instruments}
        self._start = self.clock.now()

    @property
    def span(self) -> tuple[int, int]:
        return self._start, self._start

    def history(self, symbol: str, count: int, until: int) -> list[Bar]:
        return self._source_of[symbol].history(symbol, count, until)

    @property
    def played(self) -> None:
        """Its market time is now."""

    def past(self, count: int, since: int) -> list[Bar | Quote]:
        """As `Feed.past`; of a venue that does not answer none: its strategies warm up as bars
        come."""
        count = min(count + max(0, self._start - since) // MINUTE, MOST_PAST)
        bars: list[Bar] = []
        for instrument in self.instruments:
            try:
                bars += self.history(instrument.symbol, count, self._start)
            except (NotSent, InDoubt) as error:
                log.warning("no bars of %s: %s", clean(instrument.symbol), _reason_of(error))
        return sorted(bars, key=attrgetter("ts"))

    async def run(self, publish: Publish, ready: asyncio.Event | None = None) -> None:
        """Publish until cancelled."""
        self._publish = publish
        try:
            async with asyncio.TaskGroup() as tasks:
                for line in self._lines:
                    tasks.create_task(self._follow(line))
        finally:
            await asyncio.gather(*(line.source.close() for line in self._lines))

    def steer(self, action: str, speed: float) -> None:
        """Nothing: its time is now."""

    async def _follow(self, line: "_Line") -> None:
        loop = asyncio.get_running_loop()
        pauses = self._pauses()
        while True:
            began = loop.time()
            line.down = await self._listen(line)
            self._announce()
            if loop.time() - began >= STABLE_S:
                pauses = self._pauses()
            await self._poll(line, next(pauses))

    def _pauses(self) -> Iterator[float]:
        pause = FIRST_PAUSE_S
        while True:
            yield pause * self._random.uniform(0.5, 1)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _listen(self, line: "_Line") -> str:
        """Publish what the stream sends; why it is no more to be listened to."""
        loop = asyncio.get_running_loop()
        line.heard = loop.time()
        reader = asyncio.create_task(self._read(line))
        try:
            while not (await asyncio.wait({reader}, timeout=LOOK_S))[0]:
                if loop.time() - line.heard >= MUTE_S and await self._is_mute(line):
                    return "the stream is mute"
            error = reader.exception()
            return _reason_of(error) if error else "the stream has ended"
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, line: "_Line") -> None:
        loop = asyncio.get_running_loop()
        async with aclosing(line.source.stream()) as batches:
            async for batch in batches:
                line.heard = loop.time()
                if line.down is not None:
                    line.down = None
                    self._announce()
                for datum in batch:
                    self._send(line, datum)

    async def _is_mute(self, line: "_Line") -> bool:
        """Whether the venue has what its stream did not send, or cannot be asked either."""
        line.heard = asyncio.get_running_loop().time()
        return await self._ask(line) is not False

    async def _poll(self, line: "_Line", seconds: float) -> None:
        """Ask for quotes until `seconds` have passed."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0:
            await self._ask(line)
            await asyncio.sleep(min(POLL_S, left))

    async def _ask(self, line: "_Line") -> bool | None:
        """Publish the quotes that are newer than those that were sent: whether there were any, or
        None where there is no answer."""
        try:
            async with asyncio.timeout(POLL_S):
                quotes = await line.source.quotes()
        except Exception as error:
            log.warning("no quotes from %s: %s", line.source.name, _reason_of(error))
            return None
        newer = [quote for quote in quotes if quote.ts > line.newest.get(quote.symbol, 0)]
        for quote in newer:
            self._send(line, quote)
        return bool(newer)

    def _send(self, line: "_Line", datum: Datum) -> None:
        self._publish(self._event(line, datum))

    def _event(self, line: "_Line", datum: Datum) -> Event:
        now = self.clock.now()
        if isinstance(datum, Quote):
            line.newest[datum.symbol] = datum.ts
            return QuoteUpdate(datum, ts=now)
        if isinstance(datum, Bar):
            return BarClosed(datum, ts=now)
        return replace(datum, ts=now)

    def _announce(self) -> None:
        """Say which venues cannot be heard."""
        down = [line for line in self._lines if line.down is not None]
        status = "degraded" if down else "connected"
        if len(down) == len(self._lines):
            status = "disconnected"
        reason = "; ".join(f"{line.source.name}: {line.down}" for line in down)
        self._publish(FeedChanged(self.name, status, reason, ts=self.clock.now()))


class _Line:
    """A source: why it is `down` (None while it is up), when it was last `heard` (loop time), and
    the time of the newest quote of each symbol."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.down: str | None = "connecting"
        self.heard = 0.0
        self.newest: dict[str, int] = {}


def _reason_of(error: BaseException) -> str:
    """What to tell of an error. The text of one that is none of ours may hold secrets."""
    known = isinstance(error, NotSent | InDoubt)
    return clean(str(error)) if known else type(error).__name__
