"""The panels of reports: those that are kept, and two of them side by side."""

from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from tui import format
from tui.frame import Frame
from tui.reports import Document, Report
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line

_SPARK = "▁▂▃▄▅▆▇█"
_SPARK_CELLS = 16


class Reports(LineTable[Report]):
    """The reports that are kept, the newest first."""

    of_now = True
    keeps_cursor = True
    columns = (
        Column("made, UTC", 14, stays=True),
        Column("kind", 8, rank=1, most=12),
        Column("strategy", 8, most=16, cut=format.cut_middle),
        Column("return", 8, "."),
        Column("sharpe", 6, ".", rank=2),
        Column("drawdown", 8, ".", rank=2),
        Column("trips", 5, ">", rank=3),
        Column("symbols", 7, rank=4, most=24),
        Column("parameters", 10, rank=5, most=40, grows=True),
    )
    empty = (
        "no report yet: {backtest} starts a backtest, {search} a search, "
        "{walk-forward} a walk-forward"
    )
    reports: tuple[Report, ...] = ()
    compared = ""
    """The name of the report that the selected one is compared with."""

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
            fault = (row.fault, "warn")
            return made, ("", "dim"), fault, *((("", "dim"),) * (len(self.columns) - 3))
        figures = document.statistics
        gain = percent(figures.total_return, signed=True)
        return (
            made,
            (document.kind, "dim"),
            (document.strategy, "strong"),
            (gain, format.direction(gain)),
            (format.number(figures.sharpe, 2), "text"),
            (percent(figures.drawdown.depth), "text"),
            (f"{figures.round_trips.count:,}", "text"),
            (", ".join(document.symbols), "text"),
            (_parameters(document), "dim"),
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


# --- two reports side by side --------------------------------------------------------------------


class Figure(Struct, frozen=True, gc=False):
    """A figure of the selected report, of the one that it is compared with, and what is between
    them."""

    name: str
    value: str
    compared: str = ""
    change: str = ""


class ReportPanel(LineTable[Figure]):
    of_now = True
    columns = (
        Column("", 12),
        Column("selected", 10, ">", most=_SPARK_CELLS, stays=True),
        Column("compared", 10, ">", most=_SPARK_CELLS, stays=True),
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
    return [
        ("kind", document.kind),
        ("figures are", _FIGURES_ARE.get(document.kind, format.DASH)),
        ("strategy", document.strategy),
        ("parameters", _parameters(document)),
        ("symbols", ", ".join(document.symbols)),
        ("from", document.start[:16].replace("T", " ")),
        ("to", document.end[:16].replace("T", " ")),
        ("equity", spark([point.equity for point in document.equity_curve])),
        ("stopped", format.plural(len(document.stops), "time")),
    ]


_FIGURES_ARE = {
    "backtest": "of all bars",
    "search": "in sample, best",
    "walk-forward": "out of sample",
}


def _parameters(document: Document) -> str:
    chosen = "by window " if document.kind == "walk-forward" else ""
    return f"{chosen}{pairs(document.parameters)}"


def pairs(parameters: Mapping[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in parameters.items())


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
        ("efficiency", document.efficiency, "share"),
    ]


def _told(value: float | None, kind: str, *, signed: bool = False) -> str:
    if kind == "share":
        return percent(value, signed=signed)
    return format.number(value, 0 if kind == "count" else 2, signed=signed)


def _change(value: float | None, other: float | None, kind: str) -> str:
    if value is None or other is None:
        return format.DASH
    return _told(value - other, kind, signed=True)


def percent(share: float | None, *, signed: bool = False) -> str:
    """A share, such as 0.05, in per cent."""
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
