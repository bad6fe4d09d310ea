"""Reversion to the VWAP of the session, on numbers computed by hand."""

import pytest

from engine.core.model import DAY, MINUTE, Bar, Side
from engine.core.strategy import Strategy
from strategies.vwap import Vwap
from tests.strategies.playing import make, show, sides, values


def bars(first: int, *rows: tuple[float, float]) -> list[Bar]:
    """Bars of close and volume, a minute apart; the first ends a minute after `first`."""
    return [
        Bar("ACME", first + number * MINUTE, close, close, close, close, volume)
        for number, (close, volume) in enumerate(rows, 1)
    ]


@pytest.fixture
def strategy() -> Strategy:
    """That has seen the last two minutes of a day."""
    strategy = make(Vwap, below_pct=10, above_pct=5)
    assert show(strategy, bars(DAY - 2 * MINUTE, (50, 9), (500, 9))) == [None, None]
    return strategy


def test_it_buys_below_and_sells_above(strategy: Strategy) -> None:
    # The VWAP: 100; 180/2; 350/4; 470/5.
    signals = show(strategy, bars(DAY, (100, 1), (80, 1), (85, 2), (120, 1)))
    assert sides(signals) == [None, Side.BUY, None, Side.SELL]
    assert values(signals[1]) == pytest.approx({"vwap": 90})
    assert values(signals[3]) == pytest.approx({"vwap": 94})


def test_the_price_of_a_bar_is_the_typical_one(strategy: Strategy) -> None:
    (first, second) = bars(DAY, (100, 1), (100, 1))
    show(strategy, [Bar("ACME", first.ts, 100, 160, 100, 100, 1)])
    (signal,) = show(strategy, [second])
    assert sides([signal]) == [None]  # 220/2 less 10 %: not below 99
    (signal,) = show(strategy, bars(DAY + 2 * MINUTE, (90, 1)))
    assert values(signal) == pytest.approx({"vwap": 310 / 3})


def test_the_distances_themselves_are_not_passed(strategy: Strategy) -> None:
    rows = [(100, 1), (105, 0), (90, 0), (105.01, 0), (89.99, 0)]
    signals = show(strategy, bars(DAY, *rows))
    assert sides(signals) == [None, None, None, Side.SELL, Side.BUY]


def test_each_session_begins_anew(strategy: Strategy) -> None:
    show(strategy, bars(DAY, (100, 1)))
    last, first = bars(2 * DAY - MINUTE, (80, 1), (60, 1))
    assert sides(show(strategy, [last])) == [Side.BUY]  # it ends at midnight, and is of the day
    assert show(strategy, [first]) == [None]


def test_a_session_whose_begin_was_not_seen_is_left_out() -> None:
    strategy = make(Vwap)
    assert show(strategy, bars(DAY, (100, 1), (50, 1), (200, 1))) == [None] * 3


def test_without_a_volume_there_is_no_vwap(strategy: Strategy) -> None:
    assert show(strategy, bars(DAY, (100, 0), (50, 0), (200, 0))) == [None] * 3


def test_a_market_that_stands_still_makes_no_signal() -> None:
    strategy = make(Vwap, below_pct=0, above_pct=0)
    rows = [(104.3, 1 + number % 7) for number in range(200)]
    assert show(strategy, bars(DAY - 10 * MINUTE, *rows)) == [None] * 200


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({"below_pct": -1}, "below_pct"), ({"above_pct": 100}, "above_pct"), ({"pct": 1}, "pct")],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(Vwap, **parameters)
