"""The public market behind a server of an exchange, whatever protocol is spoken."""

from collections.abc import Iterable

from engine.core.model import MINUTE, Bar
from tests.loopback.faults import Streams


class Market:
    """`streams` are the connections to those who listen; `halted` symbols are not traded."""

    def __init__(self) -> None:
        self.streams = Streams()
        self.halted: set[str] = set()
        self._candles: dict[tuple[str, int], list[Bar]] = {}

    def add(self, bars: Iterable[Bar]) -> None:
        for bar in bars:
            self._candles.setdefault((bar.symbol, bar.interval), []).append(bar)

    def candles(self, symbol: str, interval: int = MINUTE) -> list[Bar]:
        """All, the oldest first."""
        return sorted(self._candles.get((symbol, interval), ()), key=lambda bar: bar.ts)
