"""The table of alerts."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

from engine.view.snapshot import AlertRow
from tui import format
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line
from tui.widgets.log import LEVELS


class Alerts(LineTable[AlertRow]):
    """The latest first."""

    columns: ClassVar = (
        Column("time", 14),
        Column("level", 5, rank=2, stays=True),
        Column("times", 5, ">", rank=1),
        Column("state", 6, stays=True),
        Column("what", 20, grows=True, stays=True),
    )
    empty = "nothing went wrong"
    keeps_cursor = True

    def rows(self, frame: Frame) -> Sequence[AlertRow]:
        return frame.snapshot.alerts if frame.snapshot else ()

    def row_id(self, row: AlertRow) -> Hashable:
        return row.name

    def cells(self, row: AlertRow) -> Line:
        word, badge, style = LEVELS.get(row.level, (row.level, "text", "text"))
        read = bool(row.acknowledged_by)
        known = "lasts" if row.lasts else "over"
        state = "read" if read else "unread" if row.holds and not (row.lasts or row.over) else known
        return (
            (format.day_and_clock(row.ts), "dim"),
            (word, "dim" if read else badge),
            (f"×{row.count}", "dim"),
            (state, "dim" if read else "warn"),
            (row.text, "dim" if read else style),
        )

    def note(self, frame: Frame) -> str:
        unread = len(frame.snapshot.unread) if frame.snapshot else 0
        return f"{unread} to acknowledge"
