"""Crypto exchanges, spoken to through the library ccxt."""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

from engine.brokers.base import BaseBroker
from engine.brokers.ccxt.venues import VENUES, Access
from engine.core.model import Instrument
from engine.ops.errors import UserError


@contextmanager
def library_of(name: str) -> Generator[None]:
    """Imports of what `name` needs. Raises UserError where that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{name} needs the library {error.name}", "Run: pip install 'tradebot-tui[ccxt]'"
        ) from None


def ccxt_broker(
    name: str, instruments: Iterable[Instrument], access: Access, now: Callable[[], int]
) -> BaseBroker:
    """The account at the exchange `name`, for trading in `instruments`; `now` is in ns UTC.

    Raises UserError where the library is not installed, or the exchange is none that was tried.
    """
    if name not in VENUES:
        raise UserError(
            f"{name} is no exchange that orders go to", f"Take one of {', '.join(VENUES)}."
        )
    with library_of(name):
        from engine.brokers.ccxt.broker import CcxtBroker
    return CcxtBroker(name, instruments, access, now)
