"""The recorded sessions."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from tui import commands, format
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line

if TYPE_CHECKING:
    from engine.travel.sessions import RecordedSession

MB = 1024**2


class Sessions(LineTable["RecordedSession"]):
    """When each began, how long it was, what it traded; enter opens the selected one."""

    of_now = True
    BINDINGS: ClassVar = commands.bindings("journal")
    columns = (
        Column("began", 23, stays=True),
        Column("length", 8, ">"),
        Column("mode", 5, stays=True),
        Column("size", 8, ">", rank=1),
        Column("symbols", 12, rank=2, most=60, grows=True),
    )
    empty = "no session is recorded here"

    class Wanted(Message):
        """The list is to be read: `panel` takes it."""

        def __init__(self, panel: "Sessions") -> None:
            super().__init__()
            self.panel = panel

    class OpenAsked(Message):
        """The operator wants to look at a session."""

        def __init__(self, row: "RecordedSession") -> None:
            super().__init__()
            self.row = row

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._sessions: Sequence[RecordedSession] = ()
        self._is_read = False
        self._running_since = 0
        self._running_mb: float | None = None

    def take(self, sessions: "Sequence[RecordedSession]", frame: Frame) -> None:
        """Show `sessions`, which were read anew."""
        self._sessions, self._is_read = sessions, True
        self.refresh()
        self.show(frame)

    def action_open(self) -> None:
        if self.selected_row is not None:
            self.post_message(self.OpenAsked(self.selected_row))

    def rows(self, frame: Frame) -> "Sequence[RecordedSession]":
        snapshot = frame.engine.snapshot
        health = snapshot.health if snapshot else None
        self._running_since = health.started_wall_ts if health else 0
        self._running_mb = health.journal.mb if health and health.journal else None
        return self._sessions

    def row_id(self, row: "RecordedSession") -> Hashable:
        return row.path

    def note(self, frame: Frame) -> str:
        return format.plural(len(self._sessions), "session") if self._is_read else ""

    def _told_empty(self) -> str:
        return super()._told_empty() if self._is_read else "the sessions are being read"

    def aged(self, row: "RecordedSession") -> str:
        return f"{self._runs(row)}|{self._on_disk(row)}"

    def _runs(self, row: "RecordedSession") -> bool:
        return row.started_ts == self._running_since

    def _on_disk(self, row: "RecordedSession") -> str:
        """Of the session that runs now, and not when the list was read."""
        grows = self._runs(row) and self._running_mb is not None
        return f"{format.number(self._running_mb if grows else row.size / MB, 1)} MB"

    def cells(self, row: "RecordedSession") -> Line:
        runs = self._runs(row)
        length = format.age(row.until_ts - row.started_ts)
        return (
            (format.date_and_clock(row.started_ts), "text"),
            ("runs now", "good") if runs else (length if row.mode else format.DASH, "text"),
            (row.mode or format.DASH, "text"),
            (self._on_disk(row), "dim"),
            (row.problem, "warn") if row.problem else (" ".join(row.symbols), "dim"),
        )
