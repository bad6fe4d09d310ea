"""The fills panel: every execution, with the order that it is of."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

from engine.core.model import Liquidity, Side
from engine.view.questions import Chain, FillPage, Question, WhyFill
from engine.view.questions import Fills as AskFills
from engine.view.snapshot import FillRow, Snapshot
from tui import commands, format
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.history import PAGE, History, words_of
from tui.widgets.lines import Line

TAKEN_BACK = "TAKEN BACK"


class Fills(History[FillRow, FillPage]):
    """Newest first, those of former times too. One that the venue took back stays, and says so."""

    BINDINGS: ClassVar = commands.bindings("fills")
    vocabulary = words_of(Side)
    columns = (
        Column("time", 14),
        Column("symbol", 7, stays=True),
        Column("side", 4, stays=True),
        Column("qty", 5, ".", stays=True),
        Column("price", 8, ".", stays=True),
        Column("commission", 6, ".", rank=1, most=12),
        Column("state", 5, most=len(TAKEN_BACK), stays=True),
        Column("strategy", 8, rank=2, most=16, cut=format.cut_middle),
        Column("client order id", 8, rank=3, most=18),
        Column("execution id", 8, rank=4, most=24),
        Column("venue", 5, rank=5, most=16),
        Column("venue order id", 8, rank=6, most=24),
        Column("liquidity", 5, rank=7, most=9),
    )
    empty = "no fill yet"

    def newest(self, snapshot: Snapshot) -> Sequence[FillRow]:
        return snapshot.fills

    def first_question(self, word: str) -> Question[FillPage]:
        return AskFills(text=word, count=PAGE)

    def rows_of(self, page: FillPage) -> Sequence[FillRow]:
        return page.fills

    def is_newer(self, row: FillRow, known: FillRow) -> bool:
        return row.is_reversed or not known.is_reversed

    def about(self) -> str:
        return self.selected_row.fill.symbol if self.selected_row else ""

    def rows(self, frame: Frame) -> Sequence[FillRow]:
        if frame.snapshot is None:
            return ()
        self._instruments, self._names = frame.instruments, frame.names
        return sorted(self.known(frame.snapshot), key=lambda row: -row.fill.ts)

    def row_id(self, row: FillRow) -> Hashable:
        return row.fill.execution_id, row.fill.symbol

    def question(self, row: FillRow) -> Question[Chain]:
        return WhyFill(row.fill.execution_id, row.fill.symbol)

    def cells(self, row: FillRow) -> Line:
        fill, gone = row.fill, row.is_reversed
        tint = "dim" if gone else "text"
        return (
            (format.day_and_clock(fill.ts), "dim"),
            (self._names.get(fill.symbol, fill.symbol), "dim" if gone else "strong"),
            format.side(fill.side, faded=gone),
            (format.quantity(fill.quantity), tint),
            (format.price(fill.price, self._instruments.get(fill.symbol)), tint),
            (format.figure(fill.total_commission, 6), tint),
            (TAKEN_BACK, "warn") if gone else ("", tint),
            (fill.strategy, "dim"),
            (fill.client_order_id, "dim"),
            (fill.execution_id, "dim"),
            (fill.venue or format.DASH, "dim"),
            (fill.venue_order_id or format.DASH, "dim"),
            (format.DASH if fill.liquidity is Liquidity.UNKNOWN else str(fill.liquidity), "dim"),
        )

    def note(self, frame: Frame) -> str:
        gone = sum(row.is_reversed for row in self._all)
        count = format.plural(len(self._all) - gone, "fill")
        text = f"{gone} {TAKEN_BACK} · {count}" if gone else count
        return f"{text} · {self.history}"
