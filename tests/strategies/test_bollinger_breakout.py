"""Breakout through the upper band, on numbers computed by hand."""

from math import sqrt

import pytest

from engine.core.model import Side
from strategies.bollinger_breakout import BollingerBreakout
from tests.strategies.playing import make, play, sides, values

NARROW = {"period": 3, "width": 1, "volume_factor": 2}


def test_it_buys_above_the_upper_band_and_sells_below_the_middle_one() -> None:
    # Of 10, 10, 16: mean 12, deviation the root of 8. Of 10, 16, 14: mean 40/3. Of 16, 14, 13:
    # mean 43/3.
    signals = play(BollingerBreakout, [10, 10, 10, 16, 14, 13], [1, 1, 1, 3, 1, 1], **NARROW)
    assert sides(signals) == [None, None, None, Side.BUY, None, Side.SELL]
    upper = 12 + sqrt(8)
    assert values(signals[3]) == pytest.approx({"upper": upper, "volume": 3, "usual_volume": 1})
    assert values(signals[5]) == pytest.approx({"middle": 43 / 3})


def test_a_breakout_without_volume_is_none() -> None:
    assert sides(play(BollingerBreakout, [10, 10, 10, 16], [1, 1, 1, 2], **NARROW)) == [None] * 4


def test_the_volume_of_the_breakout_is_no_part_of_its_own_measure() -> None:
    volumes = [1, 1, 1, 2.01]
    signals = play(BollingerBreakout, [10, 10, 10, 16], volumes, **NARROW)
    assert sides(signals)[-1] is Side.BUY


def test_volume_within_the_bands_is_no_breakout() -> None:
    wide = NARROW | {"width": 1.5}  # 12 + 1.5 * 2.83 is above 16
    assert sides(play(BollingerBreakout, [10, 10, 10, 16], [1, 1, 1, 9], **wide)) == [None] * 4


def test_volume_that_comes_after_the_price_confirms_it_too() -> None:
    signals = play(BollingerBreakout, [10, 10, 10, 16, 22], [1, 1, 1, 1, 3], **NARROW)
    assert sides(signals)[3:] == [None, Side.BUY]


def test_a_market_that_stands_still_makes_no_signal() -> None:
    volumes = [1 + number % 7 for number in range(100)]
    assert sides(play(BollingerBreakout, [104.3] * 100, volumes)) == [None] * 100


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({"period": 1}, "period"), ({"width": 0}, "width"), ({"volume_factor": -1}, "volume_factor")],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(BollingerBreakout, **parameters)
