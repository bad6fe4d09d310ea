"""Interactive Brokers, as the settings say: the account of a TWS or an IB Gateway on which a person
has logged in. Whether it is a real one shows when it is connected."""

from collections.abc import Callable, Sequence

from engine.brokers.base import BaseBroker
from engine.brokers.interactive_brokers import Gateway, InteractiveBrokers
from engine.core.model import Instrument, Mode
from engine.feeds import interactive_brokers
from engine.feeds.clock import SystemClock
from engine.feeds.live import Source
from engine.ops.settings import Settings


class InteractiveBrokersVenue:
    name = "interactive_brokers"

    def __init__(self, settings: Settings) -> None:
        self._gateway = Gateway(
            settings.ib_host,
            settings.ib_port,
            settings.ib_client_id,
            settings.ib_account,
            settings.submit_timeout_s,
        )
        self.has_account = settings.mode is Mode.LIVE or settings.paper_accounts == "venue"

    async def instruments(self, names: Sequence[str]) -> list[Instrument]:
        return await interactive_brokers.instruments(self._gateway, names)

    def sources(self, instruments: Sequence[Instrument]) -> Sequence[Source]:
        now = SystemClock().now
        return [interactive_brokers.InteractiveBrokersSource(self._gateway, instruments, now)]

    def broker(self, instruments: Sequence[Instrument], now: Callable[[], int]) -> BaseBroker:
        return InteractiveBrokers(instruments, now, self._gateway)
