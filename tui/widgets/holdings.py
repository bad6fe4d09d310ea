"""The positions panel of the positions screen: all that is known of each."""

from collections.abc import Sequence
from typing import ClassVar

from engine.view.snapshot import PositionRow
from tui import format
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.lines import Line
from tui.widgets.positions import Positions


class Holdings(Positions):
    """As on the desk, with the age of the mark price, how much has no stop, and what share of the
    equity each position is."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("symbol", 7, stays=True),
        Column("qty", 6, ".", stays=True),
        Column("avg", 8, "."),
        Column("mark", 8, "."),
        Column("unrealised", 10, ".", stays=True),
        Column("stop", 8, ".", rank=1, stays=True),
        Column("value", 9, ".", rank=3),
        Column("share", 6, ".", rank=2),
        Column("marked by", 9, rank=1, most=12, stays=True),
        Column("no stop", 7, ".", rank=5, stays=True),
        Column("mark age", 8, ">", rank=6),
        Column("realised", 8, ".", rank=7),
        Column("strategy", 8, rank=8, most=20, cut=format.cut_middle),
        Column("age", 4, ">", rank=9),
    )

    def rows(self, frame: Frame) -> Sequence[PositionRow]:
        rows = super().rows(frame)
        if frame.snapshot is not None:
            self._equity = frame.snapshot.equity
            self._marked = {row.symbol: row.ts for row in frame.snapshot.quotes}
        return rows

    def aged(self, row: PositionRow) -> str:
        marked = format.since(self._marked.get(row.position.symbol, 0), self._now)
        value, equity, share = row.value, self._equity, None
        if value is not None and equity is not None and equity > 0:
            share = float(value / equity * 100)
        return f"{super().aged(row)}|{marked}|{format.percent(share, signed=False)}"

    def cells(self, row: PositionRow) -> Line:
        symbol, quantity, avg, mark, gain, stop, strategy, realised, value, source, age = (
            super().cells(row)
        )
        marked, share = self.aged(row).split("|")[2:]
        bare = (format.quantity(row.unprotected), "warn" if row.unprotected else "dim")
        return (
            *(symbol, quantity, avg, mark, gain, stop, value, (share, value[1]), source, bare),
            *((marked, source[1]), realised, strategy, age),
        )
