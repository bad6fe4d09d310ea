"""Whatever a strategy does, the others go on, and what it may not say is not heard."""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from msgspec import Meta, json

from engine.core.events import (
    CommandRefused,
    SignalGenerated,
    StrategyFailed,
    StrategyState,
    StrategyToggled,
    ToggleStrategy,
)
from engine.core.machine import Machine, StrategySetup
from engine.core.model import Bar, Fill, Quote, Side, Signal
from engine.core.strategy import Strategy, StrategyParameters, make_parameters
from tests.core.rig import ACME, COIN, Rig


class Recorder(Strategy):
    """Remembers what it was shown."""

    bars: ClassVar[list[tuple[Bar, int]]]
    fills: ClassVar[list[Fill]]

    def on_bar(self, bar: Bar, history: Sequence[Bar]) -> Signal | None:
        assert history[-1] is bar
        self.bars.append((bar, len(history)))

    def on_fill(self, fill: Fill) -> None:
        self.fills.append(fill)


@pytest.fixture
def recorder() -> type[Recorder]:
    return type("Fresh", (Recorder,), {"bars": [], "fills": []})


def answering(answer: Callable[[Strategy, Quote], Any]) -> type[Strategy]:
    """A strategy that answers every quote with `answer`."""

    class Answering(Strategy):
        def on_quote(self, quote: Quote) -> Any:
            return answer(self, quote)

    return Answering


def said(rig: Rig, strategy: str = "puppet") -> list[Side]:
    """The sides that a strategy signalled."""
    signals = [fact.signal for fact in rig.facts(SignalGenerated)]
    return [signal.side for signal in signals if signal.strategy == strategy]


# --- signals -------------------------------------------------------------------------------------


def test_a_signal_is_published_with_what_it_rests_on() -> None:
    rig = Rig()
    rig.signal(Side.BUY, strength=0.5, indicators={"fast": 2.0, "slow": 1.0})
    (fact,) = rig.facts(SignalGenerated)
    assert fact.signal.indicators == {"fast": 2.0, "slow": 1.0}
    assert fact.signal.strength == 0.5


def test_the_same_side_twice_in_a_row_is_one_signal_for_each_symbol() -> None:
    rig = Rig(instruments=(ACME, COIN))
    for side in (Side.BUY, Side.BUY, Side.SELL, Side.SELL, Side.BUY):
        rig.signal(side)
    rig.signal(Side.BUY, symbol="COIN")
    assert said(rig) == [Side.BUY, Side.SELL, Side.BUY, Side.BUY]


def test_the_last_side_outlives_a_restart() -> None:
    rig = Rig()
    rig.send(
        Restored := rig.durable().__class__(
            cash=rig.cash,
            strategies=(StrategyState("puppet", True, last_signals={"ACME": Side.BUY}),),
        )
    )
    assert Restored
    rig.signal(Side.BUY)
    assert said(rig) == []
    rig.signal(Side.SELL)
    assert said(rig) == [Side.SELL]
