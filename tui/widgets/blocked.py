"""The blocked panel: which checks blocked signals today."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

from engine.view.snapshot import BlockedRow
from tui import format
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line


class Blocked(LineTable[BlockedRow]):
    """How many signals each check blocked, and the latest of them; the latest first."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("by", 8, most=22, stays=True),
        Column("n", 2, ">", stays=True),
        Column("last", 8),
        Column("symbol", 6, rank=2),
        Column("side", 4, rank=3),
        Column("strategy", 8, rank=4, most=16, cut=format.cut_middle),
        Column("why", 10, rank=1, most=60, grows=True),
    )
    empty = "no signal was blocked"

    def rows(self, frame: Frame) -> Sequence[BlockedRow]:
        if frame.snapshot is None:
            return ()
        self._names = frame.names
        return frame.snapshot.blocked

    def row_id(self, row: BlockedRow) -> Hashable:
        return row.check

    def cells(self, row: BlockedRow) -> Line:
        signal = row.signal
        return (
            (format.words(row.check), "warn"),
            (str(row.count), "strong"),
            (format.clock(signal.ts), "dim"),
            (self._names.get(signal.symbol, signal.symbol), "text"),
            format.side(signal.side),
            (signal.strategy, "dim"),
            (row.reason, "dim"),
        )

    def note(self, frame: Frame) -> str:
        snapshot = frame.snapshot
        if snapshot is None:
            return ""
        count = sum(row.count for row in snapshot.blocked)
        return f"{format.plural(count, 'signal')} since {format.clock(snapshot.blocked_since_ts)}"
