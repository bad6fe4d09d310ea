"""The P&L panel: what each strategy made."""

from collections.abc import Hashable, Sequence
from decimal import Decimal
from typing import ClassVar

from engine.view.snapshot import PnlRow
from tui import format, oldness
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Cell, Line


class Pnl(LineTable[PnlRow]):
    """After commissions and in parts; over all positions that the strategy ever had."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("strategy", 8, stays=True, cut=format.cut_middle),
        Column("P&L", 7, ".", stays=True),
        Column("realised", 8, ".", rank=1),
        Column("unrealised", 8, ".", rank=2),
        Column("fees", 5, ".", rank=3),
        Column("open", 4, ">", rank=5),
        Column("entries today", 13, ">", rank=4),
    )
    empty = "no strategy"

    def rows(self, frame: Frame) -> Sequence[PnlRow]:
        if frame.snapshot is None:
            return ()
        self._old = {r.strategy: oldness.old_prices(frame, r.strategy) for r in frame.snapshot.pnl}
        return frame.snapshot.pnl

    def aged(self, row: PnlRow) -> str:
        return "" if self._old[row.strategy] is None else oldness.SIGN

    def row_id(self, row: PnlRow) -> Hashable:
        return row.strategy

    def cells(self, row: PnlRow) -> Line:
        old = self._old[row.strategy]
        return (
            (row.strategy, "strong"),
            _signed(row.total, old),
            _signed(row.realised),
            _signed(row.unrealised, old),
            (format.money(row.commission), "dim"),
            (str(row.held), "text"),
            (str(row.entries), "text"),
        )

    def note(self, frame: Frame) -> str:
        totals = [row.total for row in self.rows(frame)]
        known = [total for total in totals if total is not None]
        total = sum(known, Decimal(0)) if len(known) == len(totals) else None
        old = oldness.old_prices(frame)
        shown, _ = oldness.number(format.money(total, signed=True), "", old)
        return oldness.noted(f"all {shown}", oldness.words(old))


def _signed(amount: Decimal | None, old: int | None = None) -> Cell:
    text = format.money(amount, signed=True)
    return oldness.number(text, format.direction(text), old)
