"""A crypto exchange of ccxt, as the settings say: with keys its account, or the account of its test
network; without keys its market data, which anybody may have."""

import asyncio
import importlib
from collections.abc import Callable, Sequence

from engine.brokers.base import BaseBroker
from engine.brokers.ccxt import ccxt_broker, library_of
from engine.brokers.ccxt.venues import Access
from engine.core.model import Instrument, Mode
from engine.feeds import ccxt
from engine.feeds.live import Source
from engine.ops.errors import UserError
from engine.ops.settings import Settings

TEST_NETWORKS = frozenset({"binance"})
"""Exchanges where orders can be tried without money."""


class CryptoVenue:
    """The exchange `name`. Raises UserError where real money is to be traded without keys."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        key, secret = (getattr(settings, f"{name}_api_{part}") for part in ("key", "secret"))
        live = settings.mode is Mode.LIVE
        has_keys = bool(key.get_secret_value() and secret.get_secret_value())
        if live and not has_keys:
            raise UserError(
                f"there is no key for {name}",
                f"set {name.upper()}_API_KEY and {name.upper()}_API_SECRET",
            )
        tests = name in TEST_NETWORKS and settings.paper_accounts == "venue"
        self.has_account = has_keys and (live or tests)
        self._access = Access(
            key,
            secret,
            paper=self.has_account and not live,
            url=getattr(settings, f"{name}_url"),
            timeout_s=settings.submit_timeout_s,
        )

    async def instruments(self, names: Sequence[str]) -> list[Instrument]:
        with library_of(self.name):  # a second's work: the others do not wait for it
            await asyncio.to_thread(importlib.import_module, "ccxt.pro")
        return await ccxt.instruments(self.name, self._access, names)

    def sources(self, instruments: Sequence[Instrument]) -> Sequence[Source]:
        return [ccxt.CcxtSource(self.name, self._access, instruments)]

    def broker(self, instruments: Sequence[Instrument], now: Callable[[], int]) -> BaseBroker:
        return ccxt_broker(self.name, instruments, self._access, now)
