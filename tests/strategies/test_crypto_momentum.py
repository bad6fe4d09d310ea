"""Momentum with volume, on numbers computed by hand."""

import pytest

from engine.core.model import Side
from strategies.crypto_momentum import CryptoMomentum
from tests.strategies.playing import make, play, sides, values

SHORT = {"lookback": 2, "entry_pct": 10, "exit_pct": 5, "volume_factor": 2}


def test_it_buys_a_rise_on_volume_and_sells_once_it_is_lost() -> None:
    # Changes over two bars: +11 %, 0, -6.3 %.
    signals = play(CryptoMomentum, [100, 100, 111, 100, 104], [1, 1, 3, 1, 1], **SHORT)
    assert sides(signals) == [None, None, Side.BUY, None, Side.SELL]
    assert values(signals[2]) == pytest.approx({"change_pct": 11, "volume": 3, "usual_volume": 1})
    assert values(signals[4])["change_pct"] == pytest.approx(-700 / 111)


def test_a_rise_without_volume_is_no_entry() -> None:
    assert sides(play(CryptoMomentum, [100, 100, 111], [1, 1, 2], **SHORT)) == [None] * 3


def test_volume_without_a_rise_is_no_entry() -> None:
    assert sides(play(CryptoMomentum, [100, 100, 109.9], [1, 1, 9], **SHORT)) == [None] * 3


def test_the_changes_themselves_are_not_passed() -> None:
    halves = SHORT | {"entry_pct": 50, "exit_pct": 50}
    assert sides(play(CryptoMomentum, [100, 100, 150, 50], [1, 1, 9, 9], **halves)) == [None] * 4


def test_a_market_that_stands_still_makes_no_signal() -> None:
    volumes = [1 + number % 7 for number in range(200)]
    assert sides(play(CryptoMomentum, [104.3] * 200, volumes, entry_pct=0)) == [None] * 200


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"lookback": 0}, "lookback"),
        ({"entry_pct": -1}, "entry_pct"),
        ({"exit_pct": 100}, "exit_pct"),
        ({"volume_factor": -1}, "volume_factor"),
        ({"entry_pct": "inf"}, "entry_pct"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(CryptoMomentum, **parameters)
