"""The crossover, on averages computed by hand."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.events import SignalGenerated
from engine.core.model import MINUTE, Bar, OrderPurpose, Side, Signal
from engine.core.strategy import make_parameters
from strategies.sma_crossover import STRATEGY_CLASS, STRATEGY_NAME, SmaCrossover
from tests.core.rig import BOUNDED, Rig

# close, average of 2, average of 3, what follows
HAND = [
    (10, None, None, None),
    (10, 10.0, None, None),
    (10, 10.0, 10.0, None),
    (13, 11.5, 11.0, Side.BUY),
    (10, 11.5, 11.0, None),
    (7, 8.5, 10.0, Side.SELL),
    (7, 7.0, 8.0, None),
    (10, 8.5, 8.0, Side.BUY),
    (10, 10.0, 9.0, None),
    (10, 10.0, 10.0, None),
    (4, 7.0, 8.0, Side.SELL),
]


def play(closes: Sequence[float], **parameters: Any) -> list[Signal | None]:
    strategy = SmaCrossover("ACME", make_parameters(SmaCrossover, parameters))
    strategy.name = "sma_crossover"
    bars = [
        Bar("ACME", number * MINUTE, close, close, close, close, 1)
        for number, close in enumerate(closes, 1)
    ]
    return [strategy.on_bar(bar, bars[: number + 1]) for number, bar in enumerate(bars)]


def test_it_signals_on_the_bar_at_which_the_averages_cross() -> None:
    signals = play([close for close, *_ in HAND], fast=2, slow=3)
    for number, (signal, (close, fast, slow, side)) in enumerate(zip(signals, HAND, strict=True)):
        if side is None:
            assert signal is None, number
            continue
        assert signal is not None, number
        assert signal.side is side
        assert signal.price == close
        assert signal.ts == (number + 1) * MINUTE
        assert signal.indicators == pytest.approx({"fast": fast, "slow": slow})


def test_averages_that_are_apart_from_the_first_have_not_crossed() -> None:
    assert play([10, 10, 13, 14], fast=2, slow=3) == [None] * 4


def test_a_market_that_stands_still_makes_no_signal() -> None:
    rise = [100.1 + 0.1 * n for n in range(40)]
    signals = play([*rise, *[104.3] * 200])
    assert signals[40:] == [None] * 200


@BOUNDED
@given(st.lists(st.integers(90, 110), max_size=60))
def test_sides_follow_the_averages_of_the_whole_series(closes: list[int]) -> None:
    signals = play(closes, fast=3, slow=7)
    for number, signal in enumerate(signals):
        spreads = [
            sum(closes[end - 3 : end]) * 7 - sum(closes[end - 7 : end]) * 3
            for end in (number, number + 1)
            if end >= 7
        ]
        expected = None
        if len(spreads) == 2 and spreads[0] <= 0 < spreads[1]:
            expected = Side.BUY
        elif len(spreads) == 2 and spreads[1] < 0 <= spreads[0]:
            expected = Side.SELL
        assert (signal.side if signal else None) is expected, number


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"fast": 30, "slow": 30}, r"fast \(30\) must be less than slow \(30\)"),
        ({"fast": 0}, "fast"),
        ({"slow": 1}, "slow"),
        ({"fast": 2.5}, "fast"),
        ({"fats": 2}, "fats"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        play([], **parameters)


def test_the_defaults_are_10_and_30_and_need_31_bars() -> None:
    strategy = SmaCrossover("ACME", make_parameters(SmaCrossover, {}))
    assert (strategy.parameters.fast, strategy.parameters.slow) == (10, 30)
    assert strategy.required_history() == 31


def test_it_trades_through_the_machine() -> None:
    rig = Rig(kinds={STRATEGY_NAME: STRATEGY_CLASS})
    for price in [100.0] * 31 + [101.0, 101.0]:
        rig.bar(price)
    (fact,) = rig.facts(SignalGenerated)
    assert fact.signal.indicators == pytest.approx({"fast": 100.1, "slow": 100 + 1 / 30})
    assert rig.position(STRATEGY_NAME).quantity == Decimal(48)
    for price in [99.5] * 20:
        rig.bar(price)
    assert rig.position(STRATEGY_NAME).quantity == 0
    assert [o.purpose for o in rig.submits() if o.side is Side.SELL] == [
        OrderPurpose.PROTECTIVE_STOP,
        OrderPurpose.EXIT,
    ]
