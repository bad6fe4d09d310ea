"""Crossover of %K and %D at the extremes, on numbers computed by hand."""

from collections.abc import Sequence

import pytest

from engine.core.model import MINUTE, Bar, Side, Signal
from strategies.stochastic_oscillator import StochasticOscillator
from tests.strategies.playing import make, play, show, sides, values


def played(positions: Sequence[float]) -> list[Signal | None]:
    """What comes of closes at `positions` between a low of 100 and a high of 200, where %K is the
    position itself and %D the mean of the last two."""
    bars = [
        Bar("ACME", number * MINUTE, 150, 200, 100, 100 + position, 1)
        for number, position in enumerate(positions, 1)
    ]
    return show(make(StochasticOscillator, period=1, smooth=1, signal=2), bars)


def test_it_buys_at_a_turn_in_the_oversold_range_and_sells_in_the_overbought_one() -> None:
    # %D: 10, 7, 6 | 49, 93, 94
    signals = played([10, 10, 4, 8, 90, 96, 92])
    assert sides(signals) == [None, None, None, Side.BUY, None, None, Side.SELL]
    assert values(signals[3]) == pytest.approx({"k": 8, "d": 6})
    assert values(signals[6]) == pytest.approx({"k": 92, "d": 94})


def test_a_turn_between_the_ranges_is_none() -> None:
    assert sides(played([50, 40, 48, 45, 46])) == [None] * 5


def test_the_levels_themselves_are_outside_of_the_ranges() -> None:
    assert sides(played([20, 15, 25])) == [None] * 3  # %D is 20
    assert sides(played([80, 85, 75])) == [None] * 3  # %D is 80


def test_lines_that_are_apart_from_the_first_have_not_crossed() -> None:
    assert sides(played([4, 8, 12])) == [None] * 3


def test_lines_that_met_have_crossed_where_they_part() -> None:
    assert sides(played([9, 9, 9, 10])) == [None, None, None, Side.BUY]


def test_a_market_that_stands_still_makes_no_signal() -> None:
    assert sides(play(StochasticOscillator, [104.3] * 100)) == [None] * 100


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"oversold": 80, "overbought": 80}, r"oversold \(80\) must be less than overbought \(80"),
        ({"period": 0}, "period"),
        ({"smooth": 0}, "smooth"),
        ({"signal": 1}, "signal"),
        ({"overbought": 100}, "overbought"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(StochasticOscillator, **parameters)
