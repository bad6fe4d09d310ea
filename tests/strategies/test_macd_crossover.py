"""Crossover of MACD and signal line, on numbers computed by hand."""

from typing import Any

import pytest

from engine.core.model import Side
from strategies.macd_crossover import MacdCrossover
from tests.strategies.playing import make, play, sides, values

SHORT: dict[str, Any] = {"fast": 1, "slow": 3, "signal": 2}


def test_it_buys_where_the_macd_crosses_its_signal_line_in_a_rising_trend() -> None:
    # Close less EMA(3): 1, 2, 2, -2, 2 from the third on. Its EMA(2): 3/2, 11/6, -13/18, 59/54.
    signals = play(MacdCrossover, [1, 2, 3, 6, 8, 2, 8], trend=2, **SHORT)
    assert sides(signals) == [None] * 5 + [Side.SELL, Side.BUY]
    assert values(signals[5])["signal"] == pytest.approx(-13 / 18)
    # EMA(2) of the closes: 3/2, 5/2, 29/6, 125/18, 197/54, 1061/162.
    assert values(signals[6]) == pytest.approx({"macd": 2, "signal": 59 / 54, "trend": 1061 / 162})


def test_a_cross_against_the_trend_is_no_entry() -> None:
    # Close less EMA(3): -10, -10, -6; its EMA(2): -10, -22/3: a cross at 8, under EMA(4) = 18.2.
    falling = [40, 30, 20, 10, 8]
    assert sides(play(MacdCrossover, falling, trend=4, **SHORT)) == [None] * 5
    crossed = play(MacdCrossover, falling, trend=1, **SHORT)
    assert sides(crossed) == [None] * 5, "the close is not above an average of itself alone"


def test_above_from_the_first_number_on_is_no_cross() -> None:
    # MACD 1, 2 and signal line 3/2: above, and nothing before to have crossed from.
    assert sides(play(MacdCrossover, [1, 2, 3, 6], trend=2, **SHORT)) == [None] * 4


def test_lines_that_met_have_crossed_where_they_part() -> None:
    # MACD 1, 1, 3/2; signal line 1, 4/3.
    signals = play(MacdCrossover, [1, 2, 3, 4, 6], trend=2, **SHORT)
    assert sides(signals) == [None] * 4 + [Side.BUY]


def test_it_wants_out_as_long_as_the_macd_is_below() -> None:
    signals = play(MacdCrossover, [1, 2, 3, 6, 8, 2, 1], trend=2, **SHORT)
    assert sides(signals)[5:] == [Side.SELL, Side.SELL]


def test_a_market_that_stands_still_makes_no_signal() -> None:
    assert sides(play(MacdCrossover, [104.3] * 200)) == [None] * 200


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"fast": 26, "slow": 26}, r"fast \(26\) must be less than slow \(26\)"),
        ({"fast": 0}, "fast"),
        ({"signal": 0}, "signal"),
        ({"trend": 0}, "trend"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(MacdCrossover, **parameters)
