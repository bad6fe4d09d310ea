"""Questrade, as the settings say: a token of a practice account, or of a real one."""

from collections.abc import Callable, Sequence

from engine.brokers.base import BaseBroker
from engine.brokers.questrade import Login, QuestradeBroker, open_session
from engine.core.model import Instrument, Mode
from engine.feeds import questrade
from engine.feeds.clock import SystemClock
from engine.feeds.live import Source
from engine.ops.errors import UserError
from engine.ops.settings import Settings

TOKENS = "questrade.json"
"""In DATA_DIR: the tokens that followed the one of the settings."""


class QuestradeVenue:
    """Its market data and its account share a login. On paper orders go to a practice account; a
    real one gives its market data alone then."""

    name = "questrade"

    def __init__(self, settings: Settings) -> None:
        live = settings.mode is Mode.LIVE
        if live and settings.questrade_practice:
            raise UserError(
                "a practice account is none for real money",
                "set QUESTRADE_PRACTICE=false and the token of a real account, or MODE=paper",
            )
        practices = settings.questrade_practice and settings.paper_accounts == "venue"
        self.has_account = live or practices
        self._account = settings.questrade_account
        login = Login(
            settings.questrade_refresh_token,
            settings.data_dir / TOKENS,
            practice=settings.questrade_practice,
            url=settings.questrade_url or None,
            timeout_s=settings.submit_timeout_s,
        )
        self._session = open_session(login, SystemClock().now)

    async def instruments(self, names: Sequence[str]) -> list[Instrument]:
        return await questrade.instruments(self._session, names)

    def sources(self, instruments: Sequence[Instrument]) -> Sequence[Source]:
        return [questrade.QuestradeSource(self._session, instruments)]

    def broker(self, instruments: Sequence[Instrument], now: Callable[[], int]) -> BaseBroker:
        return QuestradeBroker(instruments, self._session, account=self._account)
