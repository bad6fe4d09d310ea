"""Bars of a venue into the local archive, page by page: what came once is not asked for again.

Beside the archive's files of a symbol lies `SYMBOL-fetched-INTERVAL.json`: which venue its bars
are of, and which spans of time were fetched. While a fetch runs there is a file
`SYMBOL-fetching-INTERVAL.part` too: the pages that came, each on the disk before the next one is
asked for. They go into the archive's files when a year is over and at the end; what an interrupted
run left, the next one puts there first.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from operator import attrgetter
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
from msgspec import Struct

from engine.core.model import MINUTE, Bar
from engine.core.text import clean
from engine.data.archive import Added, Archive, archived_name, row_of
from engine.feeds.live import Source
from engine.ops.errors import (
    InDoubt,
    NotAuthenticated,
    NotPermitted,
    NotSent,
    RateLimited,
    UserError,
)
from engine.ops.files import make_private_folder, open_private, write_private

LATE = 60 * MINUTE
"""What closed less than so long ago may still come, or be corrected: it is fetched again."""
ALIGNED = 15 * MINUTE
"""Bars of up to this length begin at whole multiples of it everywhere. A longer one may begin
before the end of a span and close after it."""
PAGE_S = 60.0
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""A page that does not come is asked for again after these; then the fetch ends."""
LIMITED_MOST = 100
"""How often in a row a venue may ask to wait."""
PAGE_ENDS = "#"

Span = tuple[int, int]
_ts = attrgetter("ts")


class Fetched(Struct, frozen=True):
    """`spans` (ns UTC) in time order, no two of which touch."""

    venue: str = ""
    spans: tuple[Span, ...] = ()

    def missing(self, start: int, end: int) -> list[Span]:
        """What of the time from `start` to `end` was not fetched."""
        found: list[Span] = []
        for first, last in self.spans:
            if first > start:
                found.append((start, min(first, end)))
            start = max(start, last)
        return [(a, b) for a, b in [*found, (start, end)] if a < b]

    def having(self, span: Span) -> "Fetched":
        spans: list[Span] = []
        for first, last in sorted([*self.spans, span]):
            if spans and first <= spans[-1][1]:
                spans[-1] = spans[-1][0], max(spans[-1][1], last)
            elif first < last:
                spans.append((first, last))
        return Fetched(self.venue, tuple(spans))


class Store:
    """The disk's side of one fetch of `symbol`, of which there is one at a time: as a context it
    holds the part file.

    Raises UserError where another fetch holds it, the archive has the symbol from another venue, or
    the disk does not take it.
    """

    def __init__(self, archive: Archive, symbol: str, venue: str) -> None:
        self.archive = archive
        self.symbol = archived_name(symbol)
        self.added = Added()
        name = archive.folder.name
        self._part = archive.folder / f"{self.symbol}-fetching-{name}.part"
        self._list = archive.folder / f"{self.symbol}-fetched-{name}.json"
        self._venue = venue
        self._file: Any = None
        self._read = 0
        self._settling = Lock()  # a fetch that is cancelled does not wait for its thread
        self._years: set[str] = set()

    def __enter__(self) -> "Store":
        with _on_disk(self._part):
            make_private_folder(self._part.parent)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            self._file = os.fdopen(open_private(self._part, flags), "a+b")
        try:
            self._hold()
            self.fetched = self._read_list()
            self.settle()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """All pages that came are in the archive; what was there before is there in any case."""
        try:
            self.settle()
            with _on_disk(self._part):
                self._part.unlink()
        finally:
            self._file.close()

    def keep(self, bars: Sequence[Bar], span: Span) -> None:
        """Have a page on the disk: the `bars` of `span`, in time order and after all before them.
        Those that are not sound are refused."""
        rows = [row_of(bar) for bar in bars if bar.is_sound]
        self.added += Added(refused=len(bars) - len(rows))
        self._years.update(row[:4] for row in rows)
        lines = [*rows, f"{PAGE_ENDS} {span[0]} {span[1]}"]
        with _on_disk(self._part):
            self._file.write("".join(f"{line}\n" for line in lines).encode())
            self._file.flush()
            os.fsync(self._file.fileno())

    @property
    def is_full(self) -> bool:
        """Whether a year is over."""
        return len(self._years) > 1

    def settle(self) -> None:
        """Put the pages into the archive's files, and note what they were. Interrupted at any
        moment, it is done again at the next start, with the same end."""
        with self._settling:
            self._settle()

    def _settle(self) -> None:
        whole, spans = self._pages()
        if spans:
            self.added += self.archive.merge(self.symbol, self._rows(whole))
            for span in spans:
                self.fetched = self.fetched.having(span)
            with _on_disk(self._list):
                write_private(self._list, msgspec.json.encode(self.fetched))
        with _on_disk(self._part):
            self._file.truncate(0)
        self._years.clear()

    def _pages(self) -> tuple[int, list[Span]]:
        """How many bytes there are of whole pages, and their spans."""
        whole, spans = 0, list[Span]()
        for line in self._lines():
            if line.startswith(PAGE_ENDS) and line.endswith("\n"):
                _, start, end = line.split()
                spans.append((int(start), int(end)))
                whole = self._read
        return whole, spans

    def _rows(self, whole: int) -> Iterator[str]:
        for line in self._lines():
            if self._read > whole:
                return
            if not line.startswith(PAGE_ENDS):
                yield line.rstrip("\n")

    def _lines(self) -> Iterator[str]:
        """All lines; `_read` counts their bytes."""
        self._read = 0
        self._file.seek(0)
        for line in self._file:
            self._read += len(line)
            yield line.decode(errors="replace")

    def _hold(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_gone = not os.path.samestat(os.fstat(self._file.fileno()), self._part.stat())
        except (BlockingIOError, FileNotFoundError):
            is_gone = True
        if is_gone:
            raise UserError(f"another fetch of {self.symbol} is running", "wait until it has ended")

    def _read_list(self) -> Fetched:
        try:
            fetched = msgspec.json.decode(self._list.read_bytes(), type=Fetched)
        except FileNotFoundError:
            return Fetched(self._venue)
        except (OSError, msgspec.MsgspecError):
            raise UserError(
                f"{clean(str(self._list))} cannot be read",
                "remove it; then what it lists is fetched again",
            ) from None
        if fetched.venue != self._venue:
            raise UserError(
                f"the archive's {self.symbol} is of {clean(fetched.venue)}, not of {self._venue}",
                f"give it another name: --name {self._venue}:{self.symbol}",
            )
        return fetched


@contextmanager
def _on_disk(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{clean(str(path))} cannot be written ({error.strerror})",
            "check the free space and the permissions of DATA_DIR; then run it again",
        ) from error


class Fetch(Struct, frozen=True):
    """What is to be fetched: bars of `interval` (ns) of `symbol`, as `source` calls it, that began
    at or after `start` and had closed at `end` (ns UTC). `at` is told how far it came and how many
    bars that was; `waits` why there is a pause, and for how many seconds.
    """

    source: Source
    symbol: str
    interval: int
    at: Callable[[int, int], None]
    waits: Callable[[str, float], None]

    async def into(self, store: Store, start: int, end: int, *, again: bool = False) -> None:
        """Fetch what is missing, with `again` all; an error leaves what came in the store.

        Raises UserError where the venue does not answer any more, or refuses.
        """
        spans = [(start, end)] if again else store.fetched.missing(start, end)
        for span in spans:
            await self._span(store, *span)
            await asyncio.to_thread(store.settle)

    async def _span(self, store: Store, start: int, end: int) -> None:
        async for bars in self._pages(start, end):
            page = sorted((b for b in bars if start <= b.start and b.ts <= end), key=_ts)
            if not page:
                continue
            reached = page[-1].ts
            store.keep(page, (start, self._sure(reached)))
            start = reached
            self.at(start, len(page))
            if store.is_full:
                await asyncio.to_thread(store.settle)
        last = end if self.interval <= ALIGNED else end - self.interval
        store.keep((), (start, self._sure(last)))
        self.at(end, 0)

    def _sure(self, ts: int) -> int:
        """Up to when no bar begins that need be asked for again, of those up to `ts`."""
        return min(ts, time.time_ns() - LATE - self.interval)

    async def _pages(self, start: int, end: int) -> AsyncGenerator[Sequence[Bar], None]:
        """Pages, asked for again from where they ended where one does not come."""
        pauses = iter(PAUSES_S)
        limited = 0
        while True:
            try:
                pages = self.source.bars(self.symbol, self.interval, start, end)
                async with aclosing(pages):
                    async for page in _each_in_time(pages):
                        yield page
                        if page:
                            start, limited, pauses = page[-1].ts, 0, iter(PAUSES_S)
                return
            except (NotAuthenticated, NotPermitted) as error:
                raise UserError(clean(str(error)), "check the key and what it permits") from error
            except RateLimited as error:
                reason, pause = str(error), error.wait_s
                limited += 1
            except (NotSent, InDoubt, TimeoutError) as error:
                reason, pause = str(error) or "no answer in time", next(pauses, None)
            if pause is None or limited > LIMITED_MOST:
                raise UserError(
                    f"{self.source.name} does not answer ({clean(reason)}); what came is kept",
                    "run it again: it goes on from there",
                )
            self.waits(clean(reason), pause)
            await asyncio.sleep(pause)


async def _each_in_time(
    pages: AsyncGenerator[Sequence[Bar], None],
) -> AsyncGenerator[Sequence[Bar], None]:
    """Raises TimeoutError where a page takes longer than PAGE_S."""
    while True:
        async with asyncio.timeout(PAGE_S):
            page = await anext(pages, None)
        if page is None:
            return
        yield page
