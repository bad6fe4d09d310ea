"""The table under every panel: drawn line by line, painting only the rows that changed.

Textual's DataTable renders every visible cell again on any change, at ten times the cost; this one
keeps a strip for each visible row and repaints a line only where it reads otherwise than before.
"""

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Generic

from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.view.questions import Chain, Question
from tui import commands
from tui.frame import Frame
from tui.widgets.columns import Columns
from tui.widgets.lines import Line, changed_width, draw
from tui.widgets.table_keys import Row, TableKeys


class _Entry(Generic[Row]):
    """A row as it reads now: its cells, and their strips, plain and selected."""

    __slots__ = ("aged", "cells", "row", "strips")

    def __init__(self, row: Row, aged: str, cells: Line) -> None:
        self.row = row
        self.aged = aged
        self.cells = cells
        self.strips: dict[bool, Strip] = {}


class LineTable(TableKeys[Row], ScrollView, Generic[Row], inherit_bindings=False):
    """A panel with one row a line. A subclass names its columns and says how a row reads."""

    ALLOW_SELECT = False
    BINDINGS: ClassVar = [
        Binding("up", "cursor(-1)", show=False, id="row-up"),
        Binding("down", "cursor(1)", show=False, id="row-down"),
        Binding("pageup", "page(-1)", show=False, id="page-up"),
        Binding("pagedown", "page(1)", show=False, id="page-down"),
        Binding("home", "first_row", show=False, id="row-first"),
        Binding("end", "last_row", show=False, id="row-last"),
        *commands.bindings("table"),
    ]

    class Selected(Message):
        """Another row was selected."""

        def __init__(self, table: "LineTable[Any]") -> None:
            super().__init__()
            self.table = table

    header: ClassVar[bool] = True
    empty: ClassVar[str] = "nothing yet"
    """Told where there is no row; the key of an action is named by its id in braces."""
    follows: ClassVar[bool] = False
    """Does the panel stay at its end while rows are added there?"""
    keeps_cursor: ClassVar[bool] = False
    """Is the selected row shown while another panel is in focus?"""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.selected: Hashable | None = None
        """The id of the selected row: the selection stays with the row, wherever that moves."""
        self._columns = Columns(self.columns)
        self._ids: list[Hashable] = []
        self._entries: dict[Hashable, _Entry[Row]] = {}
        self._painted: dict[int, Strip] = {}
        self._prepared = (-1, Size(0, 0))
        self._note = ""
        self._frame: Frame | None = None
        self._at_end = True

    # --- what a subclass says --------------------------------------------------------------------

    def rows(self, frame: Frame) -> Sequence[Row]:
        """The rows of `frame` in the order in which they are shown."""
        return ()

    def note(self, frame: Frame) -> str:
        """What the lower border says."""
        return ""

    def question(self, row: Row) -> Question[Chain] | None:
        """What asks the engine why there is this row."""
        return None

    def more(self) -> None:
        """The end of the rows is in sight: a table that has not all may bring further ones."""

    # --- frames in -------------------------------------------------------------------------------

    def show(self, frame: Frame) -> None:
        """Draw `frame`, painting only the lines that read otherwise than before."""
        if frame.snapshot is None:
            return
        before, self._frame = self._frame, frame
        self._all = self.rows(frame)
        self._note = self.note(frame)
        if before is None or (before.lost, before.keys) != (frame.lost, frame.keys):
            self._forget_strips()
            self.refresh()
        self.rechoose()

    def redraw(self) -> None:
        """Draw the last frame anew: another choice of rows is to be shown."""
        if self._frame is not None:
            self.show(self._frame)

    def rechoose(self) -> None:
        rows = self._choice.choose(self._all)
        first = not self._rows
        resized = len(rows) != len(self._rows)
        self._rows, self._ids = rows, [self.row_id(row) for row in rows]
        if self.selected not in self._ids:
            self.selected = None
        self.entitle(self.headline, self._note)
        if resized:
            self.virtual_size = Size(0, len(rows) + self._top)
            self.refresh()
            self._follow()
        if first and self.has_focus:
            self._choose()
        self._repaint()

    @property
    def acts(self) -> bool:
        """Whether something can be done to a row: one of the past can be looked at alone."""
        return self._frame is None or self._frame.past is None

    @property
    def selected_row(self) -> Row | None:
        if self.selected not in self._ids:
            return None
        return self._rows[self._ids.index(self.selected)]

    @property
    def why(self) -> Question[Chain] | None:
        """What asks why there is the selected row; None where none is, or nothing can be asked."""
        row = self.selected_row
        return None if row is None else self.question(row)

    def has_room(self, title: str) -> bool:
        """Whether the panel is wide enough for the column, so that it is there where not hidden."""
        return title in self._columns.shown

    # --- painting --------------------------------------------------------------------------------

    @property
    def _top(self) -> int:
        return 1 if self.header else 0

    @property
    def _page(self) -> int:
        return max(1, self.size.height - self._top)

    @property
    def _room(self) -> Size:
        """The size without the scroll bar."""
        return self.scrollable_content_region.size

    def _visible(self) -> range:
        """The rows in sight."""
        first = self.scroll_offset.y
        return range(first, min(first + self._page, len(self._rows)))

    def _prepare(self) -> bool:
        """Bring the visible rows up to date; True where that moved the columns."""
        self._prepared = self.scroll_offset.y, self._room
        self._entries = {self._ids[index]: self._entry(index) for index in self._visible()}
        moved = self._columns.fit(self._room.width, self.hidden_columns)
        if moved:
            self._forget_strips()
        return moved

    def _repaint(self) -> None:
        """Have those lines painted that read otherwise than they were painted."""
        if self._prepare():
            self.refresh()
            return
        for y, index in enumerate(self._visible(), self._top):
            before = self._painted.get(y)
            if before is None:
                continue
            changed = changed_width(before, self._strip(index))
            if changed:
                self.refresh(Region(0, y, changed, 1))

    def _forget_strips(self) -> None:
        """The columns, the colours or the state of the panel changed. What is painted stays known:
        where nothing paints a line again by itself, that is how the next frame finds it."""
        for entry in self._entries.values():
            entry.strips.clear()

    def _entry(self, index: int) -> _Entry[Row]:
        """The row's entry: the known one while the row reads the same."""
        row, known = self._rows[index], self._entries.get(self._ids[index])
        aged = self.aged(row)
        if known is not None and known.row is row and known.aged == aged:
            return known
        cells = self.cells(row)
        if known is not None and known.cells == cells:
            known.row, known.aged = row, aged
            return known
        self._columns.widen(cells)
        return _Entry(row, aged, cells)

    def _strip(self, index: int) -> Strip:
        name = self._ids[index]
        entry = self._entries[name]
        selected = name == self.selected and (self.has_focus or self.keeps_cursor)
        strip = entry.strips.get(selected)
        if strip is None:
            strip = entry.strips[selected] = self._draw(entry.cells, selected)
        return strip

    def _draw(self, cells: Line, selected: bool = False) -> Strip:
        placed = self._columns.place(cells)
        if self._frame is not None and self._frame.lost:
            placed = [(text, "stale") for text, _ in placed]
        return draw(placed, self._prepared[1].width, self.app.theme, selected)

    def render_lines(self, crop: Region) -> list[Strip]:
        if self._prepared != (self.scroll_offset.y, self._room):
            self._prepare()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        index = self.scroll_offset.y + y - self._top
        if y < self._top:
            return self._draw(self._columns.titles)
        if index < len(self._rows):
            strip = self._painted[y] = self._strip(index)
            return strip
        self._painted.pop(y, None)
        note = self._told_empty() if index == 0 else ""
        return draw(((note, "dim"),), self._prepared[1].width, self.app.theme)

    def _told_empty(self) -> str:
        if self._frame is None:
            return "waiting for the engine"
        told = "no row has all these words: {clear} shows all" if self._all else self.empty
        if self.alone and not self._all:
            told = f"none: {self.alone} alone is shown"
        return told.format_map(self._frame.keys)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._forget_strips()

    def on_resize(self) -> None:
        self._follow()
        self._repaint()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._at_end = new_value >= self.max_scroll_y
        self._repaint()
        if self._at_end and new_value > old_value:
            self.more()

    def _follow(self) -> None:
        if self.follows and self._at_end:
            # By force: the bar of rows that just came is not there yet, without which none scrolls.
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True)

    # --- selection -------------------------------------------------------------------------------

    def select(self, index: int) -> None:
        """Select the row at `index`, or the nearest there is, and bring it into view."""
        if self._rows:
            self._go_to_row(min(max(index, 0), len(self._rows) - 1))
        if index >= len(self._rows) - 1:
            self.more()

    def _go_to_row(self, index: int) -> None:
        self.selected = self._ids[index]
        self.post_message(self.Selected(self))
        first = self.scroll_offset.y
        if not first <= index < first + self._page:
            self.scroll_to(y=index if index < first else index - self._page + 1, animate=False)
        self._repaint()

    def select_id(self, id: Hashable) -> None:
        """Select the row that `id` names, if it is there."""
        if id in self._ids:
            self.select(self._ids.index(id))

    def _selected_index(self) -> int | None:
        return self._ids.index(self.selected) if self.selected in self._ids else None

    def action_cursor(self, step: int) -> None:
        index = self._selected_index()
        self.select(self.scroll_offset.y if index is None else index + step)

    def action_page(self, step: int) -> None:
        index = self._selected_index() or 0
        self.select(index + step * self._page)

    def action_first_row(self) -> None:
        self.select(0)

    def action_last_row(self) -> None:
        self.select(len(self._rows) - 1)

    def _choose(self) -> None:
        """Select a row of the panel in focus, whether its rows or the focus came first."""
        if self.selected is None and self._rows:
            self.selected = self._ids[-1 if self.follows else self._visible().start]

    def choose_row(self) -> None:
        self._choose()
        self._repaint()

    def on_focus(self) -> None:
        self.choose_row()

    def on_blur(self) -> None:
        super().on_blur()
        self._repaint()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and offset.y >= self._top:
            self.select(self.scroll_offset.y + offset.y - self._top)
