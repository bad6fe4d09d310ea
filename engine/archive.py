"""The local archive: bars that were fetched or imported, for replay and backtests.

A folder for each interval (`1m`, `1h`, `1d`), in it a file for each symbol and year, as
`engine.feeds.recordings` reads them. A slash in a symbol is a dash here: BTC/USDT is BTC-USDT.
"""

import csv
import gzip
import io
from collections.abc import Iterable
from itertools import groupby, pairwise
from pathlib import Path

from msgspec import Struct

from engine.calendars import session_tables
from engine.core.model import DAY, MINUTE, NANOS, Bar, utc
from engine.core.sessions import ALWAYS_OPEN, Calendars
from engine.core.text import clean
from engine.feeds.recordings import BAR_COLUMNS, Recordings
from engine.ops.errors import UserError
from engine.ops.files import write_private

INTERVALS = {
    "1s": NANOS,
    "1m": MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "1h": 60 * MINUTE,
    "4h": 240 * MINUTE,
    "1d": DAY,
}


class Gap(Struct, frozen=True):
    """Bars that are missing while the market was open: `count` of them between two times (ns
    UTC)."""

    start: int
    end: int
    count: int


class Added(Struct, frozen=True):
    """What came of adding bars: how many are `new`, how many of those that were there `changed`,
    and how many were `refused` because they are not sound."""

    symbol: str
    new: int
    changed: int
    refused: int


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
        name = archived_name(symbol)
        before = {bar.ts: bar for bar in self.bars(name)}
        given = list(bars)
        sound = {
            bar.ts: Bar(
                name, bar.ts, bar.open, bar.high, bar.low, bar.close, bar.volume, self.interval
            )
            for bar in given
            if bar.is_sound
        }
        fresh = {ts: bar for ts, bar in sound.items() if before.get(ts) != bar}
        years = {utc(bar.start).year for bar in fresh.values()}
        merged = sorted((before | fresh).values(), key=lambda bar: bar.ts)
        for year, rows in groupby(merged, key=lambda bar: utc(bar.start).year):
            if year in years:
                self._write(name, year, rows)
        new = len(fresh.keys() - before.keys())
        refused = sum(not bar.is_sound for bar in given)
        return Added(name, new, len(fresh) - new, refused)

    def gaps(self, symbol: str) -> list[Gap]:
        """Where bars are missing though the market was open, the longest first. A minute in which
        nothing was traded has no bar either."""
        bars = self.bars(symbol)
        if not bars:
            return []
        instrument = Recordings(self.folder).instrument(archived_name(symbol))
        tables = session_tables([instrument], bars[0].start, bars[-1].ts)
        calendars, calendar = Calendars(tables), instrument.calendar
        found: list[Gap] = []
        for one, other in pairwise(bars):
            if other.start == one.ts:
                continue
            missing = range(one.ts, other.start, self.interval)
            if calendar != ALWAYS_OPEN:
                missing = [ts for ts in missing if calendars.is_open(calendar, ts)]
            if missing:
                found.append(Gap(missing[0], missing[-1] + self.interval, len(missing)))
        return sorted(found, key=lambda gap: (-gap.count, gap.start))

    def _files(self, name: str) -> list[Path]:
        return list(self.folder.glob(f"{name}-????-bars-{self._name}.csv.gz"))

    def _write(self, name: str, year: int, bars: Iterable[Bar]) -> None:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("timestamp", *BAR_COLUMNS))
        for bar in bars:
            start = utc(bar.start).isoformat().replace("+00:00", "Z")
            rows.writerow((start, bar.open, bar.high, bar.low, bar.close, bar.volume))
        path = self.folder / f"{name}-{year}-bars-{self._name}.csv.gz"
        try:
            write_private(path, gzip.compress(text.getvalue().encode(), mtime=0))
        except OSError as error:
            raise UserError(
                f"{clean(str(path))} cannot be written ({error.strerror})",
                "check the free space and the permissions of DATA_DIR; then run it again",
            ) from error


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
