"""A file of bars as a table of what its cells say, each row known by its line."""

import bz2
import csv
import gzip
import lzma
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from engine.core.text import clean
from engine.ops.errors import UserError

TIME = "timestamp"
"""What the times are called where they are the index of a Parquet file."""

SEPARATORS = {";": "semicolon", "\t": "tab", "|": "bar (|)"}
"""Signs that programs write between fields in place of a comma."""

_PACKED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DAMAGE = (OSError, EOFError, ValueError, csv.Error, zlib.error, lzma.LZMAError)


def read_table(path: Path) -> Any:
    """The file as a pandas DataFrame. Its index is named `line` or, of a Parquet file, `row`, and
    counts from 1. Raises UserError where it cannot be read."""
    try:
        return _parquet(path) if path.suffix == ".parquet" else _csv(path)
    except ImportError:
        remedy = "pip install 'tradebot-tui[parquet]', or write it as CSV"
        raise UserError("reading Parquet needs the package pyarrow", remedy) from None
    except _DAMAGE as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UserError(
            f"{clean(str(path))} cannot be read ({clean(reason, 100)})",
            "give a CSV file with a line of column names, or a Parquet file",
        ) from error


def _parquet(path: Path) -> Any:
    import pandas  # pyright: ignore[reportMissingTypeStubs]

    pd: Any = pandas
    table = pd.read_parquet(path)
    if isinstance(table.index, pd.DatetimeIndex):
        table = table.reset_index(names=TIME)
    return table.set_index(pd.RangeIndex(1, len(table) + 1, name="row"))


def _csv(path: Path) -> Any:
    import pandas  # pyright: ignore[reportMissingTypeStubs]

    pd: Any = pandas
    with _opened(path) as file:
        lines = csv.reader(file)
        names = next(filter(any, lines), None)
        if names is None:
            raise ValueError("it has no line of column names")
        _check_names(path, lines.line_num, names)
        rows = [(lines.line_num, row) for row in lines if any(map(str.strip, row))]
    _check_even(path, len(names), rows)
    index = pd.Index([line for line, _ in rows], name="line")
    return pd.DataFrame([row for _, row in rows], index=index, columns=names, dtype=object)


def _opened(path: Path) -> IO[str]:
    if unpack := _PACKED.get(path.suffix):
        return unpack(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _check_names(path: Path, line: int, names: Sequence[str]) -> None:
    """One field that holds another sign was written with that sign between its names."""
    found = next((sign for sign in SEPARATORS if len(names) == 1 and sign in names[0]), None)
    if found is not None:
        raise UserError(
            f"{clean(path.name)} line {line} separates the fields by a {SEPARATORS[found]}, not by "
            "a comma",
            "write it with commas between the fields, and points in the numbers: 7284.5",
        )
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"{clean(path.name)} line {line} names the column {clean(twice)} twice",
            "take the one out that is not meant",
        )


def _check_even(path: Path, count: int, rows: Iterable[tuple[int, Sequence[str]]]) -> None:
    """A row with more or fewer fields than there are names has some under the wrong name."""
    for line, row in rows:
        if len(row) != count:
            fields = f"{len(row)} field{'s' * (len(row) > 1)}"
            raise UserError(
                f"{clean(path.name)} line {line} has {fields}, the line of column names {count}",
                "give the line a field for each column, or take it out; write numbers without "
                "commas: 7284.5",
            )
