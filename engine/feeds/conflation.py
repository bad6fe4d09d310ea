"""While the engine is behind, of each symbol the newest quote alone goes on: at most as many as
there are symbols, however many come. Nothing but quotes is ever left out."""

import asyncio
from collections.abc import Callable

from engine.core.events import QuoteUpdate

FLUSH_S = 0.02


class Conflation:
    """Keeps the newest quote of each symbol until the next flush; `dropped` counts the others."""

    def __init__(self, admit: Callable[[QuoteUpdate], None]) -> None:
        self._admit = admit
        self._newest: dict[str, QuoteUpdate] = {}
        self.dropped = 0

    def keep(self, event: QuoteUpdate) -> None:
        symbol = event.quote.symbol
        self.dropped += self._newest.pop(symbol, None) is not None
        self._newest[symbol] = event

    def flush(self) -> None:
        """Pass on what is kept, in the order of the quotes."""
        kept, self._newest = self._newest, {}
        for event in kept.values():
            self._admit(event)

    def flush_one(self, symbol: str) -> None:
        """Pass on what is kept of `symbol`, before something else of it."""
        if event := self._newest.pop(symbol, None):
            self._admit(event)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self.flush()
