"""The log panel."""

from collections.abc import Hashable, Sequence

from engine.snapshot import LogLine
from tui import format
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line

LEVELS = {
    "info": ("info", "dim", "text"),
    "warning": ("WARN", "warn", "warn"),
    "error": ("ERROR", "down", "down"),
}


class Log(LineTable[LogLine]):
    """What the engine did, the newest last; it stays at the end unless one scrolls up."""

    columns = (Column("time", 8), Column("level", 5), Column("what", 20, grows=True))
    header = False
    follows = True
    empty = "nothing yet"

    def rows(self, frame: Frame) -> Sequence[LogLine]:
        return frame.snapshot.log if frame.snapshot else ()

    def row_id(self, row: LogLine) -> Hashable:
        return row.seq, row.text

    def cells(self, row: LogLine) -> Line:
        word, badge, style = LEVELS.get(row.level, (row.level, "text", "text"))
        return (format.clock(row.ts), "dim"), (word, badge), (row.text, style)
