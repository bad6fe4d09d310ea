"""`tradebot data`: market data of others into the local archive."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from engine.core.model import NANOS, Bar
from engine.core.text import clean
from engine.data.archive import INTERVALS, Archive
from engine.data.fetch_command import fetch
from engine.data.report import report
from engine.data.table import TIME, read_table
from engine.feeds.edge import number
from engine.ops.errors import UserError
from engine.ops.settings import load_settings

TIMES = (TIME, "time", "datetime", "date", "open_time", "opentime", "ts", "t")
PRICES = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
UNITS = ((10**17, 1), (10**14, 10**3), (10**11, 10**6), (0, NANOS))
"""What a number that is a time counts, by its size: ns, us, ms, s since 1970; each in ns."""


@click.group(short_help="Bring market data into the local archive.")
def data() -> None:
    """The local archive is DATA_DIR/archive. `REPLAY_DIR=var/archive/1m` plays what is in it, and
    `tradebot backtest --data var/archive/1m` runs over it."""


data.add_command(fetch)


@data.command("import", short_help="Bars from a CSV or Parquet file.")
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--symbol", default="", help="By default the name of the file up to its first dot.")
@click.option("--timeframe", default="1m", show_default=True, type=click.Choice([*INTERVALS]))
@click.option("--zone", default="UTC", show_default=True, help="Of times that name none.")
@click.option(
    "--stamp",
    default="start",
    show_default=True,
    type=click.Choice(["start", "end"]),
    help="Which end of a bar its time is.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_(path: Path, symbol: str, timeframe: str, zone: str, stamp: str, as_json: bool) -> None:
    """Add the bars of FILE to the archive. It may be given again: what is there stays, what is
    different is replaced.

    Columns by name, whatever their case: timestamp (or time, date, datetime), open, high, low,
    close, volume. Times are ISO 8601, or seconds, milliseconds, microseconds or nanoseconds since
    1970.
    """
    archive = Archive(load_settings().data_dir / "archive", timeframe)
    _check_zone(zone)
    symbol = symbol or path.name.partition(".")[0]
    later = archive.interval if stamp == "start" else 0
    bars = _bars(read_table(path), path, symbol, archive.interval, later, zone)
    added = archive.add(symbol, bars.values())
    refused = [at for at, bar in bars.items() if not bar.is_sound]
    report(archive, symbol, added, archive.gaps(symbol), refused, as_json=as_json)


def _check_zone(zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise UserError(
            f"--zone {clean(zone)} is no time zone", "name one such as America/New_York or UTC"
        ) from error


def _bars(
    table: Any, path: Path, symbol: str, interval: int, later: int, zone: str
) -> dict[str, Bar]:
    """The bar of each row, by its line in the file."""
    names = {str(name).strip().lower(): name for name in table.columns}
    time = next((names[name] for name in TIMES if name in names), None)
    columns = [names.get(name, names.get(short)) for name, short in PRICES.items()]
    missing = [name for name, column in zip(PRICES, columns, strict=True) if column is None]
    missing = (["timestamp"] if time is None else []) + missing
    if missing:
        raise UserError(
            f"{clean(path.name)} has no column {', '.join(missing)}",
            f"name the columns timestamp,{','.join(PRICES)}",
        )
    times = _times(table[time], path, zone)
    bars: dict[str, Bar] = {}
    cells = (table[column] for column in columns)
    for line, ts, *row in zip(table.index, times, *cells, strict=True):
        open_, high, low, close, volume = map(number, row)
        at = f"{table.index.name} {line}"
        bars[at] = Bar(symbol, ts + later, open_, high, low, close, volume, interval)
    return bars


def _times(column: Any, path: Path, zone: str) -> list[int]:
    """Nanoseconds UTC."""
    import pandas  # pyright: ignore[reportMissingTypeStubs]

    pd: Any = pandas
    try:
        numeric = _is_number(next(iter(column), 0))
        found = (
            pd.to_numeric(column, errors="coerce")
            if numeric
            else pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True)
        )
        if (unread := found.isna()).any():
            line = unread.idxmax()
            raise ValueError(f"{column.index.name} {line}: {column[line] or 'it is empty'}")
        if numeric:
            size = abs(int(found.iloc[0])) if len(found) else 0
            unit = next(unit for least, unit in UNITS if size >= least)
            return [int(value) * unit for value in found]
        moments = pd.to_datetime(column, format="ISO8601")
        if moments.dt.tz is None:
            moments = moments.dt.tz_localize(ZoneInfo(zone))
        return [moment.value for moment in moments]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{clean(path.name)} has a time that cannot be read ({clean(str(error), 100)})",
            "write ISO 8601, such as 2024-06-17T14:11:00Z, or a number since 1970; name the zone "
            "of times without one with --zone, such as America/New_York",
        ) from error


def _is_number(value: object) -> bool:
    return number(value) == number(value)
