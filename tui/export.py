"""Tables as CSV files."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from engine.core.model import utc
from engine.core.text import clean
from tui import details

_FORMULA = ("=", "+", "-", "@")
"""How a text begins that a spreadsheet would calculate."""


def write_csv(folder: Path, name: str, wall_ts: int, rows: Sequence[Struct]) -> Path:
    """Write all fields of `rows` into a new file in `folder`, readable by its owner alone; the
    file's path. Its name tells the table and `wall_ts` (ns UTC). Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}-{utc(wall_ts):%Y%m%dT%H%M%S.%f}Z.csv"
    names, texts = details.table(rows)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({name: _cell(text) for name, text in row.items()} for row in texts)
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
