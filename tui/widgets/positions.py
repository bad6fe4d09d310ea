"""The positions panel."""

from collections.abc import Hashable, Sequence

from engine.core.model import Instrument
from engine.view.questions import Chain, Question, WhyPosition
from engine.view.snapshot import PositionRow
from tui import format, oldness
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Cell, Line


class Positions(LineTable[PositionRow]):
    """All that is held, with the price that each is marked at and where that comes from; of dust it
    says that it is so little."""

    columns = (
        Column("symbol", 7, stays=True),
        Column("qty", 6, ".", stays=True),
        Column("avg", 8, "."),
        Column("mark", 8, "."),
        Column("unrealised", 10, ".", stays=True),
        Column("stop", 8, ".", rank=1, stays=True),
        Column("strategy", 8, rank=2, most=16, cut=format.cut_middle),
        Column("realised", 8, ".", rank=4),
        Column("value", 9, ".", rank=3),
        Column("marked by", 9, rank=1, most=12, stays=True),
        Column("age", 4, ">", rank=5),
    )
    empty = "no position: flat"

    def about(self) -> str:
        return self.selected_row.position.symbol if self.selected_row else ""

    def rows(self, frame: Frame) -> Sequence[PositionRow]:
        if frame.snapshot is None:
            return ()
        self._now, self._names = frame.snapshot.ts, frame.names
        self._instruments, self._stale = frame.instruments, oldness.old_symbols(frame)
        return frame.snapshot.positions

    def row_id(self, row: PositionRow) -> Hashable:
        return row.position.strategy, row.position.symbol

    def question(self, row: PositionRow) -> Question[Chain]:
        return WhyPosition(row.position.strategy, row.position.symbol)

    def aged(self, row: PositionRow) -> str:
        stale = oldness.words(self._stale.get(row.position.symbol))
        mark = stale or row.mark_source or format.DASH
        return f"{mark}|{format.since(row.position.opened_ts, self._now)}"

    def cells(self, row: PositionRow) -> Line:
        position = row.position
        instrument = self._instruments.get(position.symbol)
        mark, age = self.aged(row).split("|")[:2]
        old = self._stale.get(position.symbol)
        gain = format.money(row.unrealised_pnl, signed=True)
        realised = format.money(row.realised_pnl, signed=True)
        return (
            (self._names.get(position.symbol, position.symbol), "strong"),
            (format.quantity(position.quantity), "text"),
            (format.price(position.avg_price, instrument), "text"),
            oldness.number(format.price(row.mark, instrument), "text", old),
            oldness.number(gain, format.direction(gain), old),
            _stop(row, instrument),
            (position.strategy, "dim"),
            (realised, format.direction(realised)),
            oldness.number(format.money(row.value), "text", old),
            (mark, "dim" if old is None else "warn"),
            (age, "dim"),
        )

    def note(self, frame: Frame) -> str:
        rows = frame.snapshot.positions if frame.snapshot else ()
        gains = [row.unrealised_pnl for row in rows]
        total = None if any(gain is None for gain in gains) else sum(filter(None, gains))
        if not rows:
            return "flat"
        kept = next((f" · NOT FLAT: {row.not_flat}" for row in rows if row.not_flat), "")
        dust = sum(row.dust for row in rows)
        count = f"{len(rows) - dust} and {dust} dust" if dust else f"{len(rows)}"
        old = oldness.old_prices(frame)
        shown, _ = oldness.number(format.money(total, signed=True), "", old)
        return oldness.noted(f"{count} · unrealised {shown}", oldness.words(old)) + kept


def _stop(row: PositionRow, instrument: Instrument | None) -> Cell:
    """The price of the stop at the broker; a position without one, or with one that is smaller,
    says so, and dust that it cannot have one."""
    if row.stop_price is None:
        return ("dust", "dim") if row.dust else ("NONE", "warn")
    if row.unprotected:
        return (f"PART {format.price(row.stop_price, instrument)}", "warn")
    return (format.price(row.stop_price, instrument), "text")
