"""The signals panel: what the strategies wanted, and what came of it."""

from collections.abc import Hashable, Sequence

from engine.core.model import Instrument
from engine.view.questions import Chain, Question, WhySignal
from engine.view.snapshot import SignalRow
from tui import format, oldness
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line

_OUTCOMES = {"order": ("order", "good"), "blocked": ("BLOCKED", "warn")}


class Signals(LineTable[SignalRow]):
    """Newest first."""

    columns = (
        Column("time", 8),
        Column("strategy", 8, rank=3, most=16, cut=format.cut_middle),
        Column("symbol", 7, stays=True),
        Column("side", 4, stays=True),
        Column("price", 8, ".", rank=2),
        Column("outcome", 7, stays=True),
        Column("strength", 8, ">", rank=4),
        Column("why", 10, rank=1, most=40, grows=True),
    )
    empty = "no signal in this session"
    strategy = ""
    """The strategy whose signals are shown, empty for all."""

    def about(self) -> str:
        return self.selected_row.signal.symbol if self.selected_row else ""

    def rows(self, frame: Frame) -> Sequence[SignalRow]:
        if frame.snapshot is None:
            return ()
        self._instruments, self._names = frame.instruments, frame.names
        rows = (row for row in frame.snapshot.signals if self._is_shown(row))
        return sorted(rows, key=lambda row: -row.seq)

    def _is_shown(self, row: SignalRow) -> bool:
        return self.strategy in ("", row.signal.strategy)

    @property
    def headline(self) -> str:
        return super().headline + (f" of {self.strategy}" if self.strategy else "")

    def row_id(self, row: SignalRow) -> Hashable:
        return row.seq

    def question(self, row: SignalRow) -> Question[Chain]:
        return WhySignal(row.seq)

    def cells(self, row: SignalRow) -> Line:
        signal = row.signal
        instrument: Instrument | None = self._instruments.get(signal.symbol)
        values = " ".join(f"{name}={value:.6g}" for name, value in signal.indicators.items())
        return (
            (format.clock(signal.ts), "dim"),
            (signal.strategy, "text"),
            (self._names.get(signal.symbol, signal.symbol), "strong"),
            format.side(signal.side),
            (format.price(signal.price, instrument), "text"),
            _OUTCOMES.get(row.outcome, (format.DASH, "dim")),
            (format.number(signal.strength, 2), "dim"),
            (row.note or signal.reason or values, "dim"),
        )

    def note(self, frame: Frame) -> str:
        rows = self._all
        blocked = sum(row.outcome == "blocked" for row in rows)
        text = f"{len(rows)} · {blocked} blocked" if blocked else f"{len(rows)}"
        return oldness.noted(text, oldness.no_data(frame))
