"""Which columns a panel has room for, how wide they are, and where a cell stands in its column."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tui import format, themes
from tui.widgets.lines import Cell, Line


class Column(NamedTuple):
    """`align` is `<`, `>`, or the sign on which the cells are lined up, as the decimal point. A
    column widens from `width` to what it shows, up to `most`. Columns of a high `rank` are left out
    first where the panel is narrow. The one that `grows` takes the room that is left; what ranks
    behind it gives way to it before its text is cut, and what ranks beside it before it is left
    out. One that `stays` cannot be hidden, and is cut before it is left out: it says which row it
    is, or what is at risk. A text that is too long for it is shortened by `cut`."""

    title: str
    width: int
    align: str = "<"
    rank: int = 0
    most: int = 24
    grows: bool = False
    stays: bool = False
    cut: Callable[[str, int], str] = format.cut


class Columns:
    """The columns of one panel. They widen to what they show and never narrow again, so that a
    number that shrinks does not make its neighbours jump."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._whole = [0] * len(columns)
        self._fraction = [0] * len(columns)
        self._fitted: tuple[int, frozenset[str]] | None = None
        self._gap = 1
        self._placed: list[tuple[int, int]] = []

    @property
    def titles(self) -> Line:
        return tuple((column.title, "head") for column in self._columns)

    def widen(self, cells: Line) -> None:
        """Make room for a row; the next `fit` says whether that moved anything."""
        for number, (text, _) in enumerate(cells):
            whole, fraction = _split(self._columns[number].align, text, format.width(text))
            if whole > self._whole[number] or fraction > self._fraction[number]:
                self._whole[number] = max(whole, self._whole[number])
                self._fraction[number] = max(fraction, self._fraction[number])
                self._fitted = None

    @property
    def shown(self) -> frozenset[str]:
        """The titles of the columns that have room."""
        return frozenset(self._columns[number].title for number, _ in self._placed)

    def fit(self, width: int, hidden: frozenset[str] = frozenset()) -> bool:
        """Choose and size the columns for a panel of `width`, without those whose titles are
        `hidden`; False where they are as before."""
        if (width, hidden) == self._fitted:
            return False
        self._fitted = width, hidden
        kept = [n for n, column in enumerate(self._columns) if column.title not in hidden]
        sizes = [self._size(number) for number in range(len(self._columns))]

        def spare(gap: int) -> int:
            return width - sum(sizes[number] for number in kept) - gap * (len(kept) - 1)

        def leave_out(over_rank: int) -> None:
            while spare(1) < 0 and len(kept) > 1:
                last = max(kept, key=self._leaves)
                if self._columns[last].rank <= over_rank:
                    break
                kept.remove(last)

        growing = next((number for number in kept if self._columns[number].grows), None)
        if growing is not None:
            leave_out(over_rank=self._columns[growing].rank)
            if spare(1) < 0:
                sizes[growing] = self._columns[growing].width
        leave_out(over_rank=0)
        for number in kept:  # what must be seen is cut before any of it is left out
            column = self._columns[number]
            if column.stays:
                sizes[number] = max(column.width, sizes[number] + min(0, spare(1)))
        leave_out(over_rank=-1)
        self._gap = 2 if spare(2) >= 0 else 1
        if growing in kept:
            sizes[growing] += max(0, spare(self._gap))
        self._placed = [(number, sizes[number]) for number in kept]
        return True

    def place(self, cells: Line) -> list[Cell]:
        """`cells` of the columns that have room, each padded to its column."""
        line: list[Cell] = []
        gap = " " * self._gap
        for number, size in self._placed:
            text, style = cells[number]
            text = self._align(number, text, size)
            if line and style in themes.BADGES:
                line.append((gap, "text"))
            elif line:  # a space shows no foreground, so it is drawn with what follows
                text = gap + text
            line.append((text, style))
        return line

    def _leaves(self, number: int) -> tuple[int, bool, int]:
        """The greatest is left out first."""
        column = self._columns[number]
        return column.rank, not column.grows, number

    def _size(self, number: int) -> int:
        column = self._columns[number]
        seen = self._whole[number] + self._fraction[number]
        return max(column.width, len(column.title), min(seen, column.most))

    def _align(self, number: int, text: str, size: int) -> str:
        column, taken = self._columns[number], format.width(text)
        if taken > size:
            text = column.cut(text, size)
            taken = format.width(text)
        padding, align = size - taken, column.align
        if align == "<":
            return text + " " * padding
        if align != ">" and text != column.title:
            after = min(padding, self._fraction[number] - _split(align, text, taken)[1])
            return " " * (padding - after) + text + " " * after
        return " " * padding + text


def _split(align: str, text: str, width: int) -> tuple[int, int]:
    """The cells of `text`, `width` of them, before the sign that lines a column up, and from it
    on."""
    point = -1 if align in "<>" else text.rfind(align)
    return (width, 0) if point < 0 else (point, width - point)
