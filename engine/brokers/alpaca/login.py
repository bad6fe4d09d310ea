"""How to get to an account at Alpaca."""

from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from pydantic import SecretStr

from engine.core.text import clean
from engine.ops.errors import UserError

PREFIXES = {"PK": False, "AK": True}
"""How the keys of paper accounts and of real ones begin."""
PAPER_ACCOUNTS = "PA"
DATA_STREAM_SANDBOX = "wss://stream.data.sandbox.alpaca.markets"
"""Of the Broker API (https://docs.alpaca.markets/docs/streaming-market-data)."""


class Login(Struct, frozen=True):
    """`live` says that it is a real account. Where a URL is None it is Alpaca's own for that;
    `read_s` is how long Alpaca may be silent before a request is given up (seconds), `feed` where
    quotes of stocks come from (iex, or sip where it is paid for), `requests_a_minute` what Alpaca
    takes of the account (https://docs.alpaca.markets/docs/usage-limit-api-calls). `account_id` is
    the id of a customer's account at a firm that has the Broker API: then the key is the firm's.
    """

    key: SecretStr
    secret: SecretStr
    live: bool = False
    url: str | None = None
    stream_url: str | None = None
    data_url: str | None = None
    data_stream_url: str | None = None
    read_s: float = 10.0
    feed: str = "iex"
    requests_a_minute: int = 200
    account_id: str = ""

    @property
    def broker_url(self) -> str:
        """Where the Broker API is."""
        host = "broker-api" if self.live else "broker-api.sandbox"
        return self.url or f"https://{host}.alpaca.markets"

    @property
    def to_data(self) -> dict[str, Any]:
        """What the library's clients of market data are to be made with. A firm's key comes another
        way, and has a sandbox."""
        is_firm = bool(self.account_id)
        return {
            "api_key": self.key.get_secret_value(),
            "secret_key": self.secret.get_secret_value(),
            "raw_data": True,
            "url_override": self.data_url,
            "use_basic_auth": is_firm,
            "sandbox": is_firm and not self.live,
        }

    def data_stream(self, path: str) -> str | None:
        """Where the stream of market data at `path` is; None where the library knows it."""
        sandbox = DATA_STREAM_SANDBOX if self.account_id and not self.live else None
        base = self.data_stream_url or sandbox
        return base and f"{base}/{path}"

    def check(self) -> None:
        """Raises UserError where the key is one of the other kind of account, or would be sent to
        somebody else."""
        for url in (self.url, self.stream_url, self.data_url, self.data_stream_url):
            if url is not None and not _is_alpacas(url):
                raise UserError(
                    f"{clean(url)} is not Alpaca's",
                    "Its addresses are https://…alpaca.markets and wss://…alpaca.markets.",
                )
        known = PREFIXES.get(self.key.get_secret_value()[:2], self.live)
        if known != self.live:
            raise _wrong_account("key", known)

    def check_account(self, number: str) -> None:
        """Raises UserError where the account of that number is of the other kind. In the sandbox of
        the Broker API numbers look like real ones."""
        if not self.account_id and number.startswith(PAPER_ACCOUNTS) == self.live:
            raise _wrong_account("account", not self.live)


def _is_alpacas(url: str) -> bool:
    """A server on this computer is too: a proxy, or one to try things with."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("127.0.0.1", "localhost", "::1"):
        return True
    return parts.scheme in ("https", "wss") and host.endswith(".alpaca.markets")


def _wrong_account(what: str, is_real: bool) -> UserError:
    has, wanted = ("real", "paper") if is_real else ("paper", "real")
    return UserError(
        f"Alpaca's {what} is that of a {has} account, and a {wanted} one is traded",
        f"Set the key and secret of the {wanted} account, or the mode of the {has} one.",
    )
