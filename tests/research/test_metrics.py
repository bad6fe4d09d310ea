"""Statistics of a backtest: by hand, and against pandas on recorded data."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engine.core.model import MINUTE, NANOS, AssetClass, Instrument, Side, nanos
from engine.feeds.recordings import SAMPLES
from engine.research.metrics import (
    DAY,
    YEAR,
    Drawdown,
    cagr,
    daily_returns,
    days_per_year,
    drawdown,
    open_positions,
    sharpe,
    sortino,
    statistics,
    trip_statistics,
    volatility,
)


def recorded(name: str) -> Any:
    """The closes of a file of one-minute bars, by the time of the close: the equity of a holder."""
    bars: Any = pd.read_csv(SAMPLES / name, parse_dates=["timestamp"]).set_index("timestamp")
    return bars["close"].astype(float).set_axis(bars.index + pd.Timedelta(minutes=1))


def times_of(series: Any) -> np.ndarray:
    return series.index.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[ns]").astype(int)


def daily_closes(series: Any, zone: str) -> Any:
    """Close of each day; a bar that closes at midnight belongs to the day that ends there."""
    return series.tz_convert(zone).resample("1D", closed="right").last().dropna()


# --- against pandas on recorded data -------------------------------------------------------------

RECORDED = ["BTC-PERP-202201-bars-1m", "ETH-USD-2018-bars-1m", "SPY-2013-bars-1m"]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("name", RECORDED)
def test_daily_figures_against_pandas(name: str, zone: str) -> None:
    series = recorded(f"{name}.csv.gz")
    start = float(series.iloc[0])
    returns = daily_returns(times_of(series), series.to_numpy(), start, zone)
    closes = daily_closes(series, zone)
    expected: Any = pd.concat([pd.Series([start]), closes]).pct_change().dropna()
    np.testing.assert_allclose(returns, expected, rtol=1e-12, atol=1e-15)
    assert volatility(returns, 365) == pytest.approx(expected.std() * 365**0.5)
    assert sharpe(returns, 365) == pytest.approx(expected.mean() / expected.std() * 365**0.5)
    downside = (expected.clip(upper=0) ** 2).mean() ** 0.5
    assert sortino(returns, 252) == pytest.approx(expected.mean() / downside * 252**0.5)


@pytest.mark.parametrize("name", RECORDED)
def test_drawdown_against_pandas(name: str) -> None:
    series = recorded(f"{name}.csv.gz")
    fall = drawdown(times_of(series), series.to_numpy())
    peaks = series.cummax()
    depth = 1 - series / peaks
    assert fall.depth == pytest.approx(depth.max())
    assert fall.trough_ts == depth.idxmax().value
    peak = peaks[depth.idxmax()]
    assert fall.peak_ts == series[: depth.idxmax()][lambda s: s == peak].index[-1].value
    later = series[depth.idxmax() :][lambda s: s >= peak]
    assert fall.recovered_ts == (later.index[0].value if len(later) else None)
    at_peak = series.index[series == peaks].append(series.index[-1:])
    assert fall.longest == max(np.diff(at_peak)).value


def test_all_figures_of_a_recorded_month(make_result: Callable, make_trip: Callable) -> None:
    series = recorded("BTC-PERP-202201-bars-1m.csv.gz")
    result = make_result(
        times=times_of(series),
        equity=series.to_numpy(),
        exposure=np.where(np.arange(len(series)) % 4 == 0, 0.5, 0.0),
        starting_equity=46319.0,
        start=int(times_of(series)[0]) - MINUTE,
        round_trips=(make_trip("30"), make_trip("-10")),
    )
    figures = statistics(result)
    closes = daily_closes(series, "UTC")
    assert figures.final_equity == series.iloc[-1]
    assert figures.total_return == pytest.approx(series.iloc[-1] / 46319 - 1)
    assert figures.daily_returns == len(closes)
    assert figures.days_per_year == 365
    years = (series.index[-1] - series.index[0] + pd.Timedelta(minutes=1)).total_seconds()
    years /= 365.25 * 86_400
    assert figures.cagr == pytest.approx((series.iloc[-1] / 46319) ** (1 / years) - 1)
    assert figures.drawdown.depth == pytest.approx((1 - series / series.cummax()).max())
    assert figures.exposure_time == pytest.approx(0.25, abs=1e-4)
    assert figures.exposure_mean == pytest.approx(0.125, abs=1e-4)
    assert figures.round_trips.profit_factor == 3
    assert (figures.commission, figures.slippage) == (Decimal("123.45"), Decimal("6.70"))


# --- days ----------------------------------------------------------------------------------------


def test_a_day_ends_at_midnight_of_the_trading_zone() -> None:
    # 04:00 and 04:01 UTC are midnight and a minute past it in New York, in summer.
    four = nanos(datetime(2013, 10, 8, 4, tzinfo=UTC))
    times = np.array([four - MINUTE, four, four + MINUTE])
    equity = np.array([100.0, 110.0, 121.0])
    np.testing.assert_allclose(
        daily_returns(times, equity, 100, "America/New_York"), [0.1, 0.1], rtol=1e-12
    )
    np.testing.assert_allclose(daily_returns(times, equity, 100, "UTC"), [0.21], rtol=1e-12)


def test_a_daily_bar_that_closes_at_midnight_is_a_day_of_its_own() -> None:
    midnights = nanos(datetime(2022, 1, 2, tzinfo=UTC)) + DAY * np.arange(3)
    returns = daily_returns(midnights, np.array([110.0, 121.0, 133.1]), 100, "UTC")
    np.testing.assert_allclose(returns, [0.1, 0.1, 0.1], rtol=1e-12)


def test_days_without_a_bar_are_no_days() -> None:
    friday = nanos(datetime(2013, 10, 11, 20, tzinfo=UTC))
    returns = daily_returns(
        np.array([friday, friday + 3 * DAY]), np.array([100.0, 90.0]), 100, "America/New_York"
    )
    np.testing.assert_allclose(returns, [0, -0.1], rtol=1e-12)


def test_a_year_has_the_days_of_what_is_traded() -> None:
    assert days_per_year([AssetClass.STOCK]) == 252
    assert days_per_year([AssetClass.STOCK, AssetClass.CRYPTO]) == 365


def test_stocks_are_annualised_with_252_days(make_result: Callable) -> None:
    spy = Instrument("SPY", AssetClass.STOCK, Decimal("0.01"), Decimal(1))
    stock, crypto = statistics(make_result(instruments=(spy,))), statistics(make_result())
    assert stock.days_per_year == 252
    assert crypto.sharpe is not None
    assert stock.sharpe == pytest.approx(crypto.sharpe * sqrt(252 / 365))


# --- ratios --------------------------------------------------------------------------------------


def test_ratios_by_hand() -> None:
    returns = np.array([0.01, -0.02, 0.04])  # mean 0.01, deviations 0, -0.03, 0.03
    assert volatility(returns, 365) == pytest.approx(0.03 * sqrt(365))
    assert sharpe(returns, 365) == pytest.approx(0.01 / 0.03 * sqrt(365))
    assert sortino(returns, 365) == pytest.approx(0.01 / sqrt(0.0004 / 3) * sqrt(365))


def test_cagr_by_hand() -> None:
    assert cagr(100, 121, int(2 * YEAR)) == pytest.approx(0.1)
    assert cagr(100, 50, int(YEAR)) == pytest.approx(-0.5)
    assert cagr(100, 0, int(YEAR)) == -1


def test_growth_that_no_number_holds_is_undefined() -> None:
    assert cagr(100, 1e6, MINUTE) is None
    assert cagr(100, -1, int(YEAR)) is None


@pytest.mark.parametrize("returns", [[], [0.01], [0.01, 0.01, 0.01], [0.0, 0.0]])
def test_sharpe_without_deviation_is_undefined(returns: list[float]) -> None:
    assert sharpe(np.array(returns), 365) is None


@pytest.mark.parametrize("returns", [[], [-0.01], [0.01, 0.02], [0.0, 0.0]])
def test_sortino_without_a_fall_is_undefined(returns: list[float]) -> None:
    assert sortino(np.array(returns), 365) is None


def test_rounding_is_not_taken_for_risk() -> None:
    """An equity that grows by the same share each day has no deviation but that of float64."""
    times = NANOS + DAY * np.arange(1, 40)
    equity = np.array([100_000 * 1.001**day for day in range(1, 40)])
    returns = daily_returns(times, equity, 100_000, "UTC")
    assert 0 < np.std(returns, ddof=1) < 1e-14
    assert sharpe(returns, 365) is None


def test_less_than_a_day_makes_no_year(make_result: Callable) -> None:
    """Two parts of days, before and after midnight, are two returns, and still only minutes."""
    times = nanos(datetime(2022, 1, 2, tzinfo=UTC)) + MINUTE * np.arange(-1, 2)
    result = make_result(
        times=times, equity=np.array([1e5, 101e3, 100.5e3]), start=int(times[0]) - MINUTE
    )
    figures = statistics(result)
    assert figures.daily_returns == 2
    assert figures.total_return == pytest.approx(0.005)
    yearly = (figures.cagr, figures.volatility, figures.sharpe, figures.sortino)
    assert yearly == (None, None, None, None)


# --- drawdown ------------------------------------------------------------------------------------


def test_drawdown_by_hand() -> None:
    equity = np.array([100.0, 120.0, 90.0, 110.0, 120.0, 130.0, 117.0])
    assert drawdown(np.arange(7) * 10, equity) == Drawdown(
        depth=0.25, longest=30, peak_ts=10, trough_ts=20, recovered_ts=40
    )


def test_the_longest_drawdown_may_be_the_last_and_shallow() -> None:
    fall = drawdown(np.arange(7), np.array([100.0, 50.0, 100.0, 99.0, 98.5, 99.0, 99.9]))
    assert (fall.depth, fall.longest, fall.recovered_ts) == (0.5, 4, 2)


def test_a_drawdown_that_never_recovers() -> None:
    fall = drawdown(np.arange(4), np.array([100.0, 80.0, 90.0, 99.0]))
    assert fall == Drawdown(depth=1 - 0.8, longest=3, peak_ts=0, trough_ts=1, recovered_ts=None)


def test_equity_that_never_fell() -> None:
    assert drawdown(np.arange(3), np.array([1.0, 1.0, 2.0])) == Drawdown()


def test_a_fall_below_the_starting_equity_counts_from_it(make_result: Callable) -> None:
    figures = statistics(make_result(equity=np.array([95e3, 96e3, 97e3])))
    assert figures.drawdown.depth == pytest.approx(0.05)
    assert figures.drawdown.peak_ts == make_result().start


# --- round trips and holdings --------------------------------------------------------------------


def test_round_trips_by_hand(make_trip: Callable) -> None:
    figures = trip_statistics([make_trip(pnl) for pnl in ("10", "-5", "20.5", "0", "-2.5")])
    assert (figures.count, figures.wins, figures.losses) == (5, 2, 2)
    assert figures.profit == Decimal("23.0")
    assert figures.win_rate == 0.4
    assert figures.profit_factor == pytest.approx(30.5 / 7.5)
    assert figures.expectancy == 4.6
    assert (figures.average_win, figures.average_loss) == (15.25, -3.75)
    assert (figures.best, figures.worst) == (Decimal("20.5"), Decimal(-5))


def test_no_round_trip_has_no_rate() -> None:
    figures = trip_statistics([])
    assert (figures.count, figures.profit) == (0, 0)
    rates = (figures.win_rate, figures.profit_factor, figures.expectancy, figures.average_win)
    assert rates == (None, None, None, None)
    assert (figures.average_loss, figures.best, figures.worst) == (None, None, None)


def test_profit_factor_needs_a_loss(make_trip: Callable) -> None:
    assert trip_statistics([make_trip("1")]).profit_factor is None
    assert trip_statistics([make_trip("-1")]).profit_factor == 0


def test_holdings_that_are_not_flat(make_fill: Callable) -> None:
    bought, sold = make_fill(Side.BUY, "0.3"), make_fill(Side.SELL, "0.1")
    assert open_positions([]) == 0
    assert open_positions([bought, sold]) == 1
    assert open_positions([bought, sold, sold, sold]) == 0
    assert open_positions([bought, make_fill(Side.BUY, "1", "ETH-USD")]) == 2
