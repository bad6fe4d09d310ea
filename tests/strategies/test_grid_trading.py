"""The grid, with lines that are powers of two."""

import pytest

from engine.core.model import Side
from strategies.grid_trading import GridTrading
from tests.strategies.playing import make, play, sides, values

BUY, SELL = Side.BUY, Side.SELL


def test_it_buys_at_a_line_below_and_sells_at_one_above() -> None:
    closes = [5, 4, 5, 3, 2, 3, 2, 4, 7.9, 8, 4.1, 4]
    expected = [None, None, None, None, BUY, None, None, SELL, None, SELL, None, BUY]
    signals = play(GridTrading, closes, interval_pct=100)
    assert sides(signals) == expected
    lines = [values(signal)["line"] for signal in signals if signal]
    assert lines == [2, 4, 8, 4]


def test_the_first_line_makes_no_signal() -> None:
    assert sides(play(GridTrading, [5, 4], interval_pct=100)) == [None, None]
    assert sides(play(GridTrading, [5, 9], interval_pct=100)) == [None, None]


def test_to_and_fro_across_one_line_trades_once() -> None:
    signals = play(GridTrading, [5, 8, 4, 4.1, 3.9, 4.1, 3.9, 4.1], interval_pct=100)
    assert sides(signals) == [None, None, BUY, *[None] * 5]


def test_a_jump_through_several_lines_counts_from_where_it_ended() -> None:
    # From 4 through 2 and 1 to under 1; then 2 is the next line above, and so up to 32.
    signals = play(GridTrading, [5, 4, 0.9, 1.9, 33, 17, 16], interval_pct=100)
    assert sides(signals) == [None, None, BUY, None, SELL, None, BUY]
    assert [values(signal)["line"] for signal in signals if signal] == [1, 32, 16]


def test_a_position_is_sold_one_line_above_the_lowest() -> None:
    signals = play(GridTrading, [17, 16, 8, 4, 7.9, 8], interval_pct=100)
    assert sides(signals) == [None, None, BUY, BUY, None, SELL]


def test_the_lines_do_not_depend_on_where_it_began() -> None:
    # The lines around are 98.35, 98.84, 99.34, 99.83, 100.33, 100.83.
    one = play(GridTrading, [98, 98.5, 99, 99.3, 99.4, 100.4])
    other = play(GridTrading, [98.4, 98.1, 99.4, 100.4])
    assert [values(signal)["line"] for signal in one[4:] if signal] == [1.005**922, 1.005**924]
    assert sides(other)[-2:] == sides(one)[-2:] == [SELL, SELL]
    assert values(other[-1]) == values(one[-1])


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({"interval_pct": 0}, "interval_pct"), ({"interval_pct": 101}, "interval_pct")],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(GridTrading, **parameters)
