"""The keys that every table has besides those that move: filter, sort, columns, details, copy,
export."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast

from msgspec import Struct
from textual import events
from textual.actions import SkipAction
from textual.message import Message

from engine.core.text import clean
from tui import format
from tui.preferences import Arrangement
from tui.widgets.choosing import Choice, Read
from tui.widgets.columns import Column
from tui.widgets.lines import Line
from tui.widgets.panel import Panel

Row = TypeVar("Row", bound=Struct)

MOST_TYPED = 60
"""Characters of a filter; a paste is cut there."""


class TableKeys(Panel, Generic[Row]):
    """What a table does with its rows. They are found again by their ids in every frame."""

    columns: ClassVar[tuple[Column, ...]] = ()
    parts: ClassVar[tuple[str, ...]] = ("",)
    """What can be shown alone, by its name; all comes first."""

    class DetailAsked(Message):
        """The operator wants to see all of a row: `find` gives it as it is now, None once it is
        gone; `row` is what it was."""

        def __init__(self, title: str, row: Struct, find: Callable[[], Struct | None]) -> None:
            super().__init__()
            self.title = title
            self.row = row
            self.find = find

    class ExportAsked(Message):
        """The operator wants `rows` in a file, with all fields; some of their columns are `hidden`
        where that is True."""

        def __init__(self, name: str, rows: Sequence[Struct], hidden: bool) -> None:
            super().__init__()
            self.name = name
            self.rows = rows
            self.hidden = hidden

    class ColumnsAsked(Message):
        """The operator wants to choose the columns of the table."""

        def __init__(self, table: "TableKeys[Any]") -> None:
            super().__init__()
            self.table = table

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._choice = Choice(Read(self.row_id, self.aged, self.cells))
        self._editing = False
        self.alone = self.parts[0]
        """The part of the rows that is shown alone."""
        self.hidden_columns: frozenset[str] = frozenset()
        """The titles of the columns that the operator does not want to see."""
        self._all: Sequence[Row] = ()
        """The rows before the filter."""
        self._rows: Sequence[Row] = ()

    # --- what a table says -----------------------------------------------------------------------

    def row_id(self, row: Row) -> Hashable:
        """What names `row` from one snapshot to the next."""
        return id(row)

    def aged(self, row: Row) -> str:
        """What of a row's text changes while the row does not: its age."""
        return ""

    def cells(self, row: Row) -> Line:
        """One cell a column."""
        return ()

    @property
    def is_typing(self) -> bool:
        return self._editing

    @property
    def selected_row(self) -> Row | None:
        raise NotImplementedError

    def rechoose(self) -> None:
        """Show what the filter and the sort leave of the rows now."""
        raise NotImplementedError

    def choose_row(self) -> None:
        """Select a row where none is."""
        raise NotImplementedError

    def searched(self) -> None:
        """The operator has chosen what to look for: a table may ask for more of it."""

    @property
    def headline(self) -> str:
        """The panel's name, its filter and its sort, and that columns are hidden."""
        choice, text = self._choice, self.id or ""
        if choice.words or self._editing:
            cursor = "▏" if self._editing else ""
            text += f" /{choice.words}{cursor} {len(self._rows)} of {len(self._all)}"
        if choice.column is not None:
            text += f" by {self.columns[choice.column].title}"
            text += f" {format.DOWN if choice.falling else format.UP}"
        if self.alone:
            text += f" · {self.alone} alone"
        if self.hidden_columns:
            text += f" · {format.plural(len(self.hidden_columns), 'column')} hidden"
        return text

    # --- how it is left --------------------------------------------------------------------------

    @property
    def arrangement(self) -> Arrangement:
        choice = self._choice
        column = "" if choice.column is None else self.columns[choice.column].title
        hidden = tuple(c.title for c in self.columns if c.title in self.hidden_columns)
        return Arrangement(choice.words, column, choice.falling, self.alone, hidden)

    def put_back(self, left: Arrangement) -> None:
        """Be as it was left, as far as there still is such a column and such a part."""
        titles = [column.title for column in self.columns]
        choice = self._choice
        choice.words, choice.falling = clean(left.words, MOST_TYPED), left.falling
        choice.column = titles.index(left.column) if left.column in filter(None, titles) else None
        if left.alone in self.parts:
            self.alone = left.alone
        hideable = frozenset(column.title for column in self.hideable)
        self.hidden_columns = hideable.intersection(left.hidden)

    def next_part(self) -> None:
        """Show the next part alone, or all again."""
        following = (self.parts.index(self.alone) + 1) % len(self.parts)
        self.alone = self.parts[following]
        self.post_message(self.Arranged())

    # --- filter and sort -------------------------------------------------------------------------

    def action_filter(self) -> None:
        self._edit(True, self._choice.words)

    def action_clear(self) -> None:
        if not self._choice.words:
            raise SkipAction
        self._edit(False, "")

    def _edit(self, editing: bool, words: str) -> None:
        self._editing, self._choice.words = editing, words[:MOST_TYPED]
        self.rechoose()
        if not editing:
            self.searched()
            self.post_message(self.Arranged())

    def on_key(self, event: events.Key) -> None:
        """While a filter is typed its keys are letters. The key that begins it is taken here: its
        binding is found after the key has bubbled up, when letters typed in one go are past."""
        if not self._editing:
            active = self.screen.active_bindings.get(event.key)
            if active is not None and active.node is self and active.binding.action == "filter":
                self.action_filter()
                event.stop()
                event.prevent_default()
            return
        words = self._choice.words
        if event.key in ("enter", "escape"):
            self._edit(False, words if event.key == "enter" else "")
            self.choose_row()
        elif event.key == "backspace":
            self._edit(True, words[:-1])
        elif event.is_printable and event.character:
            self._edit(True, words + event.character)
        else:
            return
        event.stop()
        event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        if self._editing:
            self._edit(True, self._choice.words + clean(event.text, MOST_TYPED))

    def on_blur(self) -> None:
        if self._editing:
            self._edit(False, self._choice.words)

    def action_sort(self, step: int) -> None:
        """Sort by the next column that has a title and is not hidden; before the first is the
        table's own order."""
        hidden, here = self.hidden_columns, self._choice.column
        titled = [(number, c.title) for number, c in enumerate(self.columns) if c.title]
        order = [None, *(n for n, title in titled if title not in hidden or n == here)]
        self._choice.column = order[(order.index(self._choice.column) + step) % len(order)]
        self.rechoose()
        self.post_message(self.Arranged())

    def action_reverse(self) -> None:
        self._choice.falling = not self._choice.falling
        self.rechoose()
        self.post_message(self.Arranged())

    # --- columns ---------------------------------------------------------------------------------

    @property
    def hideable(self) -> tuple[Column, ...]:
        """The columns that the operator may hide."""
        return tuple(column for column in self.columns if column.title and not column.stays)

    def action_columns(self) -> None:
        if self.hideable:
            self.post_message(self.ColumnsAsked(self))
        else:
            self.say("this panel has no column that can be hidden", "warn")

    def toggle_column(self, title: str) -> None:
        """Hide the column, or show it again."""
        self.hidden_columns ^= {title}
        self.rechoose()
        self.post_message(self.Arranged())

    # --- one row, all rows -----------------------------------------------------------------------

    def action_open(self) -> None:
        """Show all fields of the selected row."""
        row = self.selected_row
        if row is not None:
            name = self.row_id(row)
            self.post_message(self.DetailAsked(self.id or "", row, lambda: self._find(name)))

    def _find(self, name: Hashable) -> Row | None:
        return next((row for row in self._all if self.row_id(row) == name), None)

    def action_copy(self) -> None:
        """The selected row, all columns, to the terminal's clipboard (OSC 52)."""
        row = self.selected_row
        if row is None:
            self.say("no row is selected", "warn")
            return
        text = "\t".join(clean(cell.strip()) for cell, _ in self.cells(row))
        self.app.copy_to_clipboard(text)
        self.say(f"copied: {' '.join(text.split())}")

    def action_export(self) -> None:
        rows = cast("Sequence[Struct]", self._rows)
        self.post_message(self.ExportAsked(self.id or "", tuple(rows), bool(self.hidden_columns)))
