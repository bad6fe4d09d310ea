"""The signals panel: what the strategies wanted, and what came of it."""

from collections.abc import Hashable, Sequence

from engine.core.model import Instrument
from engine.snapshot import SignalRow
from tui import format
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line

_OUTCOMES = {"order": ("order", "good"), "blocked": ("BLOCKED", "warn")}


class Signals(LineTable[SignalRow]):
    """Newest first."""

    columns = (
        Column("time", 8),
        Column("strategy", 8, rank=3, most=16),
        Column("symbol", 7),
        Column("side", 4),
        Column("price", 8, ".", rank=2),
        Column("outcome", 7),
        Column("strength", 8, ">", rank=4),
        Column("why", 10, rank=1, most=40, grows=True),
    )
    empty = "no signal in this session"

    def rows(self, frame: Frame) -> Sequence[SignalRow]:
        if frame.snapshot is None:
            return ()
        self._instruments = frame.instruments
        return sorted(frame.snapshot.signals, key=lambda row: -row.seq)

    def row_id(self, row: SignalRow) -> Hashable:
        return row.seq

    def cells(self, row: SignalRow) -> Line:
        signal = row.signal
        instrument: Instrument | None = self._instruments.get(signal.symbol)
        values = " ".join(f"{name}={value:.6g}" for name, value in signal.indicators.items())
        return (
            (format.clock(signal.ts), "dim"),
            (signal.strategy, "text"),
            (signal.symbol, "strong"),
            format.side(signal.side),
            (format.price(signal.price, instrument), "text"),
            _OUTCOMES.get(row.outcome, (format.DASH, "dim")),
            (format.number(signal.strength, 2), "dim"),
            (row.note or signal.reason or values, "dim"),
        )

    def note(self, frame: Frame) -> str:
        rows = frame.snapshot.signals if frame.snapshot else ()
        blocked = sum(row.outcome == "blocked" for row in rows)
        return f"{len(rows)} · {blocked} blocked" if blocked else f"{len(rows)}"
