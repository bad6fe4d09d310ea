"""What ccxt raises, told as one of the few kinds that the engine knows."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import aiohttp
from ccxt.base import errors as ccxt  # pyright: ignore[reportMissingTypeStubs]

from engine.brokers.base import (
    InDoubt,
    NotAuthenticated,
    NotConnected,
    NotPermitted,
    NotSent,
    RateLimited,
)
from engine.core.text import clean

WAIT_S = 10.0
"""How long to wait where an exchange limits the rate and does not say for how long."""
MARKET_SHUT = "EService:Market in "
"""How Kraken says that a pair takes no such orders now (cancel_only, post_only, limit_only mode),
which is for the library the same as an exchange that is down."""
NEVER_LEFT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, socket.gaierror)


class Refused(Exception):
    """The exchange's answer is no. `unknown` says that it knows of no such order."""

    def __init__(self, reason: str, unknown: bool = False) -> None:
        super().__init__(reason)
        self.unknown = unknown


@contextmanager
def understood() -> Generator[None]:
    """What the exchange said is read here; where it cannot be read it is InDoubt."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError):
        raise InDoubt("the answer was not understood") from None


async def asked(call: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """What the exchange answers. Raises Refused where that is no."""
    try:
        return await call(*arguments)
    except Exception as error:
        raise told(error) from None  # the library's own text may hold what is signed


async def answered(call: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """As `asked`, of what no exchange refuses."""
    try:
        return await asked(call, *arguments)
    except Refused as refused:
        raise InDoubt(str(refused)) from None


def told(error: Exception) -> Exception:
    """NotSent, one of its kinds, InDoubt or Refused, for what a call of ccxt raised.

    Only what the exchange surely answered is Refused; whatever else may have been carried out is
    InDoubt. The text of a failed connection is not told: it holds the signed address.
    """
    if isinstance(error, NotSent | InDoubt):
        return error
    reason = clean(str(error))
    match error:
        case ccxt.DuplicateOrderId():
            return InDoubt(f"accepted earlier: {reason}")
        case ccxt.PermissionDenied() | ccxt.AccountSuspended():
            return NotPermitted(reason)
        case ccxt.AuthenticationError():
            return NotAuthenticated(reason)
        case ccxt.RateLimitExceeded() | ccxt.DDoSProtection():
            return RateLimited(reason, WAIT_S)
        case ccxt.InvalidNonce():
            return NotSent(reason)
        case ccxt.NetworkError() if isinstance(error.__cause__, ssl.CertificateError):
            return NotConnected("the certificate is not valid")
        case ccxt.NetworkError() if isinstance(error.__cause__, NEVER_LEFT):
            return NotConnected("there is no connection")
        case ccxt.ExchangeError() if not isinstance(error.__cause__, aiohttp.ClientError):
            # Binance has no code of its own for it: -2010 "Duplicate order sent.".
            if "duplicate" in reason.lower():
                return InDoubt(f"accepted earlier: {reason}")
            return Refused(reason, isinstance(error, ccxt.OrderNotFound))
        case ccxt.OnMaintenance() if MARKET_SHUT in reason:
            return Refused(reason)
        case ccxt.RequestTimeout() | asyncio.TimeoutError():
            return InDoubt("no answer in time")
        case ccxt.OperationFailed() if error.__cause__ is None:
            return InDoubt(reason)
        case ccxt.BaseError():
            return InDoubt("the connection was lost")
        case _:
            return InDoubt(f"the answer was not understood: {type(error).__name__}")
