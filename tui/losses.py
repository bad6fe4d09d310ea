"""The console's own alert: that it did not hear of the engine, which cannot tell it. Pure."""

from msgspec.structs import replace

from engine.view.snapshot import AlertRow, Snapshot
from tui import format
from tui.frame import Frame

NAME = "engine lost"
"""No alert of the engine has this name."""


class Losses:
    """Kept as the engine keeps its own: while the cause lasts, and until a person has acknowledged
    it. It ends with the console."""

    def __init__(self) -> None:
        self._row: AlertRow | None = None

    def see(self, frame: Frame) -> Frame:
        """`frame` with the alert among those of the engine, where there is one."""
        if frame.snapshot is None:
            return frame
        if frame.lost:
            self._raise(frame, frame.snapshot)
        elif self._row is not None and self._row.lasts:
            self._row = None if self._row.acknowledged_by else replace(self._row, lasts=False)
        if self._row is None:
            return frame
        alerts = (self._row, *frame.snapshot.alerts)
        return frame._replace(snapshot=replace(frame.snapshot, alerts=alerts))

    def acknowledge(self) -> None:
        row = self._row
        if row is not None:
            self._row = replace(row, acknowledged_by="this console") if row.lasts else None

    def _raise(self, frame: Frame, snapshot: Snapshot) -> None:
        text = f"engine not heard of for {format.seconds(frame.silence)}"
        if frame.failure is not None:
            text = f"engine ended: {frame.failure}"
        row, ts = self._row, snapshot.ts
        if row is None:
            row = AlertRow(NAME, "error", text, ts, ts, 0, lasts=False, holds=False)
        if not row.lasts:
            row = replace(row, ts=ts, count=row.count + 1, lasts=True, acknowledged_by="")
        self._row = replace(row, text=text)
