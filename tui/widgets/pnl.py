"""The P&L panel: what each strategy made."""

from collections.abc import Hashable, Sequence
from decimal import Decimal
from typing import ClassVar

from engine.snapshot import PnlRow
from tui import format
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Cell, Line


class Pnl(LineTable[PnlRow]):
    """After commissions and in parts; over all positions that the strategy ever had. The trades are
    those of today."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("strategy", 8, most=18, stays=True),
        Column("P&L", 7, ".", stays=True),
        Column("realised", 8, ".", rank=1),
        Column("unrealised", 8, ".", rank=2),
        Column("fees", 5, ".", rank=3),
        Column("open", 4, ">", rank=5),
        Column("trades", 6, ">", rank=4),
    )
    empty = "no strategy"

    def rows(self, frame: Frame) -> Sequence[PnlRow]:
        return frame.snapshot.pnl if frame.snapshot else ()

    def row_id(self, row: PnlRow) -> Hashable:
        return row.strategy

    def cells(self, row: PnlRow) -> Line:
        return (
            (row.strategy, "strong"),
            _signed(row.total),
            _signed(row.realised),
            _signed(row.unrealised),
            (format.money(row.commission), "dim"),
            (str(row.held), "text"),
            (str(row.entries), "text"),
        )

    def note(self, frame: Frame) -> str:
        totals = [row.total for row in self.rows(frame)]
        known = [total for total in totals if total is not None]
        total = sum(known, Decimal(0)) if len(known) == len(totals) else None
        return f"all {format.money(total, signed=True)}"


def _signed(amount: Decimal | None) -> Cell:
    text = format.money(amount, signed=True)
    return text, format.direction(text)
