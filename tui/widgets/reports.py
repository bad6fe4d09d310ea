"""The panels of the research screen: reports that are kept, the run under way, two reports side by
side."""

from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import ClassVar

from msgspec import Struct
from textual.message import Message

from tui import commands, format
from tui.frame import Frame
from tui.research import Document, Report, Run
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line, Lines
from tui.widgets.panel import Panel

_SPARK = "▁▂▃▄▅▆▇█"
_SPARK_CELLS = 16
_BAR_CELLS = 24


class Reports(LineTable[Report]):
    """The reports that are kept, the newest first."""

    BINDINGS: ClassVar = commands.bindings("research")
    keeps_cursor = True
    columns = (
        Column("made, UTC", 14),
        Column("strategy", 8, most=16),
        Column("return", 8, "."),
        Column("sharpe", 6, ".", rank=1),
        Column("drawdown", 8, ".", rank=2),
        Column("trips", 5, ">", rank=3),
        Column("symbols", 7, rank=4, most=24),
        Column("parameters", 10, rank=5, most=40, grows=True),
    )
    empty = "no report yet: n starts a backtest"
    reports: tuple[Report, ...] = ()
    compared = ""
    """The name of the report that the selected one is compared with."""

    class NewAsked(Message):
        """The operator wants to start a backtest."""

    class CompareAsked(Message):
        """The operator wants other reports to be compared with the selected one, or no more."""

    class StopAsked(Message):
        """The operator wants the run under way to end."""

    def action_backtest(self) -> None:
        self.post_message(self.NewAsked())

    def action_compare(self) -> None:
        self.post_message(self.CompareAsked())

    def action_stop_run(self) -> None:
        self.post_message(self.StopAsked())

    def rows(self, frame: Frame) -> Sequence[Report]:
        return self.reports

    def row_id(self, row: Report) -> Hashable:
        return row.name

    def aged(self, row: Report) -> str:
        return "compared" if row.name == self.compared else ""

    def cells(self, row: Report) -> Line:
        made = (f"{_made(row.name)}{' =' if self.aged(row) else ''}", "dim")
        document = row.document
        if document is None:
            return made, (row.fault, "warn"), *((("", "dim"),) * (len(self.columns) - 2))
        figures = document.statistics
        gain = _percent(figures.total_return, signed=True)
        values = " ".join(f"{name}={value}" for name, value in document.parameters.items())
        return (
            made,
            (document.strategy, "strong"),
            (gain, format.direction(gain)),
            (format.number(figures.sharpe, 2), "text"),
            (_percent(figures.drawdown.depth), "text"),
            (f"{figures.round_trips.count:,}", "text"),
            (", ".join(document.symbols), "text"),
            (values, "dim"),
        )

    def note(self, frame: Frame) -> str:
        return format.plural(len(self.reports), "report")


def _made(name: str) -> str:
    """When a report was made, as its file's name tells."""
    try:
        made = datetime.strptime(name.partition("-")[0], "%Y%m%dT%H%M%S.%f%z")
    except ValueError:
        return format.DASH
    return f"{made:%y-%m-%d %H:%M}"


class RunPanel(Panel, Lines):
    """The run that is under way, or how the last one ended."""

    run: Run | None = None

    def show(self, frame: Frame) -> None:
        run = self.run
        if run is None:
            self.entitle("run", "")
            self.update([(("no backtest is running: n starts one", "dim"),)])
            return
        self.entitle("run", "" if run.is_over else f"process {run.pid or format.DASH}, x cancels")
        self.update([((str(run.request), "text"),), *_progress(run)])


def _progress(run: Run) -> list[Line]:
    match run.state:
        case "failed":
            first, *rest = run.why.splitlines()
            return [(("FAILED ", "down"), (first, "text")), *(((line, "text"),) for line in rest)]
        case "cancelled":
            return [(("CANCELLED", "warn"), (" no report of a run that is not over", "text"))]
        case "done":
            return [(("DONE", "good"), (f" {run.done:,} bars, kept as {run.kept}", "text"))]
        case "starting":
            return [(("starting …", "dim"),)]
        case _:
            share = run.done / run.total if run.total else None
            told = f" {format.share(share)}  {run.done:,} of {run.total:,} bars"
            return [((format.bar(share, _BAR_CELLS), "info"), (told, "text"))]


# --- two reports side by side --------------------------------------------------------------------


class Figure(Struct, frozen=True, gc=False):
    """A figure of the selected report, of the one that it is compared with, and what is between
    them."""

    name: str
    value: str
    compared: str = ""
    change: str = ""


class ReportPanel(LineTable[Figure]):
    columns = (
        Column("", 12),
        Column("selected", 10, ">", most=_SPARK_CELLS),
        Column("compared", 10, ">", most=_SPARK_CELLS),
        Column("change", 8, ">", rank=1),
    )
    empty = "no report is selected"
    first: Document | None = None
    second: Document | None = None

    def rows(self, frame: Frame) -> Sequence[Figure]:
        return tuple(_figures(self.first, self.second)) if self.first is not None else ()

    def row_id(self, row: Figure) -> Hashable:
        return row.name

    def cells(self, row: Figure) -> Line:
        return (
            (row.name, "head"),
            (row.value, "text"),
            (row.compared, "text"),
            (row.change, format.direction(row.change) if row.change else "text"),
        )

    def note(self, frame: Frame) -> str:
        return "" if self.second is None else "change: selected less compared"


def _figures(first: Document, second: Document | None) -> list[Figure]:
    """What both reports say, first in words, then in numbers."""
    words = [
        Figure(name, value, other)
        for (name, value), (_, other) in zip(_words(first), _words(second or first), strict=True)
    ]
    numbers = [
        Figure(name, _told(value, kind), _told(other, kind), _change(value, other, kind))
        for (name, value, kind), (_, other, _) in zip(
            _numbers(first), _numbers(second or first), strict=True
        )
    ]
    figures = [*words, *numbers]
    if second is None:
        return [Figure(figure.name, figure.value) for figure in figures]
    return figures


def _words(document: Document) -> list[tuple[str, str]]:
    given = " ".join(f"{name}={value}" for name, value in document.parameters.items())
    return [
        ("strategy", document.strategy),
        ("parameters", given),
        ("symbols", ", ".join(document.symbols)),
        ("from", document.start[:16].replace("T", " ")),
        ("to", document.end[:16].replace("T", " ")),
        ("equity", spark([point.equity for point in document.equity_curve])),
        ("stopped", format.plural(len(document.stops), "time")),
    ]


def _numbers(document: Document) -> list[tuple[str, float | None, str]]:
    """Name, value, and how it is written: as a share, an amount, a ratio or a count."""
    figures, trips = document.statistics, document.statistics.round_trips
    return [
        ("return", figures.total_return, "share"),
        ("final equity", figures.final_equity, "amount"),
        ("CAGR", figures.cagr, "share"),
        ("volatility", figures.volatility, "share"),
        ("Sharpe", figures.sharpe, "amount"),
        ("Sortino", figures.sortino, "amount"),
        ("max drawdown", figures.drawdown.depth, "share"),
        ("round trips", trips.count, "count"),
        ("win rate", trips.win_rate, "share"),
        ("profit factor", trips.profit_factor, "amount"),
        ("expectancy", trips.expectancy, "amount"),
        ("exposure", figures.exposure_time, "share"),
        ("commission", float(figures.commission), "amount"),
        ("slippage", float(figures.slippage), "amount"),
        ("bars", document.bars, "count"),
    ]


def _told(value: float | None, kind: str, *, signed: bool = False) -> str:
    if kind == "share":
        return _percent(value, signed=signed)
    return format.number(value, 0 if kind == "count" else 2, signed=signed)


def _change(value: float | None, other: float | None, kind: str) -> str:
    if value is None or other is None:
        return format.DASH
    return _told(value - other, kind, signed=True)


def _percent(share: float | None, *, signed: bool = False) -> str:
    return format.percent(None if share is None else share * 100, signed=signed)


def spark(values: Sequence[float]) -> str:
    """`values` as a line of bars between the lowest and the highest of them."""
    if not values:
        return format.DASH
    cells = min(_SPARK_CELLS, len(values))
    chosen = [values[(at + 1) * len(values) // cells - 1] for at in range(cells)]
    low, high = min(chosen), max(chosen)
    scale = (len(_SPARK) - 1) / (high - low) if high > low else 0.0
    return "".join(_SPARK[round((value - low) * scale)] for value in chosen)
