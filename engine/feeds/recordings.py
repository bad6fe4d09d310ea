"""Recorded market data: a folder of CSV files, one or several for a symbol.

`SYMBOL-WHEN-bars-INTERVAL.csv` and `SYMBOL-WHEN-quotes-INTERVAL.csv`, or `SYMBOL.csv` for bars,
each also as `.csv.gz`. WHEN (a date) may be left out; INTERVAL is 1m, 5s, 1h, 1d and so on. The
columns are described in `engine/samples/SOURCES.md`; `instruments.toml` says how a symbol trades.
"""

import codecs
import csv
import difflib
import gzip
import io
import re
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import islice, pairwise
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from engine.core.model import MINUTE, NANOS, ZERO, AssetClass, Bar, Instrument, Quote, nanos
from engine.core.sessions import ALWAYS_OPEN
from engine.core.text import clean
from engine.ops.errors import UserError

STOCK_CALENDAR = "XNYS"

SAMPLES = Path(__file__).parent.parent / "samples"
INSTRUMENTS = "instruments.toml"

BAR_COLUMNS = ("open", "high", "low", "close", "volume")
QUOTE_COLUMNS = ("bid_open", "ask_open", "bid_close", "ask_close", "bid_size", "ask_size")

_NAME = re.compile(
    r"(?P<symbol>.+?)(-\d{4,8})?-(?P<kind>bars|quotes)-(?P<count>[1-9]\d*)(?P<unit>[smhd])"
)
_UNITS = {"s": NANOS, "m": MINUTE, "h": 60 * MINUTE, "d": 24 * 60 * MINUTE}
_MAX_DECIMALS = 8
_STEP_SAMPLE = 1000
_EPOCH = date(1970, 1, 1)
_LAST = 2**63
_ts = attrgetter("ts")

# float() reads "1_000" and digits of other scripts as numbers: in a price column they are damage.
_PLAIN = bytes(b if b < 128 and b != ord("_") else ord("?") for b in range(256))


class RecordingError(UserError):
    """A file of recorded data that cannot be read."""


class Tape(NamedTuple):
    """All that is recorded of a symbol, each list in time order.

    A row of a quotes file gives an `opening` quote at its start and, where the quote moved, a
    `closing` one at its end. `refused` counts the rows that were not sound or came twice.
    """

    bars: list[Bar]
    opening: list[Quote]
    closing: list[Quote]
    refused: int

    def between(self, start: int | None, end: int | None) -> "Tape":
        """What lies between two times: bars and closing quotes that became known after `start` and
        not after `end`, opening quotes from `start` on and before `end`. None is no bound."""
        first = -1 if start is None else start
        last = _LAST if end is None else end
        bars, opening, closing = self.bars, self.opening, self.closing
        return Tape(
            bars[bisect_right(bars, first, key=_ts) : bisect_right(bars, last, key=_ts)],
            opening[bisect_left(opening, first, key=_ts) : bisect_left(opening, last, key=_ts)],
            closing[bisect_right(closing, first, key=_ts) : bisect_right(closing, last, key=_ts)],
            self.refused,
        )


class _File(NamedTuple):
    """`interval` is None for a plain `SYMBOL.csv`: it follows from the rows."""

    path: Path
    symbol: str
    kind: str
    interval: int | None


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a symbol trades, as `instruments.toml` has it."""

    asset_class: AssetClass
    tick: Decimal
    lot: Decimal
    currency: str = "USD"
    min_notional: Decimal = ZERO
    volume_in: Literal["base", "quote"] = "base"
    calendar: str = ""


class Recordings:
    """The recordings in `folder`; None stands for the samples that ship with the product.

    A symbol's files are read at its first use and kept. Raises RecordingError where the folder or a
    file in it cannot be read, and UserError for a symbol that is not there.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or SAMPLES
        self._files = _scan(self.folder)
        self._entries = _read_entries(self.folder / INSTRUMENTS)
        self._tapes: dict[str, Tape] = {}

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._files)

    def instrument(self, symbol: str) -> Instrument:
        """How `symbol` trades: its entry in `instruments.toml`, or else by its looks.

        A name with a dash is taken for crypto (tick from the decimals of the data, lot 0.00000001),
        any other for a stock (tick 0.01, lot 1). Crypto never closes; a stock trades in the
        sessions of the New York Stock Exchange, but for one that is not in `instruments.toml` and
        has prices of a weekend: that one trades whenever it was recorded.
        """
        self._require(symbol)
        entry = self._entries.get(symbol) or self._infer(symbol)
        usual = STOCK_CALENDAR if entry.asset_class is AssetClass.STOCK else ALWAYS_OPEN
        return Instrument(
            symbol,
            entry.asset_class,
            entry.tick,
            entry.lot,
            entry.currency,
            entry.min_notional,
            calendar=entry.calendar or usual,
        )

    def span(self, symbol: str) -> tuple[int, int]:
        """The start of the first recorded interval and the end of the last, in ns UTC."""
        tape = self.tape(symbol)
        starts = [*(bar.start for bar in tape.bars[:1]), *map(_ts, tape.opening[:1])]
        ends = map(_ts, (*tape.bars[-1:], *tape.opening[-1:], *tape.closing[-1:]))
        return min(starts), max(ends)

    def bars(self, symbol: str, start: int | None = None, end: int | None = None) -> list[Bar]:
        """The bars that closed after `start` and not after `end`; volume in units of `symbol`."""
        return self.tape(symbol).between(start, end).bars

    def quotes(self, symbol: str, start: int | None = None, end: int | None = None) -> list[Quote]:
        """The quotes from `start` to `end`, in time order."""
        tape = self.tape(symbol).between(start, end)
        return sorted([*tape.closing, *tape.opening], key=_ts)

    def refused(self, symbol: str) -> int:
        """How many rows were left out: unsound ones, and those of a time that was there already."""
        return self.tape(symbol).refused

    def tape(self, symbol: str) -> Tape:
        """All of `symbol`; reads the files at the first call (about 400,000 rows a second)."""
        self._require(symbol)
        tape = self._tapes.get(symbol)
        if tape is None:
            tape = self._tapes[symbol] = self._load(symbol)
        return tape

    def _require(self, symbol: str) -> None:
        if symbol in self._files:
            return
        close = difflib.get_close_matches(symbol.upper(), self._files, n=3, cutoff=0.5)
        listed = ", ".join([*close, *(s for s in self._files if s not in close)])
        raise UserError(
            f"No recording of symbol {clean(symbol)!r} in {clean(str(self.folder))}",
            f"Symbols that are there: {listed}",
        )

    def _load(self, symbol: str) -> Tape:
        entry = self._entries.get(symbol)
        volume_in_quote = entry is not None and entry.volume_in == "quote"
        bars: list[Bar] = []
        pairs: list[tuple[Quote, Quote]] = []
        refused = 0
        for file in self._files[symbol]:
            if file.kind == "bars":
                refused += _read_bars(file, volume_in_quote, bars)
            else:
                refused += _read_quotes(file, pairs)
        if not bars and not pairs:
            names = ", ".join(clean(file.path.name) for file in self._files[symbol])
            raise RecordingError(
                f"{names}: no sound row of {symbol} ({refused} refused)",
                "Replace the file, or take it out of the folder",
            )
        # Of rows with the same time the first counts; files are in the order of their names.
        bar_at = {bar.ts: bar for bar in reversed(bars)}
        pair_at = {pair[0].ts: pair for pair in reversed(pairs)}
        return Tape(
            sorted(bar_at.values(), key=_ts),
            sorted((opening for opening, _ in pair_at.values()), key=_ts),
            sorted((c for o, c in pair_at.values() if (o.bid, o.ask) != (c.bid, c.ask)), key=_ts),
            refused + len(bars) - len(bar_at) + len(pairs) - len(pair_at),
        )

    def _infer(self, symbol: str) -> _Entry:
        tape = self.tape(symbol)
        if "-" not in symbol:
            days = {bar.start // _UNITS["d"] for bar in tape.bars}
            calendar = ALWAYS_OPEN if any(map(_is_weekend, days)) else STOCK_CALENDAR
            return _Entry(AssetClass.STOCK, Decimal("0.01"), Decimal(1), calendar=calendar)
        prices = {bar.close for bar in tape.bars} | {quote.bid for quote in tape.opening}
        tick = Decimal(1).scaleb(-max(map(_decimals, prices)))
        return _Entry(AssetClass.CRYPTO, tick, Decimal("0.00000001"))


def _is_weekend(day: int) -> bool:
    """Whether the UTC day with that number since the epoch, a Thursday, is a Saturday or Sunday."""
    return (day + 3) % 7 >= 5


def _decimals(price: float) -> int:
    return len(f"{price:.{_MAX_DECIMALS}f}".rstrip("0").partition(".")[2])


# --- the folder ----------------------------------------------------------------------------------


def _scan(folder: Path) -> dict[str, list[_File]]:
    """The files of each symbol, in the order of their names."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise RecordingError(
            f"Folder of recordings {clean(str(folder))} cannot be read ({error.strerror})",
            "Name a folder of CSV files",
        ) from error
    files: dict[str, list[_File]] = {}
    for path in paths:
        if path.name.endswith((".csv", ".csv.gz")):
            file = _parse_name(path)
            files.setdefault(file.symbol, []).append(file)
    if not files:
        raise RecordingError(
            f"Folder of recordings {clean(str(folder))} holds no .csv or .csv.gz file",
            "Put files such as BTC-USD-2018-bars-1m.csv.gz there, or name another folder",
        )
    for same_symbol in files.values():
        _require_one_interval(same_symbol)
    return dict(sorted(files.items()))


def _parse_name(path: Path) -> _File:
    stem = path.name.removesuffix(".gz").removesuffix(".csv")
    match = _NAME.fullmatch(stem)
    if match is None:
        return _File(path, clean(stem), "bars", None)
    interval = int(match["count"]) * _UNITS[match["unit"]]
    return _File(path, clean(match["symbol"]), match["kind"], interval)


def _require_one_interval(files: list[_File]) -> None:
    bars = [file for file in files if file.kind == "bars"]
    for one, other in pairwise(bars):
        if one.interval != other.interval:
            raise RecordingError(
                f"{clean(one.path.name)} and {clean(other.path.name)} hold bars of different "
                f"intervals of {one.symbol}",
                "Keep one of them in the folder",
            )


def _read_entries(path: Path) -> dict[str, _Entry]:
    try:
        entries = msgspec.toml.decode(path.read_bytes(), type=dict[str, _Entry])
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordingError(
            f"{clean(str(path))}: {clean(str(error))}",
            "Correct the entry; engine/samples/instruments.toml is an example",
        ) from error
    for symbol, entry in entries.items():
        for name, step in (("tick", entry.tick), ("lot", entry.lot)):
            if not (step.is_finite() and step > 0):
                raise RecordingError(
                    f"{clean(str(path))}: {name} of {clean(symbol)} is {step}, not above 0",
                    f"Set {name} to the step of its prices or quantities, such as 0.01",
                )
        if not (entry.min_notional.is_finite() and entry.min_notional >= 0):
            raise RecordingError(
                f"{clean(str(path))}: min_notional of {clean(symbol)} is {entry.min_notional}",
                "Set min_notional to the smallest value of an order, or leave it out",
            )
    return entries


# --- the files -----------------------------------------------------------------------------------


def _read_bars(file: _File, volume_in_quote: bool, bars: list[Bar]) -> int:
    """Add the sound rows of `file` to `bars`; returns how many were not."""
    symbol, interval = file.symbol, file.interval or _smallest_step(file)
    refused = 0
    for start, cells in _rows(file.path, BAR_COLUMNS):
        try:
            open_, high, low, close, volume = map(float, cells)
        except ValueError:
            refused += 1
            continue
        if volume_in_quote and close > 0:
            volume /= close
        bar = Bar(symbol, start + interval, open_, high, low, close, volume, interval)
        if bar.is_sound:
            bars.append(bar)
        else:
            refused += 1
    return refused


def _read_quotes(file: _File, pairs: list[tuple[Quote, Quote]]) -> int:
    """Add the quotes at start and end of each sound row of `file`; returns how many were not."""
    symbol, interval = file.symbol, file.interval or MINUTE
    refused = 0
    for start, cells in _rows(file.path, QUOTE_COLUMNS):
        try:
            bid_open, ask_open, bid_close, ask_close, bid_size, ask_size = map(float, cells)
        except ValueError:
            refused += 1
            continue
        opening = Quote(symbol, start, bid_open, ask_open, bid_size, ask_size)
        closing = Quote(symbol, start + interval, bid_close, ask_close, bid_size, ask_size)
        sizes_are_sound = 0 <= bid_size < float("inf") and 0 <= ask_size < float("inf")
        if opening.is_sound and closing.is_sound and sizes_are_sound:
            pairs.append((opening, closing))
        else:
            refused += 1
    return refused


def _smallest_step(file: _File) -> int:
    """The interval of a plain file: the smallest step between its first rows."""
    starts = sorted({start for start, _ in islice(_rows(file.path, BAR_COLUMNS), _STEP_SAMPLE)})
    return min((later - sooner for sooner, later in pairwise(starts)), default=MINUTE)


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, Iterable[str]]]:
    """Start time and the cells of `columns` of every row; no cells where the row is too short."""
    head, _, body = _content(path).removeprefix(codecs.BOM_UTF8).partition(b"\n")
    names = [name.strip().lower() for name in head.decode("ascii", "replace").split(",")]
    missing = [name for name in ("timestamp", *columns) if name not in names]
    if missing:
        raise RecordingError(
            f"{clean(str(path))}, line 1: no column {', '.join(missing)}",
            f"The first line must name the columns timestamp,{','.join(columns)} with commas",
        )
    time_column = names.index("timestamp")
    pick = itemgetter(*map(names.index, columns))
    text = io.StringIO(body.translate(_PLAIN).decode("ascii"))
    # A stray quotation mark must not swallow the rows after it: it has no meaning here.
    reader = csv.reader(text, quoting=csv.QUOTE_NONE)
    try:
        for row in reader:
            if row:
                start = _time(row, time_column, path, reader.line_num + 1)
                yield start, pick(row) if len(row) >= len(names) else ()
    except csv.Error as error:
        raise _unreadable(path, f"line {reader.line_num + 1}: {error}") from error


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.name.endswith(".gz") else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _unreadable(path, f"no whole gzip file: {error}") from error
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


def _unreadable(path: Path, reason: str) -> RecordingError:
    return RecordingError(
        f"{clean(str(path))} cannot be read ({clean(reason)})",
        "Replace the file, correct its permissions, or take it out of the folder",
    )


def _time(row: list[str], column: int, path: Path, line: int) -> int:
    text = row[column] if column < len(row) else ""
    try:
        return _midnight(text[:10]) + _time_of_day(text[10:])
    except ValueError:
        raise RecordingError(
            f"{clean(str(path))}, line {line}: {clean(text, 40)!r} is not a time from 1970 to 2261",
            "Write times in ISO 8601, such as 2018-04-04T13:30:00Z; without a zone they are UTC",
        ) from None


# A file has few dates and few times of day: both are parsed once.


@lru_cache(maxsize=20_000)
def _midnight(text: str) -> int:
    day = date.fromisoformat(text)
    if not 1970 <= day.year <= 2261:
        raise ValueError("outside of the range of 64-bit nanoseconds")
    return (day - _EPOCH).days * _UNITS["d"]


@lru_cache(maxsize=100_000)
def _time_of_day(text: str) -> int:
    moment = datetime.fromisoformat(f"{_EPOCH}{text}")
    return nanos(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
