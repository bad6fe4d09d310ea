"""A strategy by itself, shown bars that are made by hand."""

from collections.abc import Sequence
from typing import Any

from engine.core.model import MINUTE, Bar, Side, Signal
from engine.core.strategy import Strategy, make_parameters


def make(kind: type[Strategy], **parameters: Any) -> Strategy:
    strategy = kind("ACME", make_parameters(kind, parameters))
    strategy.name = "played"
    return strategy


def show(strategy: Strategy, bars: Sequence[Bar]) -> list[Signal | None]:
    """What `strategy` answers to each of `bars`."""
    return [strategy.on_bar(bar, bars[: number + 1]) for number, bar in enumerate(bars)]


def play(
    kind: type[Strategy],
    closes: Sequence[float],
    volumes: Sequence[float] = (),
    **parameters: Any,
) -> list[Signal | None]:
    """What a new strategy answers to bars of one price each, a minute apart."""
    bars = [
        Bar("ACME", number * MINUTE, close, close, close, close, volume)
        for number, (close, volume) in enumerate(
            zip(closes, volumes or [1.0] * len(closes), strict=True), 1
        )
    ]
    return show(make(kind, **parameters), bars)


def sides(signals: Sequence[Signal | None]) -> list[Side | None]:
    return [signal.side if signal else None for signal in signals]


def values(signal: Signal | None) -> dict[str, float]:
    """The indicator values that a signal rests on."""
    assert signal is not None
    return signal.indicators
