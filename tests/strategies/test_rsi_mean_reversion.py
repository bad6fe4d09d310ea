"""Reversion of the RSI, on numbers computed by hand."""

from typing import Any

import pytest

from engine.core.model import Side
from strategies.rsi_mean_reversion import RsiMeanReversion
from tests.strategies.playing import make, play, sides, values


def test_it_buys_below_30_and_sells_above_70() -> None:
    # Of 2 changes: gain 1 and loss 1/2; then 3/2, 1/4; 3/4, 1/8; 3/8, 33/16; 19/16, 33/32.
    signals = play(RsiMeanReversion, [10, 12, 11, 13, 13, 9, 11], period=2)
    assert sides(signals) == [None, None, None, Side.SELL, Side.SELL, Side.BUY, None]
    assert values(signals[3]) == pytest.approx({"rsi": 100 * 6 / 7})
    assert values(signals[5]) == pytest.approx({"rsi": 100 * 6 / 39})
    assert signals[5] is not None
    assert signals[5].price == 9


def test_the_levels_themselves_are_neither_oversold_nor_overbought() -> None:
    assert sides(play(RsiMeanReversion, [100, 106, 92], period=2)) == [None] * 3  # 3 : 7
    assert sides(play(RsiMeanReversion, [100, 94, 108], period=2)) == [None] * 3  # 7 : 3


def test_other_levels() -> None:
    levels: dict[str, Any] = {"period": 2, "oversold": 40, "overbought": 60}
    assert sides(play(RsiMeanReversion, [100, 106, 92], **levels))[-1] is Side.BUY
    assert sides(play(RsiMeanReversion, [100, 94, 108], **levels))[-1] is Side.SELL


def test_a_market_that_stands_still_makes_no_signal() -> None:
    assert sides(play(RsiMeanReversion, [104.3] * 100)) == [None] * 100


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"oversold": 70, "overbought": 70}, r"oversold \(70\) must be less than overbought \(70"),
        ({"period": 0}, "period"),
        ({"oversold": 0}, "oversold"),
        ({"overbought": 100}, "overbought"),
        ({"level": 1}, "level"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(RsiMeanReversion, **parameters)
