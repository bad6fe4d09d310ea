"""What a search or a walk-forward came to, for a terminal and as JSON.

The JSON is a backtest's, of the best run or of all that was traded, with what was tried beside it.
"""

from typing import Any

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.core.model import utc
from engine.core.text import clean
from engine.research.grid import Combinations
from engine.research.metrics import statistics
from engine.research.report import iso, percent, print_report, ratio, to_json
from engine.research.search import Outcome, Search
from engine.research.walk_forward import WalkForward, Window

TRIALS_SHOWN = 20


def search_to_json(found: Search) -> bytes:
    """The best run's report, with every trial, the best first."""
    best = found.best
    return to_json(
        best,
        statistics(best),
        kind="search",
        objective=found.objective,
        **_grid(found.combinations),
        trials=[msgspec.to_builtins(trial) for trial in found.trials],
    )


def walk_forward_to_json(done: WalkForward) -> bytes:
    """The report of all that was traded, with every window in its order."""
    return to_json(
        done.result,
        statistics(done.result),
        kind="walk-forward",
        objective=done.plan.objective,
        **_grid(done.combinations),
        efficiency=done.efficiency,
        windows=[_window(window) for window in done.windows],
    )


def print_search(console: Console, found: Search) -> None:
    """Print the best of the trials as a table, and the report of the best one."""
    tried = len(found.trials)
    _print_grid(console, found.combinations, found.objective)
    table = Table("", "parameters", *_HEADS, box=SIMPLE)
    for rank, trial in enumerate(found.trials[:TRIALS_SHOWN], 1):
        table.add_row(str(rank), _words(trial.parameters), *_figures(trial.outcome))
    console.print(table)
    if tried > TRIALS_SHOWN:
        console.print(f"{tried - TRIALS_SHOWN:,} more, all of them with --json")
    console.print(Text("The best of them, on the bars that it was chosen on", "bold"))
    print_report(console, found.best, statistics(found.best))


def print_walk_forward(console: Console, done: WalkForward) -> None:
    """Print the windows as a table, and the report of all that was traded."""
    _print_grid(console, done.combinations, done.plan.objective)
    heads = ("traded from", "parameters", "in sample", "traded", "Sharpe", "drawdown", "trips")
    table = Table(*heads, box=SIMPLE)
    for window in done.windows:
        traded = _figures(window.out_of_sample)[:4]
        begin, searched = f"{utc(window.start):%Y-%m-%d %H:%M}", window.in_sample.total_return
        table.add_row(begin, _words(window.parameters), percent(searched), *traded)
    console.print(table)
    console.print(f"Walk-forward efficiency {percent(done.efficiency)}")
    console.print(Text("All that was traded, on bars that nothing was chosen on", "bold"))
    print_report(console, done.result, statistics(done.result))


_HEADS = ("return", "Sharpe", "drawdown", "trips", "win rate", "profit factor")


def _figures(outcome: Outcome) -> tuple[str, ...]:
    return (
        percent(outcome.total_return),
        ratio(outcome.sharpe),
        percent(outcome.drawdown),
        f"{outcome.round_trips:,}",
        percent(outcome.win_rate),
        ratio(outcome.profit_factor),
    )


def _print_grid(console: Console, combinations: Combinations, objective: str) -> None:
    grid = "; ".join(f"{name}={','.join(values)}" for name, values in combinations.grid.items())
    unfit = f", {combinations.unfit:,} do not fit together" if combinations.unfit else ""
    tried = f"{len(combinations.runs):,} combinations of {clean(grid)}{unfit}; best by {objective}"
    console.print(Text(tried))


def _grid(combinations: Combinations) -> dict[str, Any]:
    return {"grid": combinations.grid, "unfit": combinations.unfit}


def _window(window: Window) -> dict[str, Any]:
    times = {"searched_from": window.searched_from, "start": window.start, "end": window.end}
    return msgspec.to_builtins(window) | {name: iso(ts) for name, ts in times.items()}


def _words(parameters: dict[str, Any]) -> str:
    return clean(" ".join(f"{name}={value}" for name, value in parameters.items()))
