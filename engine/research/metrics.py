"""Statistics of a backtest: pure functions of its result, in float64.

Shares and ratios are plain numbers (0.05 is 5 %). What is not defined is None, never 0, NaN or
infinity.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from math import sqrt

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from engine.core.model import DAY, ZERO, AssetClass, Fill, RoundTrip
from engine.core.sessions import TradingDay
from engine.research.result import BacktestResult

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

YEAR = 365.25 * DAY

# A deviation of daily returns below this is rounding of float64, not risk that was taken.
_NO_DEVIATION = 1e-12


class Drawdown(Struct, frozen=True):
    """The falls of the equity from its highest so far.

    `depth` is the deepest one, as a positive share of the peak; `peak_ts` and `trough_ts` say when,
    `recovered_ts` when the equity was back at the peak: None where it never was. `longest` is the
    longest time from a peak until the equity was back there, or until the end. All times are in
    nanoseconds (UTC). Where the equity never fell, `depth` and `longest` are 0.
    """

    depth: float = 0.0
    longest: int = 0
    peak_ts: int | None = None
    trough_ts: int | None = None
    recovered_ts: int | None = None


class TripStatistics(Struct, frozen=True):
    """Of the round trips, after commissions: one that made money is a win, one that lost money a
    loss, one that did neither is neither.

    `profit_factor` is what the wins made over what the losses lost, None where none lost.
    `expectancy` is the mean of all round trips. Exact sums are Decimal, means float64.
    """

    count: int
    wins: int
    losses: int
    profit: Decimal
    win_rate: float | None
    profit_factor: float | None
    expectancy: float | None
    average_win: float | None
    average_loss: float | None
    best: Decimal | None
    worst: Decimal | None


class Statistics(Struct, frozen=True):
    """All that a report says of a run. Money is in the account's currency.

    `cagr`, `volatility`, `sharpe` and `sortino` are for a year, from `daily_returns` returns of
    which `days_per_year` make one; None for runs of less than a day or of fewer than two returns.
    `exposure_time` is the share of the bars' closes at which a position was held, `exposure_mean`
    the mean of the positions' gross value as a share of the equity. `open_positions` were held at
    the end: the equity counts them, the round trips do not.
    """

    final_equity: float
    total_return: float
    cagr: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    daily_returns: int
    days_per_year: int
    drawdown: Drawdown
    exposure_time: float
    exposure_mean: float
    fills: int
    open_positions: int
    round_trips: TripStatistics
    commission: Decimal
    slippage: Decimal


def statistics(result: BacktestResult) -> Statistics:
    """The statistics of `result`."""
    returns = daily_returns(
        result.times, result.equity, result.starting_equity, result.trading_zone
    )
    year = days_per_year(instrument.asset_class for instrument in result.instruments)
    elapsed = result.end - result.start
    yearly = elapsed >= DAY and len(returns) > 1
    final = float(result.equity[-1])
    return Statistics(
        final_equity=final,
        total_return=final / result.starting_equity - 1,
        cagr=cagr(result.starting_equity, final, elapsed) if yearly else None,
        volatility=volatility(returns, year) if yearly else None,
        sharpe=sharpe(returns, year) if yearly else None,
        sortino=sortino(returns, year) if yearly else None,
        daily_returns=len(returns),
        days_per_year=year,
        drawdown=drawdown(
            np.concatenate(([result.start], result.times)),
            np.concatenate(([result.starting_equity], result.equity)),
        ),
        exposure_time=float(np.mean(result.exposure > 0)),
        exposure_mean=float(np.mean(result.exposure)),
        fills=len(result.fills),
        open_positions=open_positions(result.fills),
        round_trips=trip_statistics(result.round_trips),
        commission=result.commission,
        slippage=result.slippage,
    )


def days_per_year(asset_classes: Iterable[AssetClass]) -> int:
    """Trading days of a year: 365 where anything trades every day (crypto), else 252."""
    return 365 if AssetClass.CRYPTO in asset_classes else 252


def daily_returns(times: Times, equity: Floats, starting_equity: float, zone: str) -> Floats:
    """The return of each day on which there was a bar, the first one against `starting_equity`.

    A day ends at midnight in `zone`; a bar that closes then is its last one. The first and the last
    day may be parts of a day.
    """
    closes = [starting_equity]
    day = TradingDay(zone)
    following = 0
    while following < len(times):
        day.roll(int(times[following]) - 1)
        following = int(np.searchsorted(times, day.end, side="right"))
        closes.append(float(equity[following - 1]))
    curve = np.array(closes)
    return curve[1:] / curve[:-1] - 1


def cagr(starting_equity: float, final_equity: float, elapsed: int) -> float | None:
    """Compound annual growth rate: (final / starting) ** (year / elapsed) - 1.

    `elapsed` is in nanoseconds, a year has 365.25 days. None for a final equity below 0 and for
    growth beyond what a float64 holds.
    """
    if final_equity < 0:
        return None
    try:
        return (final_equity / starting_equity) ** (YEAR / elapsed) - 1
    except OverflowError:
        return None


def volatility(returns: Floats, year: int) -> float | None:
    """Standard deviation of the returns (of a sample: n - 1), times the root of a year's days."""
    return float(np.std(returns, ddof=1)) * sqrt(year) if len(returns) > 1 else None


def sharpe(returns: Floats, year: int) -> float | None:
    """Mean over standard deviation (of a sample) of the returns, times the root of a year's days.

    Source: W. F. Sharpe, The Sharpe Ratio, Journal of Portfolio Management 21 (1994), with a
    risk-free rate of 0. None for fewer than two returns and where they do not differ.
    """
    if len(returns) < 2:
        return None
    deviation = float(np.std(returns, ddof=1))
    return float(np.mean(returns)) / deviation * sqrt(year) if deviation > _NO_DEVIATION else None


def sortino(returns: Floats, year: int) -> float | None:
    """Mean over downside deviation of the returns, times the root of a year's days.

    The downside deviation is the root of the mean, over all returns, of min(return, 0) squared.
    Source: F. A. Sortino and L. N. Price, Performance Measurement in a Downside Risk Framework,
    Journal of Investing 3 (1994), with a target of 0. None for fewer than two returns and where
    none is negative.
    """
    if len(returns) < 2:
        return None
    downside = sqrt(float(np.mean(np.minimum(returns, 0) ** 2)))
    return float(np.mean(returns)) / downside * sqrt(year) if downside > _NO_DEVIATION else None


def drawdown(times: Times, equity: Floats) -> Drawdown:
    """The falls of `equity`, whose first value is positive; both arrays have one length."""
    peaks = np.maximum.accumulate(equity)
    at_peak = np.flatnonzero(equity == peaks)
    if len(at_peak) == len(equity):
        return Drawdown()
    depths = 1 - equity / peaks
    trough = int(np.argmax(depths))
    before = at_peak[np.searchsorted(at_peak, trough) - 1]
    recovered = np.flatnonzero(equity[trough:] >= peaks[trough])
    spells = np.append(at_peak, len(equity) - 1)
    fell = np.diff(np.append(at_peak, len(equity))) > 1
    return Drawdown(
        depth=float(depths[trough]),
        longest=int(np.diff(times[spells])[fell].max()),
        peak_ts=int(times[before]),
        trough_ts=int(times[trough]),
        recovered_ts=int(times[trough + recovered[0]]) if len(recovered) else None,
    )


def trip_statistics(trips: Sequence[RoundTrip]) -> TripStatistics:
    """The statistics of `trips`."""
    pnls = [trip.pnl for trip in trips]
    wins = [pnl for pnl in pnls if pnl > 0]
    losses = [pnl for pnl in pnls if pnl < 0]
    lost = -sum(losses, ZERO)
    return TripStatistics(
        count=len(pnls),
        wins=len(wins),
        losses=len(losses),
        profit=sum(pnls, ZERO),
        win_rate=len(wins) / len(pnls) if pnls else None,
        profit_factor=float(sum(wins, ZERO) / lost) if lost else None,
        expectancy=_mean(pnls),
        average_win=_mean(wins),
        average_loss=_mean(losses),
        best=max(pnls, default=None),
        worst=min(pnls, default=None),
    )


def open_positions(fills: Iterable[Fill]) -> int:
    """How many holdings (of a strategy, in a symbol) are not flat after `fills`."""
    held: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for fill in fills:
        held[fill.strategy, fill.symbol] += fill.position_change
    return sum(1 for quantity in held.values() if quantity)


def _mean(amounts: Sequence[Decimal]) -> float | None:
    return float(sum(amounts, ZERO) / len(amounts)) if amounts else None
