"""Indicators: by hand, bar by bar against the whole array, and against TA-Lib."""

import subprocess
import sys
from math import inf, isnan, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import talib

from engine.core.indicators import EMA, RSI, SMA, Indicator
from engine.feeds.recordings import SAMPLES

RECORDED = sorted(SAMPLES.glob("*-bars-*.csv.gz"))
INDICATORS = [SMA(1), SMA(2), SMA(10), SMA(30), EMA(1), EMA(10), EMA(26), RSI(1), RSI(14)]


def label(indicator: Indicator) -> str:
    return f"{type(indicator).__name__}({indicator.period})"


def one_by_one(indicator: Indicator, values: np.ndarray) -> np.ndarray:
    indicator.reset()
    return np.array([indicator.update(value) for value in values.tolist()], np.float64)


def assert_same_bits(one: np.ndarray, other: np.ndarray) -> None:
    assert one.dtype == other.dtype == np.float64
    assert np.array_equal(np.isnan(one), np.isnan(other))
    numbers = ~np.isnan(one)
    assert np.array_equal(one[numbers].view(np.int64), other[numbers].view(np.int64))


def random_series(seed: int) -> np.ndarray:
    """Prices on a tick, so that many are equal, some standing still for long, some missing."""
    random = np.random.default_rng(seed)
    size = random.integers(0, 300)
    tick = random.choice([0.01, 0.1, 5.0])
    moves = random.integers(-2, 3, size) * (random.random(size) < random.random())
    prices = np.round(100 + np.cumsum(moves) * tick, 2)
    prices[random.random(size) < random.choice([0, 0, 0.01, 0.1])] = nan
    return prices


@pytest.mark.parametrize("indicator", INDICATORS, ids=label)
def test_bar_by_bar_equals_the_whole_array(indicator: Indicator) -> None:
    for seed in range(1000):
        values = random_series(seed)
        assert_same_bits(one_by_one(indicator, values), indicator.of(values))


def wild_series(seed: int) -> np.ndarray:
    """Any finite magnitudes, zeros of both signs, repetitions, and holes of all kinds."""
    random = np.random.default_rng(seed)
    size = random.integers(0, 80)
    values = random.normal(size=size) * 10.0 ** random.integers(-300, 150, size)
    special = random.choice([0.0, -0.0, 0.1, 1e-300, 5e-324, nan, inf, -inf], size)
    return np.where(random.random(size) < 0.5, special, values).repeat(random.integers(0, 9, size))


@pytest.mark.parametrize("indicator", INDICATORS, ids=label)
def test_wild_numbers_give_the_same_bits_both_ways(indicator: Indicator) -> None:
    for seed in range(300):
        values = wild_series(seed)
        assert_same_bits(one_by_one(indicator, values), indicator.of(values))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.partition("-bars")[0])
@pytest.mark.parametrize(
    ("indicator", "reference"),
    [
        (SMA(10), talib.SMA),
        (SMA(200), talib.SMA),
        (EMA(10), talib.EMA),
        (EMA(200), talib.EMA),
        (RSI(2), talib.RSI),
        (RSI(14), talib.RSI),
    ],
    ids=str,
)
def test_talib_agrees_on_recorded_data(path: Path, indicator: Indicator, reference) -> None:
    closes = pd.read_csv(path)["close"].to_numpy(np.float64)
    ours, theirs = indicator.of(closes), reference(closes, indicator.period)
    if isinstance(indicator, RSI):
        # The one difference of definition: TA-Lib has 0 where nothing moved.
        theirs = np.where(theirs == 0, np.where(ours == 50, 50, theirs), theirs)
    assert np.count_nonzero(~np.isnan(ours)) == len(closes) - indicator.warm_up + 1
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_sma_by_hand() -> None:
    np.testing.assert_array_equal(SMA(3).of([1, 2, 3, 4, 8]), [nan, nan, 2, 3, 5])


def test_ema_by_hand() -> None:
    # The SMA of 1, 2, 3, then half of the way to each value.
    np.testing.assert_array_equal(EMA(3).of([1, 2, 3, 4, 9]), [nan, nan, 2, 3, 6])


def test_rsi_by_hand() -> None:
    # Changes +2 -1 | +2 | 0: gain 1, 3/2, 3/4; loss 1/2, 1/4, 1/8.
    expected = [nan, nan, 100 * 1 / 1.5, 100 * 1.5 / 1.75, 100 * 0.75 / 0.875]
    np.testing.assert_allclose(RSI(2).of([10, 12, 11, 13, 13]), expected, rtol=1e-15)


def test_rsi_at_its_ends() -> None:
    assert RSI(3).of([1, 2, 3, 4])[-1] == 100
    assert RSI(3).of([4, 3, 2, 1])[-1] == 0
    assert RSI(3).of([7, 7, 7, 7])[-1] == 50


def test_rsi_of_a_price_that_stands_still_for_weeks_stays_a_number() -> None:
    numbers = RSI(14).of([*range(100, 120), *range(120, 110, -1), *[110] * 40_000])
    settled = numbers[40]
    assert 0 < settled < 100
    assert numbers[5000] == pytest.approx(settled)
    assert numbers[-1] == 50
    assert RSI(14).of([*range(100, 120), *[120] * 40_000])[-1] == 50


@pytest.mark.parametrize("indicator", INDICATORS, ids=label)
def test_the_first_number_comes_after_warm_up(indicator: Indicator) -> None:
    numbers = indicator.of(np.linspace(100, 110, 50))
    assert np.isnan(numbers[: indicator.warm_up - 1]).all()
    assert np.isfinite(numbers[indicator.warm_up - 1 :]).all()


@pytest.mark.parametrize("hole", [nan, inf, -inf])
@pytest.mark.parametrize("indicator", INDICATORS, ids=label)
def test_a_hole_starts_the_indicator_anew(indicator: Indicator, hole: float) -> None:
    before, after = np.linspace(50, 60, 40), np.linspace(80, 70, 45)
    whole = indicator.of(np.concatenate((before, [hole], after)))
    assert_same_bits(whole[:40], indicator.of(before))
    assert isnan(whole[40])
    assert_same_bits(whole[41:], indicator.of(after))


@pytest.mark.parametrize("price", [0.1, 167.41, 7424.91, 1e-8])
def test_averages_of_a_price_that_stands_still_are_that_price(price: float) -> None:
    values = np.concatenate((price * np.linspace(0.9, 1.1, 97), np.full(400, price)))
    for period in (7, 10, 14, 30, 93):
        assert (SMA(period).of(values)[97 + period :] == price).all()
        assert (EMA(period).of(np.full(200, price))[period:] == price).all()


def test_sma_does_not_drift() -> None:
    walk = 100 + np.cumsum(np.random.default_rng(1).normal(0, 0.05, 1_000_000))
    exact = np.convolve(walk.astype(np.longdouble), np.ones(30, np.longdouble), "valid") / 30
    np.testing.assert_allclose(SMA(30).of(walk)[29:], exact.astype(np.float64), rtol=1e-13)


def test_a_huge_value_leaves_no_trace_after_a_turn() -> None:
    values = np.concatenate((np.linspace(1, 2, 7), [1e17], np.linspace(1, 2, 60)))
    exact = np.convolve(values[28:], np.ones(10), "valid") / 10
    np.testing.assert_allclose(SMA(10).of(values)[37:], exact, rtol=1e-14)


@pytest.mark.parametrize("indicator", INDICATORS, ids=label)
def test_arrays_leave_the_bars_alone(indicator: Indicator) -> None:
    indicator.reset()
    values = np.linspace(10, 20, 40).tolist()
    for value in values[:30]:
        indicator.update(value)
    indicator.of([5.0] * 50)
    after = [indicator.update(value) for value in values[30:]]
    assert after == one_by_one(indicator, np.array(values))[30:].tolist()


@pytest.mark.parametrize("period", [0, -1, 2.5, "3", None])
def test_a_period_that_is_none_is_refused(period) -> None:
    for kind in (SMA, EMA, RSI):
        with pytest.raises(ValueError, match=f"{kind.__name__}: the period must be a whole number"):
            kind(period)


def test_a_table_is_refused() -> None:
    for indicator in (SMA(2), EMA(2), RSI(2)):
        with pytest.raises(ValueError, match="one column"):
            indicator.of([[1.0, 2.0], [3.0, 4.0]])


def test_bars_alone_need_no_numpy() -> None:
    code = (
        "import sys; from engine.core.indicators import SMA; s = SMA(2); s.update(1.0);"
        "print(s.update(2.0), 'numpy' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert run.stdout == "1.5 False\n"
