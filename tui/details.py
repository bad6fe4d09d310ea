"""All fields of a row, in full: for the dialog of details and for CSV files. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any, cast

from msgspec import Struct
from msgspec.structs import fields

from engine.core.model import Instrument, utc
from tui import format

Field = tuple[str, object]
"""A name of the vocabulary, with that of what it is part of before it, and the value."""

Zones = Sequence[tzinfo | None]
"""The computer's is None."""


def fields_of(row: Struct, within: str = "") -> Iterator[Field]:
    """The fields of `row` and of all that is in it; a name that was told already has that of what
    it is part of before it."""
    for field in fields(row):
        yield from _fields(f"{within}{field.name}", getattr(row, field.name))


def _fields(name: str, value: object) -> Iterator[Field]:
    if isinstance(value, Struct):
        yield from fields_of(value, f"{name}.")
    elif isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, object]", value).items():
            yield f"{name}.{key}", inner
    else:
        yield name, value


def all_fields(row: Struct, instruments: Mapping[str, Instrument]) -> Iterator[Field]:
    """The fields of `row`, then those of the instrument that it is about, where it is one of the
    `instruments`, which are by symbol."""
    yield from fields_of(row)
    instrument = instruments.get(symbol_of(row))
    if instrument is not None:
        yield from (f for f in fields_of(instrument, "instrument.") if f[0] != "instrument.symbol")


def symbol_of(row: Struct) -> str:
    """The first symbol in `row`, empty where it is of none."""
    names = (value for name, value in fields_of(row) if name.rpartition(".")[2] == "symbol")
    return str(next(names, ""))


def is_time(name: str) -> bool:
    """Whether the field is a time in nanoseconds UTC."""
    last = name.rpartition(".")[2]
    return last in ("ts", "until") or last.endswith("_ts")


def plain(name: str, value: object) -> str:
    """A value as another program reads it: empty where it is not known, times in ISO 8601 UTC."""
    if value is None:
        return ""
    if is_time(name):
        return utc(cast("int", value)).isoformat() if value else ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, tuple):
        return " ".join(str(each) for each in cast("tuple[Any, ...]", value))
    return str(value)


def told(name: str, value: object, zones: Zones = ()) -> str:
    """A value as a person reads it, in its full precision; times in UTC and in `zones`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_time(name) and value:
        return moment(cast("int", value), zones)
    if isinstance(value, Enum):
        return format.words(str(value))
    if isinstance(value, Decimal):
        return f"{value:,f}"
    if isinstance(value, float):
        return f"{value:,}"
    text = plain(name, value)
    return text or format.DASH


def moment(ts: int, zones: Zones = ()) -> str:
    """A time to the microsecond in UTC, and as `elsewhere` tells it."""
    return ", ".join((f"{utc(ts):%Y-%m-%d %H:%M:%S.%f} UTC", *elsewhere(ts, zones)))


def elsewhere(ts: int, zones: Zones) -> list[str]:
    """A time in each of `zones` where it reads otherwise than in UTC, once, with the date where
    that is another there."""
    times = [utc(ts).astimezone(zone) for zone in zones]
    texts = [
        f"{there:%H:%M:%S %Z}" if there.date() == utc(ts).date() else f"{there:%F %H:%M:%S %Z}"
        for there in times
        if there.utcoffset()
    ]
    return list(dict.fromkeys(texts))


def table(
    rows: Sequence[Struct], instruments: Mapping[str, Instrument]
) -> tuple[list[str], list[dict[str, str]]]:
    """The names of all fields in `rows`, and each row by these names."""
    told_rows = [
        {name: plain(name, value) for name, value in all_fields(row, instruments)} for row in rows
    ]
    names = list(dict.fromkeys(name for row in told_rows for name in row))
    return names, told_rows
