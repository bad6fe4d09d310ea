"""The paper broker as a venue: it needs no keys, and plays what is recorded."""

import asyncio
from collections.abc import Callable, Sequence

from engine.brokers.paper import PaperBroker
from engine.build import exchange_rules
from engine.core.events import QuoteUpdate, Restored
from engine.core.model import Instrument, Quote
from engine.core.sessions import Calendars
from engine.feeds.live import Source
from engine.feeds.recordings import Recordings
from engine.ops.settings import Settings


class PaperVenue:
    """Its one quote is the last price that is recorded."""

    name = "paper"
    has_account = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._recordings = Recordings(settings.replay_dir)

    async def instruments(self, names: Sequence[str]) -> list[Instrument]:
        chosen = names or self._recordings.symbols[:1]
        return await asyncio.to_thread(lambda: [self._recordings.instrument(n) for n in chosen])

    def sources(self, instruments: Sequence[Instrument]) -> Sequence[Source]:
        return ()

    def broker(self, instruments: Sequence[Instrument], now: Callable[[], int]) -> PaperBroker:
        broker = PaperBroker(instruments, exchange_rules(self._settings), Calendars(), now)
        broker.restore(Restored({broker.name: self._settings.starting_cash}))
        for instrument in instruments:
            name = instrument.symbol.removeprefix(f"{self.name}:")
            for bar in self._recordings.bars(name)[-1:]:
                quote = Quote(instrument.symbol, bar.ts, bar.close, bar.close, 0, 0)
                broker.on_market(QuoteUpdate(quote, ts=bar.ts))
        return broker
