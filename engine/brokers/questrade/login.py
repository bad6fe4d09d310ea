"""How to get to an account at Questrade."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct
from pydantic import SecretStr

from engine.core.text import clean
from engine.ops.errors import UserError

if TYPE_CHECKING:
    from engine.brokers.questrade.session import Session

LOGIN_URL = "https://login.questrade.com"
PRACTICE_LOGIN_URL = "https://practicelogin.questrade.com"
HERE = ("127.0.0.1", "localhost", "::1")


class Login(Struct, frozen=True):
    """`refresh_token` is the one that was made by hand, empty where the stored ones go on;
    `tokens_path` is the file of the newest ones. `practice` says that it is a practice account.
    `url` is the login server where it is not Questrade's own for that; `timeout_s` is for one
    request (seconds)."""

    refresh_token: SecretStr
    tokens_path: Path
    practice: bool = False
    url: str | None = None
    timeout_s: float = 10.0

    @property
    def live(self) -> bool:
        """Whether it is a real account."""
        return not self.practice

    @property
    def login_url(self) -> str:
        own = PRACTICE_LOGIN_URL if self.practice else LOGIN_URL
        return (self.url or own).rstrip("/")

    def check(self) -> None:
        """Raises UserError where the token would be sent to somebody else."""
        parts = urlsplit(self.login_url)
        host = parts.hostname or ""
        is_questrades = parts.scheme == "https" and host.endswith(".questrade.com")
        if not is_questrades and host not in HERE:
            raise UserError(
                f"{clean(self.login_url)} is not Questrade's",
                f"its login servers are {LOGIN_URL} and {PRACTICE_LOGIN_URL}",
            )


def open_session(login: Login, now: Callable[[], int]) -> "Session":
    """The one session of an engine, which its broker and its market data share: a refresh token
    works once, and limits of requests are those of the login. Nothing is sent before it is used.

    Raises UserError where a library is missing, or the login is none of Questrade's.
    """
    login.check()
    try:
        from engine.brokers.questrade.session import Session
    except ImportError as error:
        raise UserError(
            f"the broker questrade needs {error.name}, which is not installed",
            "run: pip install 'tradebot-tui[questrade]'",
        ) from error
    return Session(login, now)
