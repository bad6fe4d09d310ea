"""The log panel."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

from engine.view.snapshot import LogLine
from tui import commands, format
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line

LEVELS = {
    "info": ("info", "dim", "text"),
    "warning": ("WARN", "warn", "warn"),
    "error": ("ERROR", "down", "down"),
}


SHOWN = ("", "warnings and errors", "errors")
"""What is shown alone, by the rank of the least level."""


class Log(LineTable[LogLine]):
    """What the engine did, the newest last; it stays at the end unless one scrolls up, or stops
    it."""

    BINDINGS: ClassVar = commands.bindings("log")
    columns = (
        Column("time", 8),
        Column("level", 5, stays=True),
        Column("what", 20, grows=True, stays=True),
    )
    parts = SHOWN
    header = False
    follows = True
    empty = "nothing yet"
    _lines: tuple[LogLine, ...] = ()
    _stopped: tuple[LogLine, ...] | None = None

    def action_level(self) -> None:
        """Show lines of the next level and above alone, or all again."""
        self.next_part()
        self.redraw()

    def action_follow(self) -> None:
        """Show no new lines, or follow them again."""
        self._stopped = self._lines if self._stopped is None else None
        self.redraw()
        if self._stopped is None:
            self.action_last_row()

    def rows(self, frame: Frame) -> Sequence[LogLine]:
        self._lines = frame.snapshot.log if frame.snapshot else ()
        lines = self._lines if self._stopped is None else self._stopped
        least = SHOWN.index(self.alone)
        return [line for line in lines if _rank(line) >= least] if least else lines

    def note(self, frame: Frame) -> str:
        if self._stopped is None:
            return ""
        last = self._stopped[-1].seq if self._stopped else -1
        new = sum(line.seq > last for line in self._lines)
        return f"STOPPED · {format.plural(new, 'new line')} · {frame.keys['follow']} follows"

    def row_id(self, row: LogLine) -> Hashable:
        return row.seq, row.text

    def cells(self, row: LogLine) -> Line:
        word, badge, style = LEVELS.get(row.level, (row.level, "text", "text"))
        return (format.clock(row.ts), "dim"), (word, badge), (row.text, style)


def _rank(line: LogLine) -> int:
    """A level that is not known is the highest."""
    return list(LEVELS).index(line.level) if line.level in LEVELS else len(LEVELS)
