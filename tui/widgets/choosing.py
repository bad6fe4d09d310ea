"""Which rows of a table are shown, and in which order, where the operator chose that. Pure."""

import re
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

from tui.format import DASH
from tui.widgets.lines import Line

Row = TypeVar("Row")

_NUMBER = re.compile(r"[▲▼ $]*([+-]?[\d,]+(?:\.\d+)?)([smhdkMG%]?)(?:/.*)?")
_SCALE = {"m": 60.0, "h": 3_600.0, "d": 86_400.0, "k": 1e3, "M": 1e6, "G": 1e9}


class Read(NamedTuple, Generic[Row]):
    """How a table reads its rows; see `LineTable`."""

    row_id: Callable[[Row], Hashable]
    aged: Callable[[Row], str]
    cells: Callable[[Row], Line]


class Choice(Generic[Row]):
    """A filter and a sort. `words` must all be in a row's text, whatever their case; `column` is
    the number of the column by which it is sorted, None for the table's own order."""

    def __init__(self, read: Read[Row]) -> None:
        self.words = ""
        self.column: int | None = None
        self.falling = False
        self._read = read
        self._texts: dict[Hashable, tuple[Row, str, tuple[str, ...]]] = {}

    def choose(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Those of `rows` that are shown, in their order."""
        words = self.words.casefold().split()
        if not words and self.column is None:
            self._texts = {}
            return rows
        self._texts = {self._read.row_id(row): self._text(row) for row in rows}
        kept = [read for read in self._texts.values() if _has(words, read[2])]
        return [row for row, _, _ in self._sorted(kept)]

    def _text(self, row: Row) -> tuple[Row, str, tuple[str, ...]]:
        """The row and its cells as they read: known ones while it reads the same."""
        known, aged = self._texts.get(self._read.row_id(row)), self._read.aged(row)
        if known is not None and known[0] is row and known[1] == aged:
            return known
        return row, aged, tuple(text for text, _ in self._read.cells(row))

    def _sorted(
        self, rows: list[tuple[Row, str, tuple[str, ...]]]
    ) -> list[tuple[Row, str, tuple[str, ...]]]:
        """Rows without a value come last, whichever way it is sorted."""
        column = self.column
        if column is None:
            return rows
        known = [row for row in rows if row[2][column].strip() not in ("", DASH)]
        known.sort(key=lambda row: sort_key(row[2][column]), reverse=self.falling)
        return known + [row for row in rows if row[2][column].strip() in ("", DASH)]


def _has(words: list[str], cells: tuple[str, ...]) -> bool:
    text = " ".join(cells).casefold()
    return all(word in text for word in words)


def sort_key(text: str) -> tuple[bool, float, str]:
    """Numbers by their size, whatever unit or sign they are written with; then words."""
    number = _NUMBER.fullmatch(text.strip())
    if number is None:
        return True, 0.0, text.casefold()
    return False, float(number[1].replace(",", "")) * _SCALE.get(number[2], 1.0), ""
