"""Tables as CSV files, and screens as pictures."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from msgspec import Struct

from engine.core.model import utc
from engine.core.text import clean
from tui import details

_FORMULA = ("=", "+", "-", "@")
"""How a text begins that a spreadsheet would calculate."""


def write_csv(folder: Path, name: str, wall_ts: int, rows: Sequence[Struct]) -> Path:
    """Write all fields of `rows` into a new file in `folder`, readable by its owner alone; the
    file's path. Its name tells the table and `wall_ts` (ns UTC). Raises OSError."""
    names, texts = details.table(rows)
    with _new(folder, name, wall_ts, "csv") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({name: _cell(text) for name, text in row.items()} for row in texts)
    return Path(file.name)


def write_picture(folder: Path, name: str, wall_ts: int, svg: str) -> Path:
    """Write a picture of the screen `name` likewise, as SVG. Raises OSError."""
    with _new(folder, name, wall_ts, "svg") as file:
        file.write(svg)
    return Path(file.name)


def stamp(ts: int) -> str:
    """A time (ns UTC) as names of files have it."""
    return f"{utc(ts):%Y%m%dT%H%M%S.%f}Z"


def _new(folder: Path, name: str, wall_ts: int, suffix: str) -> TextIO:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}-{stamp(wall_ts)}.{suffix}"

    def for_its_owner_alone(path: str, flags: int) -> int:
        return os.open(path, flags, 0o600)

    return open(path, "x", newline="", encoding="utf-8", opener=for_its_owner_alone)


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
