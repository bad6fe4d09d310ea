"""Which columns of a table are shown."""

from collections.abc import Callable
from typing import Any

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from tui.dialogs.dialog import BLANK, Dialog, Send, paragraph
from tui.frame import Frame
from tui.widgets.column_list import ColumnList
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line
from tui.widgets.panel import Panel

_KEYS: Line = (
    *(("space", "key"), (" hides it, or shows it again, ", "text")),
    *(("esc", "key"), (" closes", "text")),
)
_AROUND = 12
"""Lines of the dialog besides the rows."""
_LEAST = 5


class ColumnsDialog(Dialog):
    """What is chosen is seen at once behind it, and is there at the next start too."""

    expires = False

    def __init__(
        self, table: LineTable[Any], frame: Frame, clock: Callable[[], float], send: Send
    ) -> None:
        super().__init__(frame, clock, send)
        self.title = f"Columns of {table.id}"
        self._list = ColumnList(table, id="columns")

    def compose(self) -> ComposeResult:
        yield self._strip
        yield self._footer
        with VerticalScroll(can_focus=False) as box:
            box.border_title = self.title
            yield self._list
            yield self._text
            yield self._answer

    def on_mount(self) -> None:
        super().on_mount()
        self._list.focus()

    def show(self, frame: Frame) -> None:
        self._list.show(frame)
        room = self.app.size.height - _AROUND
        self._list.styles.height = max(_LEAST, min(self._list.virtual_size.height + 2, room))
        super().show(frame)

    def lines(self, frame: Frame) -> list[Line]:
        return [
            *paragraph(
                "A filter looks through hidden columns too, and what is copied or saved has all."
            ),
            BLANK,
            _KEYS,
        ]

    def on_panel_said(self, message: Panel.Said) -> None:
        self.say(message.text, message.style)
