"""The list of a table's columns, of which the operator hides some."""

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

from msgspec import Struct
from textual.binding import Binding

from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line


class ColumnRow(Struct, frozen=True, gc=False):
    """A column by its `title`; `note` says why it is not to be seen, or cannot be hidden."""

    title: str
    is_hidden: bool
    note: str


class ColumnList(LineTable[ColumnRow]):
    """The columns of `table`, in their order."""

    BINDINGS: ClassVar = [Binding("space", "open", "Hide it, or show it again", id="column-hide")]
    columns: ClassVar = (Column("", 1), Column("column", 16), Column("", 20, grows=True))
    header = False
    keeps_cursor = True

    def __init__(self, table: LineTable[Any], *, id: str) -> None:
        super().__init__(id=id)
        self._table = table

    def rows(self, frame: Frame) -> Sequence[ColumnRow]:
        return tuple(self._row(column) for column in self._table.columns if column.title)

    def _row(self, column: Column) -> ColumnRow:
        hidden = column.title in self._table.hidden_columns
        note = "always shown" if column.stays else ""
        if not hidden and not self._table.has_room(column.title):
            note = "no room for it now"
        return ColumnRow(column.title, hidden, note)

    def row_id(self, row: ColumnRow) -> Hashable:
        return row.title

    def cells(self, row: ColumnRow) -> Line:
        sign = ("○", "dim") if row.is_hidden else ("●", "good")
        return sign, (row.title, "dim" if row.is_hidden else "text"), (row.note, "dim")

    def note(self, frame: Frame) -> str:
        hidden = len(self._table.hidden_columns)
        return f"{hidden} hidden" if hidden else "all shown"

    def action_open(self) -> None:
        """Hide the selected column, or show it again."""
        row = self.selected_row
        if row is None:
            return
        if any(column.title == row.title for column in self._table.hideable):
            self._table.toggle_column(row.title)
            self.redraw()
        else:
            self.say(f"{row.title} is always shown: it says which row it is, or what is at risk")
