"""The strategies panel."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

from textual.message import Message

from engine.view.snapshot import StrategyRow
from tui import commands, format, oldness
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line

_STATES = {
    "on": ("● on", "good"),
    "off": ("○ off", "dim"),
    "paused": ("‖ PAUSED", "warn"),
    "killed": ("■ KILLED", "down"),
    "failed": ("✗ FAILED", "down"),
    "broken": ("✗ BROKEN", "down"),
}


class Strategies(LineTable[StrategyRow]):
    """State, warm-up, today's entries and P&L of each; space switches the selected one."""

    BINDINGS: ClassVar = commands.bindings("strategies")
    columns = (
        Column("strategy", 10, stays=True, cut=format.cut_middle),
        Column("state", 8, stays=True),
        Column("P&L", 8, ".", rank=1),
        Column("entries today", 13, ">", rank=5),
        Column("losing run", 10, ">", rank=4),
        Column("warm", 5, ">", rank=3),
        Column("last", 4, rank=6),
        Column("symbols", 8, rank=7, most=28),
        Column("parameters", 10, rank=5, grows=True),
    )
    empty = "no strategy found"

    class Switched(Message):
        """The operator wants the strategy switched to its other state."""

        def __init__(self, row: StrategyRow) -> None:
            super().__init__()
            self.row = row

    class ReloadAsked(Message):
        """The operator wants the strategy made anew from its file."""

        def __init__(self, row: StrategyRow) -> None:
            super().__init__()
            self.row = row

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._used: dict[str, int] = {}
        """The place of each that trades, or did: that in which they began to."""

    def action_reload(self) -> None:
        if self.selected_row is not None:
            self.post_message(self.ReloadAsked(self.selected_row))

    def action_switch(self) -> None:
        if self.selected_row is not None:
            self.post_message(self.Switched(self.selected_row))

    def rows(self, frame: Frame) -> Sequence[StrategyRow]:
        """Those that trade, or did, come first: of many that are off they would not be in sight.
        One that is switched on comes after them, one that is switched off stays where it is: the
        next row is the one that was to be switched next."""
        rows = frame.snapshot.strategies if frame.snapshot else ()
        self._old = {row.name: oldness.old_prices(frame, row.name) for row in rows}
        for row in rows:
            if row.state != "off":
                self._used.setdefault(row.name, len(self._used))
        return sorted(rows, key=lambda row: self._used.get(row.name, len(self._used)))

    def aged(self, row: StrategyRow) -> str:
        return "" if self._old[row.name] is None else oldness.SIGN

    def row_id(self, row: StrategyRow) -> Hashable:
        return row.name

    def cells(self, row: StrategyRow) -> Line:
        pnl = format.money(row.pnl, signed=True)
        return (
            (row.name, "strong"),
            _STATES.get(row.state, (row.state, "text")),
            oldness.number(pnl, format.direction(pnl), self._old[row.name]),
            (str(row.entries_today), "text"),
            (str(row.consecutive_losses), "text"),
            (f"{row.warm}/{row.required}", "warn" if row.warm < row.required else "dim"),
            format.side(row.last_signal),
            (" ".join(row.symbols), "dim"),
            (row.note, "warn") if row.note else (row.parameters, "dim"),
        )

    def note(self, frame: Frame) -> str:
        rows = frame.snapshot.strategies if frame.snapshot else ()
        on = f"{sum(row.state == 'on' for row in rows)} on of {len(rows)}"
        return oldness.noted(on, oldness.no_data(frame) or oldness.words(oldness.old_prices(frame)))
