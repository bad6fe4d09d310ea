"""Bars as candles: several in one where one looks from further away, and the gaps between them."""

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from engine.core.model import Bar


class Candle(NamedTuple):
    """Prices and volume of the bars that began from `start` on and were closed by `end`, in
    nanoseconds UTC."""

    start: int
    end: int
    open: float
    high: float
    low: float
    close: float
    volume: float


def candles(bars: Iterable[Bar], factor: int) -> list[Candle]:
    """A candle for every `factor` intervals, counted from the epoch. One of which bars are missing
    is of those that are there."""
    groups = groupby(bars, key=lambda bar: bar.start // (bar.interval * factor))
    return [_candle(list(group)) for _, group in groups]


def _candle(bars: Sequence[Bar]) -> Candle:
    return Candle(
        bars[0].start,
        bars[-1].ts,
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        sum(bar.volume for bar in bars),
    )


def with_gaps(drawn: Sequence[Candle]) -> list[Candle | None]:
    """The candles, with one None wherever time is missing between two of them."""
    slots: list[Candle | None] = []
    for number, candle in enumerate(drawn):
        if number and candle.start > drawn[number - 1].end:
            slots.append(None)
        slots.append(candle)
    return slots


def gaps(bars: Sequence[Bar]) -> int:
    """How often bars are missing between two that follow each other."""
    return sum(after.start > before.ts for before, after in pairwise(bars))


class Forming:
    """The prices that this console saw since the last bar closed: what will be a bar, as far as it
    is known here. What was before the console looked is not in it."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, float, float]] = {}

    def see(self, last: Bar, price: float | None, ts: int) -> None:
        """The last price is `price` since `ts`, and `last` the last bar."""
        part = max(1, last.interval // _PARTS)
        self._seen = {at: seen for at, seen in self._seen.items() if seen[0] > last.ts}
        if price is None or ts <= last.ts:
            return
        since, low, high = self._seen.get(ts // part, (ts, price, price))
        self._seen[ts // part] = since, min(low, price), max(high, price)

    @property
    def range(self) -> tuple[float, float] | None:
        """The lowest and the highest of them."""
        if not self._seen:
            return None
        return min(low for _, low, _ in self._seen.values()), max(
            high for _, _, high in self._seen.values()
        )


_PARTS = 8
"""Parts of a bar's length that are kept: a bar that comes late ends some of them, not all."""
