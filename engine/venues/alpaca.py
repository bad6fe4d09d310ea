"""Alpaca, as the settings say: keys of a paper account, or of a real one."""

import asyncio
from collections.abc import Callable, Sequence

from engine.brokers.alpaca import AlpacaBroker, Login
from engine.brokers.base import BaseBroker
from engine.core.model import AssetClass, Instrument, Mode
from engine.feeds import alpaca
from engine.feeds.live import Source
from engine.ops.errors import UserError
from engine.ops.settings import Settings


class AlpacaVenue:
    """Raises UserError where there is no key, or it is one of the other kind of account."""

    name = "alpaca"

    def __init__(self, settings: Settings) -> None:
        self._login = _login(settings)
        self._extended_hours = settings.extended_hours
        self.has_account = settings.mode is Mode.LIVE or settings.paper_accounts == "venue"

    async def instruments(self, names: Sequence[str]) -> list[Instrument]:
        return await asyncio.to_thread(alpaca.instruments, self._login, names)

    def sources(self, instruments: Sequence[Instrument]) -> Sequence[Source]:
        """A stream for the stocks, and one for the crypto."""
        kinds = [[i for i in instruments if i.asset_class is kind] for kind in AssetClass]
        return [
            alpaca.AlpacaSource(self._login, own, own[0].asset_class is AssetClass.CRYPTO)
            for own in kinds
            if own
        ]

    def broker(self, instruments: Sequence[Instrument], now: Callable[[], int]) -> BaseBroker:
        extended = self._extended_hours
        return AlpacaBroker(instruments, self._login, now, extended_hours=extended)


def _login(settings: Settings) -> Login:
    if not (settings.alpaca_api_key.get_secret_value() and settings.alpaca_api_secret):
        raise UserError(
            "there is no key for Alpaca",
            "set ALPACA_API_KEY and ALPACA_API_SECRET, which Alpaca's dashboard shows",
        )
    login = Login(
        settings.alpaca_api_key,
        settings.alpaca_api_secret,
        live=settings.mode is Mode.LIVE,
        url=settings.alpaca_url or None,
        stream_url=settings.alpaca_stream_url or None,
        data_url=settings.alpaca_data_url or None,
        data_stream_url=settings.alpaca_data_stream_url or None,
        read_s=settings.submit_timeout_s,
        feed=settings.alpaca_feed,
        account_id=settings.alpaca_account_id,
    )
    login.check()
    return login
