"""A walk-forward: parameters are searched on one stretch, and traded on the one after it.

Source: R. Pardo, The Evaluation and Optimization of Trading Strategies, 2nd ed. (2008), chapter 11.
"""

from decimal import Decimal
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from engine.core.model import ZERO
from engine.feeds.recordings import Recordings
from engine.ops.errors import UserError
from engine.research.backtest import run_backtest
from engine.research.grid import Combinations
from engine.research.metrics import statistics
from engine.research.result import BacktestRequest, BacktestResult
from engine.research.search import Outcome, Progress, Tell, bars_of, outcome, try_all

LEAST_CLOSES = 10
"""Closes of bars in each part of the range, at the least."""

_CENT = Decimal("0.01")


class Plan(NamedTuple):
    """`windows` stretches of one length that are traded, each after one to search in that is
    `in_sample` times as long; `objective` is that of the search."""

    windows: int
    in_sample: int
    objective: str


class Window(Struct, frozen=True):
    """One step: searched on the bars that closed after `searched_from` and not after `start`,
    traded from there to `end` (ns UTC) with the best `parameters`."""

    searched_from: int
    start: int
    end: int
    parameters: dict[str, Any]
    in_sample: Outcome
    out_of_sample: Outcome


class WalkForward(Struct, frozen=True):
    """`result` is all that was traded, one window after the other: each begins with the money that
    the one before ended with, and without its positions."""

    plan: Plan
    combinations: Combinations
    windows: tuple[Window, ...]
    result: BacktestResult

    @property
    def efficiency(self) -> float | None:
        """The mean return of the stretches that were traded over that of those searched in, each
        for the same time; None where the search made nothing."""
        searched = sum(w.in_sample.total_return for w in self.windows) / self.plan.in_sample
        traded = sum(w.out_of_sample.total_return for w in self.windows)
        return traded / searched if searched > 0 else None


def walk_forward(
    request: BacktestRequest,
    recordings: Recordings,
    combinations: Combinations,
    plan: Plan,
    tell: Tell,
) -> WalkForward:
    """Search and trade window after window. Raises UserError for a range that is too short."""
    steps = _steps(request, recordings, plan)
    runs = len(combinations.runs)
    total = sum(
        bars_of(searched, recordings) * runs + bars_of(traded, recordings)
        for searched, traded in steps
    )
    progress = Progress(total, tell)
    windows: list[Window] = []
    results: list[BacktestResult] = []
    cash = request.settings.starting_cash
    for searched, traded in steps:
        best = try_all(searched, recordings, combinations, plan.objective, progress.tell)[0]
        settings = request.settings.model_copy(update={"starting_cash": cash})
        chosen = replace(traded, parameters=best.parameters, settings=settings)
        result = run_backtest(chosen, recordings, progress.tell)
        cash = Decimal(float(result.equity[-1])).quantize(_CENT)
        results.append(result)
        windows.append(
            Window(
                searched_from=searched.start or 0,
                start=result.start,
                end=result.end,
                parameters=result.parameters,
                in_sample=best.outcome,
                out_of_sample=outcome(statistics(result)),
            )
        )
        if cash <= 0:
            break
    return WalkForward(plan, combinations, tuple(windows), _joined(results, request))


def _steps(
    request: BacktestRequest, recordings: Recordings, plan: Plan
) -> list[tuple[BacktestRequest, BacktestRequest]]:
    """What is searched and what is traded, by step. The range is cut where bars close, into parts
    of as many closes each."""
    start, end = request.start, request.end
    bars = [bar for s in request.symbols for bar in recordings.bars(s, start, end)]
    closes = sorted({bar.ts for bar in bars})
    parts = plan.windows + plan.in_sample
    if len(closes) < parts * LEAST_CLOSES:
        raise UserError(
            f"The range has {len(closes):,} closes of bars: too few for {parts} parts of "
            f"{LEAST_CLOSES} or more",
            "Give a longer range with --start and --end, fewer --windows, or a lower --in-sample",
        )
    first_start = min(bar.start for bar in bars) if start is None else start
    cuts = [first_start, *(closes[part * len(closes) // parts - 1] for part in range(1, parts + 1))]
    return [
        (
            replace(request, start=cuts[first], end=cuts[first + plan.in_sample]),
            replace(
                request,
                start=cuts[first + plan.in_sample],
                end=cuts[first + plan.in_sample + 1],
            ),
        )
        for first in range(plan.windows)
    ]


def _joined(results: list[BacktestResult], request: BacktestRequest) -> BacktestResult:
    """What was traded as one result. Its parameters are those that no window chose."""
    first, last = results[0], results[-1]
    blocked: dict[str, int] = {}
    for result in results:
        for check, count in result.blocked.items():
            blocked[check] = blocked.get(check, 0) + count
    return replace(
        first,
        parameters=dict(request.parameters),
        end=last.end,
        bars=sum(result.bars for result in results),
        times=np.concatenate([result.times for result in results]),
        equity=np.concatenate([result.equity for result in results]),
        exposure=np.concatenate([result.exposure for result in results]),
        round_trips=tuple(trip for result in results for trip in result.round_trips),
        fills=tuple(fill for result in results for fill in result.fills),
        commission=sum((result.commission for result in results), ZERO),
        slippage=sum((result.slippage for result in results), ZERO),
        assumptions=first.assumptions
        | {
            "window": "begins with the money that the one before ended with, without its positions",
        },
        stops=tuple(stop for result in results for stop in result.stops),
        blocked=blocked,
        gaps=sum(result.gaps for result in results),
        state_hash=sha256("".join(r.state_hash for r in results).encode()).hexdigest(),
        seconds=sum(result.seconds for result in results),
    )
