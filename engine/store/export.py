"""Records for a spreadsheet or a script: what a text holds is shown, never obeyed."""

import csv
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import IO

_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Value = str | int | Decimal | None


def write_csv(file: IO[str], columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it (OWASP ASVS
    1.2.10); numbers stay numbers. What cannot be seen becomes a space."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)


def write_jsonl(file: IO[str], records: Iterable[object]) -> None:
    """One record a line, in ASCII: what is none is escaped, so nothing is lost."""
    file.writelines(f"{ascii_json(record)}\n" for record in records)


def ascii_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":")).replace("\x7f", "\\u007f")


def _cell(value: Value) -> Value:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if not isinstance(value, str):
        return value
    text = "".join(char if char.isprintable() else " " for char in value)
    return f"'{text}" if value.startswith(_FORMULA) else text
