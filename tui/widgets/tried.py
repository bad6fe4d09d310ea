"""The panel of what a search or a walk-forward tried."""

from collections.abc import Hashable, Sequence

from msgspec import Struct

from tui import format
from tui.frame import Frame
from tui.reports import Tried
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line
from tui.widgets.reports import pairs, percent


class Row(Struct, frozen=True, gc=False):
    """A trial of a search, or a window of a walk-forward: its `parameters` were the best in sample,
    and its other figures are of what was traded out of sample from `start` to `end`."""

    number: int
    parameters: str
    in_sample: float
    out_of_sample: float | None
    sharpe: float | None
    drawdown: float
    round_trips: int
    win_rate: float | None
    profit_factor: float | None
    start: str = ""
    end: str = ""


class TriedPanel(LineTable[Row]):
    """Of a search every trial, the best first; of a walk-forward every window, the oldest first."""

    of_now = True
    columns = (
        Column("", 2, ">"),
        Column("parameters", 10, most=40, grows=True, stays=True),
        Column("in sample", 9, "."),
        Column("traded", 7, "."),
        Column("drawdown", 8, "."),
        Column("trips", 5, ">", rank=1),
        Column("sharpe", 6, ".", rank=3),
        Column("win rate", 8, ".", rank=4),
        Column("traded from", 16, rank=2),
    )
    empty = "a search lists here what it tried, a walk-forward its windows"

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._kind = ""
        self._tried: list[Row] = []

    def take(self, kind: str, tried: Tried) -> None:
        """Show what a report of `kind` tried, from the next frame on."""
        self._kind, self._tried = kind, _rows(tried)

    def rows(self, frame: Frame) -> Sequence[Row]:
        return self._tried

    def row_id(self, row: Row) -> Hashable:
        return row.number

    def cells(self, row: Row) -> Line:
        searched = percent(row.in_sample, signed=True)
        traded = percent(row.out_of_sample, signed=True)
        return (
            (str(row.number), "dim"),
            (row.parameters, "text"),
            (searched, format.direction(searched)),
            (traded, format.direction(traded)),
            (percent(row.drawdown), "text"),
            (f"{row.round_trips:,}", "text"),
            (format.number(row.sharpe, 2), "text"),
            (percent(row.win_rate), "text"),
            (row.start[:16].replace("T", " ") or format.DASH, "dim"),
        )

    def note(self, frame: Frame) -> str:
        count = len(self._tried)
        if self._kind == "walk-forward":
            return f"{format.plural(count, 'window')}, figures of what was traded"
        if self._kind == "search":
            return f"{format.plural(count, 'trial')}, all figures in sample"
        return ""


def _rows(tried: Tried) -> list[Row]:
    trials = [
        Row(
            number=number,
            parameters=pairs(trial.parameters),
            in_sample=trial.outcome.total_return,
            out_of_sample=None,
            sharpe=trial.outcome.sharpe,
            drawdown=trial.outcome.drawdown,
            round_trips=trial.outcome.round_trips,
            win_rate=trial.outcome.win_rate,
            profit_factor=trial.outcome.profit_factor,
        )
        for number, trial in enumerate(tried.trials, 1)
    ]
    windows = [
        Row(
            number=number,
            parameters=pairs(window.parameters),
            in_sample=window.in_sample.total_return,
            out_of_sample=window.out_of_sample.total_return,
            sharpe=window.out_of_sample.sharpe,
            drawdown=window.out_of_sample.drawdown,
            round_trips=window.out_of_sample.round_trips,
            win_rate=window.out_of_sample.win_rate,
            profit_factor=window.out_of_sample.profit_factor,
            start=window.start,
            end=window.end,
        )
        for number, window in enumerate(tried.windows, 1)
    ]
    return trials + windows
