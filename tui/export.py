"""Tables as CSV files, and screens as pictures."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from engine.core.model import Instrument, utc
from engine.core.text import clean
from tui import details

_FORMULA = ("=", "+", "-", "@")
"""How a text begins that a spreadsheet would calculate."""


def write_csv(
    folder: Path,
    name: str,
    wall_ts: int,
    rows: Sequence[Struct],
    instruments: Mapping[str, Instrument],
) -> Path:
    """Write all fields of `rows` into a new file in `folder`, readable by its owner alone, with
    those of the `instruments`, by symbol, that they are about; the file's path. Its name tells the
    table and `wall_ts` (ns UTC). Raises OSError."""
    names, texts = details.table(rows, instruments)
    content = io.StringIO(newline="")
    writer = csv.DictWriter(content, names)
    writer.writeheader()
    writer.writerows({name: _cell(text) for name, text in row.items()} for row in texts)
    return _write(folder, name, wall_ts, "csv", content.getvalue())


def write_picture(folder: Path, name: str, wall_ts: int, svg: str) -> Path:
    """Write a picture of the screen `name` likewise, as SVG. Raises OSError."""
    return _write(folder, name, wall_ts, "svg", svg)


def stamp(ts: int) -> str:
    """A time (ns UTC) as names of files have it."""
    return f"{utc(ts):%Y%m%dT%H%M%S.%f}Z"


def _write(folder: Path, name: str, wall_ts: int, suffix: str, content: str) -> Path:
    """Write a new file, whole or not at all: half a table looks like a table."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}-{stamp(wall_ts)}.{suffix}"

    def for_its_owner_alone(path: str, flags: int) -> int:
        return os.open(path, flags, 0o600)

    file = open(path, "x", newline="", encoding="utf-8", opener=for_its_owner_alone)  # noqa: SIM115
    try:
        with file:
            file.write(content)
    except OSError as error:
        path.unlink()
        error.filename = str(path)
        raise
    return path


def _cell(text: str) -> str:
    """The text, cleaned; one that a spreadsheet would calculate is marked as text."""
    text = clean(text)
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
