"""The venues that are traded at for real, or on paper: from SYMBOLS and the keys to their market
data and brokers.

A symbol is `VENUE:NAME`, as in alpaca:AAPL or binance:BTC/USDT; so it is called in the engine and
its database, whatever else is traded.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from engine.brokers.ccxt.venues import VENUES as EXCHANGES
from engine.core.model import Instrument
from engine.core.text import clean
from engine.ops.errors import InDoubt, NotSent, UserError
from engine.ops.settings import Settings
from engine.venues.alpaca import AlpacaVenue
from engine.venues.base import Venue, VenueFeed, venues_with_accounts
from engine.venues.crypto import CryptoVenue
from engine.venues.interactive_brokers import InteractiveBrokersVenue
from engine.venues.memory import Memory
from engine.venues.questrade import QuestradeVenue

__all__ = [
    "VENUES",
    "Venue",
    "VenueFeed",
    "by_venue",
    "chosen",
    "venue_feed",
    "venues_with_accounts",
]

VENUES: Mapping[str, Callable[[Settings], Venue]] = {
    "alpaca": AlpacaVenue,
    **{name: partial(CryptoVenue, name) for name in EXCHANGES},
    "questrade": QuestradeVenue,
    "interactive_brokers": InteractiveBrokersVenue,
}

ASKING_S = 30.0
"""How long the venues may take to say how they trade."""

log = logging.getLogger(__name__)


def by_venue(settings: Settings) -> dict[str, list[str]]:
    """What SYMBOLS names at each venue: AAPL of alpaca:AAPL, and of AAPL where alpaca is the only
    venue that it names. Nothing where it names none.

    Raises UserError where it names several and one symbol has none, or one is unknown.
    """
    found: dict[str, list[str]] = {}
    named = {symbol.partition(":")[0] for symbol in settings.symbols if ":" in symbol}
    if not named:
        return found
    for symbol in settings.symbols:
        full = symbol if ":" in symbol or len(named) > 1 else f"{min(named)}:{symbol}"
        venue, _, name = full.partition(":")
        if venue not in VENUES or not name:
            raise UserError(
                f"SYMBOLS has {clean(symbol)}, and some of it names venues",
                f"write it as VENUE:NAME; there is {', '.join(VENUES)}",
            )
        if name not in found.setdefault(venue, []):
            found[venue].append(name)
    return found


def chosen(settings: Settings) -> dict[str, Venue]:
    """The venues that SYMBOLS names, by name. Raises UserError where the settings do not say how to
    get to one."""
    return {name: VENUES[name](settings) for name in by_venue(settings)}


async def venue_feed(settings: Settings) -> VenueFeed:
    """The market data of all symbols, once the venues have said how they trade. Of one that does
    not answer it is what it said the last time: it does not stop the others.

    Raises UserError where that needs a person, or a venue never said it.
    """
    venues, named = chosen(settings), by_venue(settings)
    memory = Memory(settings.data_dir / "instruments")
    asked = [_instruments(venue, named[name], memory) for name, venue in venues.items()]
    found = await asyncio.gather(*asked, return_exceptions=True)
    instruments: list[Instrument] = []
    for answer in found:
        if isinstance(answer, BaseException):
            raise answer
        instruments += answer
    return VenueFeed(venues, instruments)


async def _instruments(venue: Venue, names: Sequence[str], memory: Memory) -> list[Instrument]:
    try:
        async with asyncio.timeout(ASKING_S):
            found = await venue.instruments(names)
        await asyncio.to_thread(memory.keep, venue.name, found)
    except (NotSent, InDoubt, TimeoutError) as error:
        reason = clean(str(error)) or "no answer in time"
        found = await asyncio.to_thread(memory.recall, venue.name, names)
        if found is None:
            raise UserError(
                f"{venue.name} does not say how it trades ({reason})",
                "check the connection; then start again",
            ) from error
        log.warning("%s does not answer; it trades as it said before: %s", venue.name, reason)
    return [replace(i, symbol=f"{venue.name}:{i.symbol}", venue=venue.name) for i in found]
