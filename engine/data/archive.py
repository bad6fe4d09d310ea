"""The local archive: bars that were fetched or imported, for replay and backtests.

A folder for each interval (`1m`, `1h`, `1d`), in it a file for each symbol and year, as
`engine.feeds.recordings` reads them. A slash in a symbol is a dash here: BTC/USDT is BTC-USDT.
"""

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from heapq import merge
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path

from msgspec import Struct

from engine.calendars import session_tables
from engine.core.model import DAY, MINUTE, NANOS, Bar, Instrument, nanos, utc
from engine.core.sessions import ALWAYS_OPEN, Calendars
from engine.core.text import clean
from engine.feeds.recordings import BAR_COLUMNS, Recordings
from engine.ops.errors import UserError
from engine.ops.files import make_private_folder, name_durably, open_private

INTERVALS = {
    "1s": NANOS,
    "1m": MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "1h": 60 * MINUTE,
    "4h": 240 * MINUTE,
    "1d": DAY,
}
HEAD = ",".join(("timestamp", *BAR_COLUMNS))
LAST = 2**63


class Gap(Struct, frozen=True):
    """Bars that are missing while the market was open: `count` of them between two times (ns
    UTC)."""

    start: int
    end: int
    count: int


class Added(Struct, frozen=True):
    """What came of adding bars: how many are `new`, how many of those that were there `changed`,
    and how many were `refused` because they are not sound."""

    new: int = 0
    changed: int = 0
    refused: int = 0

    def __add__(self, other: "Added") -> "Added":
        return Added(
            self.new + other.new, self.changed + other.changed, self.refused + other.refused
        )


class Archive:
    """The bars of one `interval` (a key of INTERVALS) below `folder`."""

    def __init__(self, folder: Path, interval: str) -> None:
        self.folder = folder / interval
        self._name = interval
        self.interval = INTERVALS[interval]

    def bars(self, symbol: str) -> list[Bar]:
        """All bars of `symbol`, in time order; none where there are none."""
        name = archived_name(symbol)
        return Recordings(self.folder).bars(name) if self._files(name) else []

    def add(self, symbol: str, bars: Iterable[Bar]) -> Added:
        """Add `bars`: of a time that is there already the new one counts. Each file is written
        whole, or stays as it was."""
        given = list(bars)
        sound = {bar.ts: bar for bar in given if bar.is_sound}
        rows = (row_of(sound[ts]) for ts in sorted(sound))
        refused = sum(not bar.is_sound for bar in given)
        return self.merge(symbol, rows) + Added(refused=refused)

    def merge(self, symbol: str, rows: Iterable[str]) -> Added:
        """As `add`, of rows that `row_of` made of sound bars, in time order; however many they are,
        few are in memory at a time."""
        name = archived_name(symbol)
        added = Added()
        for year, of_year in groupby(rows, key=lambda row: row[:4]):
            path = self.folder / f"{name}-{year}-bars-{self._name}.csv.gz"
            try:
                added += _merge(path, of_year)
            except OSError as error:
                raise UserError(
                    f"{clean(str(path))} cannot be written ({error.strerror})",
                    "check the free space and the permissions of DATA_DIR; then run it again",
                ) from error
        return added

    def gaps(
        self, symbol: str, start: int = 0, end: int = LAST, instrument: Instrument | None = None
    ) -> list[Gap]:
        """Where bars are missing though the market was open, the longest first, from the first to
        the last bar between two times (ns UTC). A minute in which nothing was traded has no bar
        either. Which market it is, `instrument` says, or else the symbol's looks."""
        name, step = archived_name(symbol), self.interval
        begins = (ts for ts in self._begins(name) if start <= ts and ts + step <= end)
        holes = [(a + step, b) for a, b in pairwise(begins) if b - a >= 2 * step]
        if not holes:
            return []
        instrument = instrument or Recordings(self.folder).instrument(name)
        calendars = Calendars(session_tables([instrument], holes[0][0], holes[-1][1]))
        found: list[Gap] = []
        for first, last in holes:
            missing = range(first, last - step + 1, step)
            if instrument.calendar != ALWAYS_OPEN:
                missing = [ts for ts in missing if calendars.is_open(instrument.calendar, ts)]
            if missing:
                found.append(Gap(missing[0], missing[-1] + step, len(missing)))
        return sorted(found, key=lambda gap: (-gap.count, gap.start))

    def _begins(self, name: str) -> Iterator[int]:
        """When each bar began, in time order."""
        for path in sorted(self._files(name)):
            for start, _, _ in _rows_of(path):
                yield nanos(datetime.fromisoformat(start))

    def _files(self, name: str) -> list[Path]:
        return list(self.folder.glob(f"{name}-????-bars-{self._name}.csv.gz"))


def row_of(bar: Bar) -> str:
    """A bar as a line of the archive, without its symbol, which the file's name has."""
    start = utc(bar.start).isoformat().replace("+00:00", "Z")
    return f"{start},{bar.open},{bar.high},{bar.low},{bar.close},{bar.volume}"


def archived_name(symbol: str) -> str:
    """The name of `symbol` in the archive. Raises UserError where it cannot be one of a file."""
    name = symbol.replace("/", "-")
    plain = name.isascii() and all(c.isalnum() or c in "-._:" for c in name)
    if not plain or not name[:1].isalnum():
        raise UserError(
            f"{clean(symbol)} is no symbol",
            "write letters, digits, dots and dashes, with a slash between the two of a pair",
        )
    return name.replace(":", "_")


# --- one file ------------------------------------------------------------------------------------

_Row = tuple[str, int, str]
"""When the bar began, as it is written; 1 for a row that is added, 0 for one that was there; and
the row. So two rows of one bar are in that order."""


def _merge(path: Path, rows: Iterable[str]) -> Added:
    """Put `rows` into a file, which is written whole, or stays as it was where all are in it."""
    make_private_folder(path.parent)
    draft = path.with_name(f"{path.name}.new")
    new = changed = 0
    coming = ((row.partition(",")[0], 1, row) for row in rows)
    descriptor = open_private(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with os.fdopen(descriptor, "wb") as raw:
        with gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
            file.write(f"{HEAD}\n".encode())
            for _, group in groupby(merge(_rows_of(path), coming), key=itemgetter(0)):
                same = list(group)
                _, is_added, row = same[-1]
                file.write(f"{row}\n".encode())
                if is_added and same[0][1]:
                    new += 1
                elif is_added:
                    changed += same[0][2] != row
        raw.flush()
        os.fsync(raw.fileno())
    if new or changed:
        name_durably(draft, path)
    else:
        draft.unlink()
    return Added(new, changed)


def _rows_of(path: Path) -> Iterator[_Row]:
    """What a file of the archive has; nothing where there is none. Raises UserError where it is
    damaged."""
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            if next(file, "").rstrip() != HEAD:
                raise ValueError("another head")
            for line in file:
                row = line.rstrip("\n")
                yield row.partition(",")[0], 0, row
    except FileNotFoundError:
        return
    except (EOFError, ValueError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"{clean(str(path))} is damaged ({type(error).__name__})",
            "take it out of the archive; then bring its data again",
        ) from error
