"""What a backtest came to, for a terminal and as JSON."""

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.core.model import NANOS, RoundTrip, utc
from engine.research.metrics import Drawdown, Statistics
from engine.research.result import BacktestResult

CURVE_HEIGHT = 10
CURVE_POINTS = 500
STOPS_SHOWN = 5
UNDEFINED = "n/a"

# The dots of a braille cell, two across and four down, and what each adds to U+2800.
_BRAILLE = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_DAYS_TO_ANNUALISE = 30


def print_report(console: Console, result: BacktestResult, figures: Statistics) -> None:
    """Print title, statistics, equity curve, what is to be known about the run, and what it
    assumed. Without a terminal, colour or UTF-8 it is plain text."""
    console.print(_title(result))
    console.print()
    console.print(_statistics(result, figures))
    console.print()
    console.print(_curve(result, console.width, console.options.ascii_only))
    console.print()
    if notes := _notes(result, figures):
        console.print(Text("\n".join(notes), "bold"))
        console.print()
    console.print(Text("Assumptions", "bold"))
    console.print(_pairs(result.assumptions, "left"))
    console.print(Text(f"State hash {result.state_hash}", overflow="fold"))


def to_json(
    result: BacktestResult, figures: Statistics, *, kind: str = "backtest", **more: Any
) -> bytes:
    """The report as JSON (UTF-8, indented): of a run of this `kind`, with what there is `more`.

    Statistics are numbers, exact money and prices are strings of decimals, times are ISO 8601 in
    UTC, what is not defined is null. `equity_curve` has at most 500 of the run's points, evenly
    chosen with the first and the last: the deepest fall is in `statistics`, exactly.
    """
    chosen = np.linspace(0, len(result.times) - 1, min(len(result.times), CURVE_POINTS))
    drawdown = _with_times(figures.drawdown)
    drawdown["longest_seconds"] = drawdown.pop("longest") / NANOS
    document = {
        "kind": kind,
        "strategy": result.strategy,
        "parameters": result.parameters,
        "symbols": [instrument.symbol for instrument in result.instruments],
        "currency": _currency(result),
        "start": iso(result.start),
        "end": iso(result.end),
        "bars": result.bars,
        "interval_seconds": result.interval / NANOS,
        "starting_equity": result.starting_equity,
        "statistics": msgspec.to_builtins(figures) | {"drawdown": drawdown},
        "stops": result.stops,
        "signals_blocked": result.blocked,
        "rows_refused": result.refused,
        "bars_missing": result.gaps,
        "assumptions": result.assumptions,
        "state_hash": result.state_hash,
        "equity_curve": [
            {"time": iso(int(result.times[at])), "equity": float(result.equity[at])}
            for at in chosen.round().astype(int)
        ],
        "round_trips": [_with_times(trip) for trip in result.round_trips],
        **more,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def plot(values: NDArray[np.float64], width: int, height: int, ascii_only: bool) -> list[str]:
    """`values` as a line of `width` by `height` characters: braille, or stars where `ascii_only`.

    A column shows the whole range of the values that fall on it, so no spike is lost, however many
    there are. (Terminal plotting libraries draw a line through chosen points, have no plain ASCII,
    and round the axis to 1.00e5.)
    """
    across, down = (1, 1) if ascii_only else (2, 4)
    columns, rows = width * across, height * down
    low, high = float(values.min()), float(values.max())
    scale = (rows - 1) / (high - low) if high > low else 0.0
    levels = ((high - values) * scale).round().astype(int)
    grid = np.zeros((rows, columns), int)
    drawn = 0  # the last value drawn, where the next column's stroke begins
    for column in range(columns):
        end = max((column + 1) * len(values) // columns, drawn + 1)
        stroke = levels[drawn:end]
        grid[stroke.min() : stroke.max() + 1, column] = 1
        drawn = end - 1
    if ascii_only:
        return ["".join(" *"[dot] for dot in row) for row in grid]
    cells = (grid.reshape(height, 4, width, 2) * _BRAILLE[:, None, :]).sum(axis=(1, 3))
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in row) for row in cells]


# --- parts of the report -------------------------------------------------------------------------


def _title(result: BacktestResult) -> Text:
    parameters = ", ".join(f"{name}={value}" for name, value in result.parameters.items())
    symbols = ", ".join(instrument.symbol for instrument in result.instruments)
    return Text.assemble(
        (f"{result.strategy}({parameters})", "bold"),
        f" on {symbols}\n{_time(result.start)} to {_time(result.end)} UTC, "
        f"{result.bars:,} bars of {_duration(result.interval)}",
    )


def _statistics(result: BacktestResult, figures: Statistics) -> Columns:
    trips, fall = figures.round_trips, figures.drawdown
    left = {
        "Starting equity": money(result.starting_equity),
        "Final equity": money(figures.final_equity),
        "Total return": percent(figures.total_return),
        "CAGR": percent(figures.cagr),
        "Volatility, yearly": percent(figures.volatility),
        "Sharpe": ratio(figures.sharpe),
        "Sortino": ratio(figures.sortino),
        "Max drawdown": percent(fall.depth),
        "  peak": _time(fall.peak_ts),
        "  trough": _time(fall.trough_ts),
        "  recovered": _time(fall.recovered_ts),
        "Longest drawdown": _duration(fall.longest),
    }
    right = {
        "Round trips": f"{trips.count:,}",
        "Win rate": percent(trips.win_rate),
        "Profit factor": ratio(trips.profit_factor),
        "Expectancy": money(trips.expectancy),
        "Average win": money(trips.average_win),
        "Average loss": money(trips.average_loss),
        "Best, worst": f"{money(trips.best)}, {money(trips.worst)}",
        "Exposure, time": percent(figures.exposure_time),
        "Exposure, mean": percent(figures.exposure_mean),
        "Fills": f"{figures.fills:,}",
        "Commission": money(figures.commission),
        "Slippage": money(figures.slippage),
    }
    return Columns([_pairs(left, "right"), _pairs(right, "right")], padding=(0, 3))


def _curve(result: BacktestResult, width: int, ascii_only: bool) -> Text:
    low, high = float(result.equity.min()), float(result.equity.max())
    labels = {0: money(high), CURVE_HEIGHT - 1: money(low)}
    margin = max(map(len, labels.values()))
    begin, end = _time(int(result.times[0])), _time(int(result.times[-1]))
    room = max(width - margin - 2, 1)
    times = f"{begin}{end:>{room - len(begin)}}" if room > len(begin + end) else begin
    text = Text(f"Equity, {_currency(result)}\n", no_wrap=True)
    for row, line in enumerate(plot(result.equity, room, CURVE_HEIGHT, ascii_only)):
        text.append(f"{labels.get(row, ''):>{margin}} |")
        text.append(line, "cyan")
        text.append("\n")
    return text.append(f"{'':{margin}}  {times}")


def _notes(result: BacktestResult, figures: Statistics) -> list[str]:
    """What a reader of the numbers must know of this run."""
    notes = [f"Stopped: {stop}" for stop in result.stops[:STOPS_SHOWN]]
    if len(result.stops) > STOPS_SHOWN:
        notes.append(f"Stopped {len(result.stops) - STOPS_SHOWN:,} times more")
    if result.blocked:
        counts = ", ".join(f"{check} {count:,}" for check, count in result.blocked.items())
        notes.append(f"Signals that made no order: {counts}")
    if figures.open_positions:
        notes.append(f"Open at the end: {figures.open_positions} (in the equity, in no round trip)")
    if result.gaps:
        notes.append(f"Missing bars: {result.gaps:,}")
    if result.refused:
        notes.append(f"Refused rows: {result.refused:,} (not sound, or there twice)")
    if figures.sharpe is not None and figures.daily_returns < _DAYS_TO_ANNUALISE:
        notes.append(f"Yearly figures rest on {figures.daily_returns} daily returns only")
    return notes


def _pairs(rows: dict[str, str], justify: Literal["left", "right"]) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(justify=justify, overflow="fold")
    for name, value in rows.items():
        table.add_row(Text(name), Text(value))
    return table


# --- words ---------------------------------------------------------------------------------------


def _currency(result: BacktestResult) -> str:
    return result.instruments[0].currency


def money(amount: Any) -> str:
    return UNDEFINED if amount is None else f"{amount:,.2f}"


def percent(share: float | None) -> str:
    return UNDEFINED if share is None else f"{share:,.2%}".replace("%", " %")


def ratio(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:,.2f}"


def _time(ts: int | None) -> str:
    return UNDEFINED if ts is None else f"{utc(ts):%Y-%m-%d %H:%M}"


def _duration(nanoseconds: int) -> str:
    """The two largest units that are not zero, such as `3 d 4 h`."""
    seconds, parts = nanoseconds // NANOS, list[str]()
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def iso(ts: int) -> str:
    return utc(ts).isoformat().replace("+00:00", "Z")


def _with_times(value: Drawdown | RoundTrip) -> dict[str, Any]:
    """The fields of `value`, its times (`…_ts`) as ISO 8601 (`…_time`): a number of nanoseconds is
    more than most readers of JSON can hold."""
    fields: dict[str, Any] = {}
    for name, field in msgspec.to_builtins(value).items():
        if name.endswith("_ts"):
            fields[name.removesuffix("_ts") + "_time"] = None if field is None else iso(field)
        else:
            fields[name] = field
    return fields
