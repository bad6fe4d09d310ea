"""A parameter search: one backtest for each combination, the best of them in full."""

from collections.abc import Callable
from math import inf
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from engine.feeds.recordings import Recordings
from engine.research.backtest import run_backtest
from engine.research.grid import Combinations
from engine.research.metrics import Statistics, statistics
from engine.research.result import BacktestRequest, BacktestResult

Tell = Callable[[int, int], None]
"""Is told how many of how many bars are done."""

OBJECTIVES: dict[str, Callable[[Statistics], float | None]] = {
    "return": lambda figures: figures.total_return,
    "sharpe": lambda figures: figures.sharpe,
    "sortino": lambda figures: figures.sortino,
}
"""What the best has most of. A figure that is not defined is behind all others."""


class Outcome(Struct, frozen=True):
    """The figures of a run that is one of many, as in `Statistics`: `drawdown` is the deepest
    fall, as a positive share."""

    total_return: float
    sharpe: float | None
    sortino: float | None
    drawdown: float
    round_trips: int
    win_rate: float | None
    profit_factor: float | None


class Trial(Struct, frozen=True):
    """A combination that was tried: all parameters of the strategy, and what came of them."""

    parameters: dict[str, Any]
    outcome: Outcome


class Search(Struct, frozen=True):
    """`trials` has the best first, `best` is that run in full. Where two are equal the first of
    the grid is better."""

    objective: str
    combinations: Combinations
    trials: tuple[Trial, ...]
    best: BacktestResult


class Progress:
    """Adds up the bars of many runs."""

    def __init__(self, total: int, tell: Tell) -> None:
        self._done = 0
        self._total = total
        self._tell = tell

    def tell(self, done: int, of_run: int) -> None:
        """What a run says of itself; its last word is that all its bars are done."""
        self._tell(self._done + done, self._total)
        if done == of_run:
            self._done += of_run


def bars_of(request: BacktestRequest, recordings: Recordings) -> int:
    """How many bars a run of `request` has."""
    return sum(len(recordings.bars(s, request.start, request.end)) for s in request.symbols)


def search(
    request: BacktestRequest,
    recordings: Recordings,
    combinations: Combinations,
    objective: str,
    tell: Tell,
) -> Search:
    """Run `request` with each of the combinations, and the best again for its whole report.
    `objective` is one of OBJECTIVES."""
    runs = len(combinations.runs)
    progress = Progress(bars_of(request, recordings) * (runs + 1), tell)
    trials = try_all(request, recordings, combinations, objective, progress.tell)
    chosen = replace(request, parameters=trials[0].parameters)
    best = run_backtest(chosen, recordings, progress.tell)
    return Search(objective, combinations, trials, best)


def try_all(
    request: BacktestRequest,
    recordings: Recordings,
    combinations: Combinations,
    objective: str,
    tell: Tell,
) -> tuple[Trial, ...]:
    """A trial of each of the combinations, the best first."""
    runs = combinations.runs
    progress = Progress(bars_of(request, recordings) * len(runs), tell)
    scored: list[tuple[float, Trial]] = []
    for parameters in runs:
        asked = replace(request, parameters=parameters)
        result = run_backtest(asked, recordings, progress.tell)
        figures = statistics(result)
        score = OBJECTIVES[objective](figures)
        trial = Trial(result.parameters, outcome(figures))
        scored.append((-inf if score is None else score, trial))
    scored.sort(key=lambda each: -each[0])
    return tuple(trial for _, trial in scored)


def outcome(figures: Statistics) -> Outcome:
    """What of `figures` is kept of one run among many."""
    trips = figures.round_trips
    return Outcome(
        total_return=figures.total_return,
        sharpe=figures.sharpe,
        sortino=figures.sortino,
        drawdown=figures.drawdown.depth,
        round_trips=trips.count,
        win_rate=trips.win_rate,
        profit_factor=trips.profit_factor,
    )
