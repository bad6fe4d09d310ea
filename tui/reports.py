"""The reports of backtests, searches and walk-forwards that are kept."""

from pathlib import Path

import msgspec
from msgspec import Struct

MOST_REPORTS = 100
"""The newest are shown."""


class Drawdown(Struct, frozen=True):
    depth: float


class Trips(Struct, frozen=True):
    count: int
    win_rate: float | None
    profit_factor: float | None
    expectancy: float | None


class Figures(Struct, frozen=True):
    final_equity: float
    total_return: float
    cagr: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    drawdown: Drawdown
    exposure_time: float
    fills: int
    round_trips: Trips
    commission: str
    slippage: str


class Point(Struct, frozen=True):
    time: str
    equity: float


class Document(Struct, frozen=True):
    """The part of a report (`engine.research.report.to_json`) that is shown: of a backtest, of the
    best run of a search, or of all that a walk-forward traded."""

    strategy: str
    parameters: dict[str, object]
    symbols: list[str]
    currency: str
    start: str
    end: str
    bars: int
    starting_equity: float
    statistics: Figures
    stops: list[str]
    equity_curve: list[Point]
    kind: str = "backtest"
    efficiency: float | None = None


class Report(Struct, frozen=True):
    """A report that is kept: `name` is that of its file. Without a `document`, `fault` says why it
    cannot be read."""

    name: str
    document: Document | None
    fault: str = ""


def load(folder: Path) -> tuple[Report, ...]:
    """The reports in `folder`, the newest first."""
    try:
        names = sorted((file.name for file in folder.glob("*.json")), reverse=True)
    except OSError:
        return ()
    return tuple(_report(folder / name) for name in names[:MOST_REPORTS])


def _report(path: Path) -> Report:
    try:
        return Report(path.name, _DOCUMENT.decode(path.read_bytes()))
    except OSError as error:
        return Report(path.name, None, f"cannot be read: {error.strerror}")
    except msgspec.MsgspecError:
        return Report(path.name, None, "not a report")


# --- what was tried ------------------------------------------------------------------------------


class Outcome(Struct, frozen=True):
    total_return: float
    sharpe: float | None
    drawdown: float
    round_trips: int
    win_rate: float | None
    profit_factor: float | None


class Trial(Struct, frozen=True):
    parameters: dict[str, object]
    outcome: Outcome


class Window(Struct, frozen=True):
    searched_from: str
    start: str
    end: str
    parameters: dict[str, object]
    in_sample: Outcome
    out_of_sample: Outcome


class Tried(Struct, frozen=True):
    """What a search tried, the best first, or the windows of a walk-forward, the oldest first."""

    trials: list[Trial] = []
    windows: list[Window] = []


# Made at the import, which one thread does: where two decode a type for the first time, one of them
# sees it half made, and the process crashes (msgspec 0.22).
_DOCUMENT = msgspec.json.Decoder(Document)
_TRIED = msgspec.json.Decoder(Tried)


def load_tried(path: Path) -> Tried:
    """Of the report in the file `path`; nothing of one that cannot be read."""
    try:
        return _TRIED.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return Tried()
