"""Indicators: by hand, bar by bar against the whole array, and against TA-Lib."""

import subprocess
import sys
from math import inf, nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import talib

from engine.core.indicators import (
    ATR,
    EMA,
    MACD,
    ROC,
    RSI,
    SMA,
    VWAP,
    Bollinger,
    Indicator,
    Stochastic,
    VolumeAverage,
)
from engine.feeds.recordings import SAMPLES

RECORDED = sorted(SAMPLES.glob("*-bars-*.csv.gz"))
INDICATORS = {
    "SMA(1)": SMA(1),
    "SMA(2)": SMA(2),
    "SMA(10)": SMA(10),
    "SMA(30)": SMA(30),
    "EMA(1)": EMA(1),
    "EMA(10)": EMA(10),
    "EMA(26)": EMA(26),
    "RSI(1)": RSI(1),
    "RSI(14)": RSI(14),
    "ROC(1)": ROC(1),
    "ROC(20)": ROC(20),
    "MACD(1, 2, 1)": MACD(1, 2, 1),
    "MACD(12, 26, 9)": MACD(),
    "Bollinger(1, 1)": Bollinger(1, 1),
    "Bollinger(20, 2)": Bollinger(),
    "Stochastic(1, 1, 1)": Stochastic(1, 1, 1),
    "Stochastic(14, 3, 3)": Stochastic(),
    "ATR(1)": ATR(1),
    "ATR(14)": ATR(),
    "VolumeAverage(1)": VolumeAverage(1),
    "VolumeAverage(20)": VolumeAverage(20),
    "VWAP": VWAP(),
}
INPUTS: dict[type[Indicator], tuple[str, ...]] = {
    ATR: ("high", "low", "close"),
    Stochastic: ("high", "low", "close"),
    VolumeAverage: ("volume",),
    VWAP: ("high", "low", "close", "volume", "session"),
}
every_indicator = pytest.mark.parametrize("indicator", INDICATORS.values(), ids=INDICATORS)
Columns = list[np.ndarray]


def inputs(indicator: Indicator) -> tuple[str, ...]:
    return INPUTS.get(type(indicator), ("close",))


def columns_of(indicator: Indicator, bars: pd.DataFrame) -> Columns:
    return [bars[name].to_numpy(np.float64) for name in inputs(indicator)]


def tupled(answer: Any) -> tuple[Any, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


def at_once(indicator: Any, *columns: Any) -> np.ndarray:
    """Its lines over whole arrays, one to a column."""
    return np.array(tupled(indicator.of(*columns))).T


def one_by_one(indicator: Any, *columns: Any) -> np.ndarray:
    indicator.reset()
    rows = zip(*(np.asarray(column).tolist() for column in columns), strict=True)
    answers = [tupled(indicator.update(*row)) for row in rows]
    return np.array(answers, np.float64)


def assert_same_bits(one: np.ndarray, other: np.ndarray) -> None:
    assert one.dtype == other.dtype == np.float64
    assert len(one) == len(other)
    if not len(one):
        return
    assert np.array_equal(np.isnan(one), np.isnan(other))
    numbers = ~np.isnan(one)
    assert np.array_equal(one[numbers].view(np.int64), other[numbers].view(np.int64))


def random_bars(seed: int) -> pd.DataFrame:
    """Prices on a tick, so that many are equal, some standing still for long, some missing."""
    random = np.random.default_rng(seed)
    size = random.integers(0, 300)
    tick = random.choice([0.01, 0.1, 5.0])
    moves = random.integers(-2, 3, size) * (random.random(size) < random.random())
    close = np.round(100 + np.cumsum(moves) * tick, 2)
    up, down = random.integers(0, 3, (2, size)) * (random.random(size) < random.random())
    bars = pd.DataFrame(
        {
            "high": close + up * tick,
            "low": close - down * tick,
            "close": close,
            "volume": random.integers(0, 5, size).astype(np.float64),
            "session": np.cumsum(random.random(size) < 0.05).astype(np.float64),
        }
    )
    missing = random.random((size, random.choice([1, 5]))) < random.choice([0, 0, 0.01, 0.1])
    return bars.mask(np.broadcast_to(missing, bars.shape))


@every_indicator
def test_bar_by_bar_equals_the_whole_array(indicator: Indicator) -> None:
    for seed in range(1000):
        columns = columns_of(indicator, random_bars(seed))
        assert_same_bits(one_by_one(indicator, *columns), at_once(indicator, *columns))


def wild_series(random: np.random.Generator, size: Any) -> np.ndarray:
    """Any finite magnitudes, zeros of both signs, repetitions, and holes of all kinds."""
    values = random.normal(size=size) * 10.0 ** random.integers(-300, 150, size)
    special = random.choice([0.0, -0.0, 0.1, 1e-300, 5e-324, nan, inf, -inf], size)
    return np.where(random.random(size) < 0.5, special, values)


@every_indicator
def test_wild_numbers_give_the_same_bits_both_ways(indicator: Indicator) -> None:
    for seed in range(300):
        random = np.random.default_rng(seed)
        size = random.integers(0, 80)
        repeats = random.integers(0, 9, size)
        columns = [wild_series(random, size).repeat(repeats) for _ in inputs(indicator)]
        assert_same_bits(one_by_one(indicator, *columns), at_once(indicator, *columns))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.partition("-bars")[0])
@pytest.mark.parametrize(
    ("indicator", "reference", "settings"),
    [
        (SMA(10), talib.SMA, (10,)),
        (SMA(200), talib.SMA, (200,)),
        (EMA(10), talib.EMA, (10,)),
        (EMA(200), talib.EMA, (200,)),
        (RSI(2), talib.RSI, (2,)),
        (RSI(14), talib.RSI, (14,)),
        (ROC(10), talib.ROC, (10,)),
        (MACD(), talib.MACD, (12, 26, 9)),
        (MACD(3, 40, 1), talib.MACD, (3, 40, 1)),
        (Bollinger(), talib.BBANDS, (20, 2, 2)),
        (Bollinger(100, 3), talib.BBANDS, (100, 3, 3)),
        (Stochastic(), talib.STOCH, (14, 3, 0, 3, 0)),
        (Stochastic(5, 1, 10), talib.STOCH, (5, 1, 0, 10, 0)),
        (ATR(), talib.ATR, (14,)),
        (ATR(1), talib.ATR, (1,)),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_talib_agrees_on_recorded_data(
    path: Path, indicator: Indicator, reference: Any, settings: tuple[int, ...]
) -> None:
    columns = columns_of(indicator, pd.read_csv(path, usecols=list(inputs(indicator))))
    ours = at_once(indicator, *columns)
    theirs = np.array(tupled(reference(*columns, *settings))).T.reshape(ours.shape)
    # The one difference of definition: TA-Lib takes 0 / 0 for 0, here it is 50.
    if isinstance(indicator, RSI):
        theirs = np.where(theirs == 0, np.where(ours == 50, 50, theirs), theirs)
    if isinstance(indicator, Stochastic):
        high, low, _ = columns
        width = talib.MAX(high, indicator.period) - talib.MIN(low, indicator.period)
        rest = indicator.smooth + indicator.signal - 1
        rests_on_flat = talib.MAX((width == 0).astype(np.float64), max(rest, 2)) == 1
        assert rests_on_flat.mean() < 0.2
        theirs = np.where(rests_on_flat[:, None], ours, theirs)
    warm = np.isfinite(ours).all(axis=1)
    assert np.count_nonzero(warm) == len(ours) - indicator.warm_up + 1
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.partition("-bars")[0])
def test_volumes_agree_with_tables_on_recorded_data(path: Path) -> None:
    bars = pd.read_csv(path)
    volume, average = bars["volume"].to_numpy(np.float64), VolumeAverage(20)
    np.testing.assert_allclose(
        average.of(volume)[1:], talib.SMA(volume, 20)[:-1], rtol=1e-9, atol=1e-9
    )
    days = bars["timestamp"].str[:10]
    typical = bars[["high", "low", "close"]].mean(axis=1)
    paid = (typical * bars["volume"]).groupby(days).cumsum()
    bars["session"] = pd.factorize(days)[0]
    ours = VWAP().of(*(bars[name] for name in inputs(VWAP())))
    np.testing.assert_allclose(ours, paid / bars["volume"].groupby(days).cumsum(), rtol=1e-12)


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


def some_bars(size: int, first: float = 100.0, last: float = 110.0) -> pd.DataFrame:
    close = np.linspace(first, last, size)
    return pd.DataFrame(
        {"high": close + 1, "low": close - 2, "close": close, "volume": close, "session": 1.0}
    )


@every_indicator
def test_the_first_number_comes_after_warm_up(indicator: Indicator) -> None:
    numbers = at_once(indicator, *columns_of(indicator, some_bars(50)))
    assert np.isnan(numbers[: indicator.warm_up - 1]).all()
    assert np.isfinite(numbers[indicator.warm_up - 1 :]).all()


@every_indicator
def test_where_it_began_is_forgotten_once_settled(indicator: Indicator) -> None:
    if isinstance(indicator, VWAP):
        return  # of the whole session, and of nothing before it
    random = np.random.default_rng(1)
    close = 100 + random.normal(size=1000).cumsum() / 10
    bars = some_bars(1000).assign(high=close + 1, low=close - 1, close=close)
    bars["volume"] = random.integers(1, 1000, 1000)
    late = at_once(indicator, *columns_of(indicator, bars.iloc[60:]))
    whole = at_once(indicator, *columns_of(indicator, bars))[60:]
    settled = indicator.settled
    assert len(late) > settled
    np.testing.assert_allclose(late[settled:], whole[settled:], rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("hole", [nan, inf, -inf])
@every_indicator
def test_a_hole_starts_the_indicator_anew(indicator: Indicator, hole: float) -> None:
    before, after = some_bars(40, 50, 60), some_bars(45, 80, 70).assign(session=2.0)
    alone = at_once(indicator, *columns_of(indicator, before))
    anew = at_once(indicator, *columns_of(indicator, after))
    for name in inputs(indicator):
        broken = some_bars(1)
        broken[name] = hole
        columns = columns_of(indicator, pd.concat((before, broken, after)))
        whole = at_once(indicator, *columns)
        assert_same_bits(whole[:40], alone)
        assert np.isnan(whole[40]).all()
        assert_same_bits(whole[41:], anew)


def test_roc_by_hand() -> None:
    np.testing.assert_array_equal(ROC(2).of([4, 0, 5, 1, 10]), [nan, nan, 25, nan, 100])


def test_macd_by_hand() -> None:
    # EMA(1) is the value. EMA(3): mean of 1, 2, 3, then half of the way: 4, 6, 4. Their
    # difference: 1, 2, 2, -2. EMA(2) of it: mean of 1 and 2, then two thirds of the way.
    macd, signal, histogram = MACD(1, 3, 2).of([1, 2, 3, 6, 8, 2])
    np.testing.assert_allclose(macd, [nan, nan, nan, 2, 2, -2])
    np.testing.assert_allclose(signal, [nan, nan, nan, 3 / 2, 11 / 6, -13 / 18])
    np.testing.assert_array_equal(histogram, macd - signal)


def test_the_fast_average_of_macd_starts_where_the_slow_one_does() -> None:
    # EMA(2) starts with the mean of 3 and 5, as EMA(3) does with that of 1, 3 and 5.
    macd, _, _ = MACD(2, 3, 1).of([1, 3, 5])
    np.testing.assert_allclose(macd, [nan, nan, 4 - 3])


def test_bollinger_by_hand() -> None:
    # Of 1, 2, 6: mean 3, squares 4 + 1 + 9 over 3. Of 2, 6, 1: the same.
    upper, middle, lower = Bollinger(3, 2).of([1, 2, 6, 1, 1, 1])
    reach = 2 * sqrt(14 / 3)
    np.testing.assert_allclose(middle[2:5], [3, 3, 8 / 3])
    np.testing.assert_allclose(upper[2:4], [3 + reach, 3 + reach])
    np.testing.assert_allclose(lower[2:4], [3 - reach, 3 - reach])
    assert (upper[5], middle[5], lower[5]) == (1, 1, 1)


def test_stochastic_by_hand() -> None:
    high, low, close = [10, 12, 14, 11, 13], [8, 9, 10, 9, 10], [9, 12, 12, 9, 12]
    # Of 3 bars: (12 - 8) / 6, (9 - 9) / 5, (12 - 9) / 5; %K of 2, %D of 2.
    k, d = Stochastic(3, 2, 2).of(high, low, close)
    np.testing.assert_allclose(k, [nan, nan, nan, nan, 30])
    np.testing.assert_allclose(d, [nan, nan, nan, nan, (200 / 3 / 2 + 30) / 2])


def test_stochastic_at_its_ends() -> None:
    fast = Stochastic(3, 1, 1)
    assert fast.of([1, 2, 3], [0, 1, 2], [1, 2, 3])[0][-1] == 100
    assert fast.of([3, 2, 1], [2, 1, 0], [3, 2, 0])[0][-1] == 0
    assert fast.of([5, 5, 5], [5, 5, 5], [5, 5, 5])[0][-1] == 50


def test_atr_by_hand() -> None:
    # True ranges from the second bar on: 12 - 9; 15 - 11 (close before); 14 - 9; 9 - 8.
    high, low, close = [10, 12, 15, 13, 9], [8, 9, 14, 9, 8], [9, 11, 14, 9, 8]
    expected = [nan, nan, (3 + 4) / 2, (3.5 + 5) / 2, (4.25 + 1) / 2]
    np.testing.assert_allclose(ATR(2).of(high, low, close), expected)


def test_the_average_volume_is_of_the_bars_before() -> None:
    np.testing.assert_array_equal(VolumeAverage(2).of([1, 3, 8, 100]), [nan, nan, 2, 5.5])


def test_vwap_by_hand() -> None:
    # Typical prices 10, 20 | 30, 60, then a session without a volume at first.
    high, low, close = [12, 22, 33, 66, 7, 9], [8, 18, 27, 54, 5, 6], [10, 20, 30, 60, 6, 9]
    volume, session = [1, 3, 2, 1, 0, 2], [1, 1, 2, 2, 3, 3]
    expected = [10, 17.5, 30, 40, nan, 8]
    np.testing.assert_allclose(VWAP().of(high, low, close, volume, session), expected)


def test_the_vwap_of_a_session_with_a_hole_is_not_known() -> None:
    price = [5.0, 6.0, nan, 7.0, 8.0]
    numbers = VWAP().of(price, price, price, [1] * 5, [1, 1, 1, 1, 2])
    np.testing.assert_array_equal(numbers, [5, 5.5, nan, nan, 8])


def test_the_bands_of_a_narrow_range_at_a_high_price_are_exact() -> None:
    walk = 46_000 + np.random.default_rng(1).integers(-1, 2, 20_000) * 1e-4
    exact = pd.Series((walk - 46_000).astype(np.float64)).rolling(20)
    upper, _, lower = Bollinger().of(walk)
    np.testing.assert_allclose((upper - lower)[19:], 4 * exact.std(ddof=0)[19:], rtol=1e-6)


@pytest.mark.parametrize("price", [0.1, 167.41, 7424.91, 1e-8])
def test_averages_of_a_price_that_stands_still_are_that_price(price: float) -> None:
    values = np.concatenate((price * np.linspace(0.9, 1.1, 97), np.full(400, price)))
    for period in (7, 10, 14, 30, 93):
        assert (SMA(period).of(values)[97 + period :] == price).all()
        assert (EMA(period).of(np.full(200, price))[period:] == price).all()
        for line in Bollinger(period).of(values):
            assert (line[97 + period :] == price).all()
    still = np.full(400, price)
    assert (VWAP().of(still, still, still, np.linspace(1, 2, 400), still) == price).all()


def test_sma_does_not_drift() -> None:
    walk = 100 + np.cumsum(np.random.default_rng(1).normal(0, 0.05, 1_000_000))
    exact = np.convolve(walk.astype(np.longdouble), np.ones(30, np.longdouble), "valid") / 30
    np.testing.assert_allclose(SMA(30).of(walk)[29:], exact.astype(np.float64), rtol=1e-13)


def test_a_huge_value_leaves_no_trace_after_a_turn() -> None:
    values = np.concatenate((np.linspace(1, 2, 7), [1e17], np.linspace(1, 2, 60)))
    exact = np.convolve(values[28:], np.ones(10), "valid") / 10
    np.testing.assert_allclose(SMA(10).of(values)[37:], exact, rtol=1e-14)


@every_indicator
def test_arrays_leave_the_bars_alone(indicator: Any) -> None:
    columns = columns_of(indicator, some_bars(80))
    undisturbed = one_by_one(indicator, *columns)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    indicator.reset()
    for row in rows[:60]:
        indicator.update(*row)
    indicator.of(*(np.full(50, 5.0) for _ in columns))
    after = [tupled(indicator.update(*row)) for row in rows[60:]]
    assert_same_bits(np.array(after), undisturbed[60:])


@pytest.mark.parametrize("period", [0, -1, 2.5, "3", None])
@pytest.mark.parametrize("kind", [SMA, EMA, RSI, ROC, Bollinger, Stochastic, ATR, VolumeAverage])
def test_a_period_that_is_none_is_refused(kind: Any, period: Any) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__}: the period must be a whole number"):
        kind(period)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MACD(0, 26, 9), "MACD: the fast period must be"),
        (lambda: MACD(12, 0, 9), "MACD: the slow period must be"),
        (lambda: MACD(12, 26, 0), "MACD: the signal period must be"),
        (lambda: MACD(26, 26, 9), "the fast period 26 must be less than the slow one, 26"),
        (lambda: Stochastic(14, 0, 3), "Stochastic: the smoothing period must be"),
        (lambda: Stochastic(14, 3, 0), "Stochastic: the signal period must be"),
        (lambda: Bollinger(20, 0), "the width must be a number above 0, not 0"),
        (lambda: Bollinger(20, nan), "the width must be a number above 0, not nan"),
        (lambda: Bollinger(20, inf), "the width must be a number above 0, not inf"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


@every_indicator
def test_a_table_is_refused(indicator: Any) -> None:
    with pytest.raises(ValueError, match="one dimension each, not 2"):
        indicator.of(*([[1.0, 2.0], [3.0, 4.0]] for _ in inputs(indicator)))


@every_indicator
def test_columns_of_different_lengths_are_refused(indicator: Any) -> None:
    columns = [[1.0, 2.0, 3.0], *([1.0, 2.0] for _ in inputs(indicator)[1:])]
    if len(columns) > 1:
        with pytest.raises(ValueError, match="columns of one length, not of 3, 2"):
            indicator.of(*columns)


@every_indicator
def test_nothing_comes_of_nothing(indicator: Any) -> None:
    for numbers in tupled(indicator.of(*([] for _ in inputs(indicator)))):
        assert numbers.shape == (0,)


def test_bars_alone_need_no_numpy() -> None:
    code = (
        "import sys; from engine.core.indicators import SMA; s = SMA(2); s.update(1.0);"
        "print(s.update(2.0), 'numpy' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert run.stdout == "1.5 False\n"
