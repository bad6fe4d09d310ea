"""What an account at a broker has when it is first traded with here: where its books begin."""

import asyncio
import logging
from collections.abc import Collection, Iterable
from decimal import Decimal

from msgspec import Struct

from engine.brokers.base import BaseBroker
from engine.build import opening_cash
from engine.core.events import RatePublished
from engine.core.model import (
    EXTERNAL,
    OPENING,
    ZERO,
    Fill,
    Instrument,
    Side,
)
from engine.core.orders import client_order_id
from engine.core.text import clean
from engine.feeds.base import Feed
from engine.ops.errors import InDoubt, NotSent, UserError
from engine.ops.settings import Settings
from engine.venues import Venue, venues_with_accounts

ASKING_S = 30.0

log = logging.getLogger(__name__)


class Opening(Struct, frozen=True):
    """`cash`, and what was bought (or sold short) with it at the prices of now: after these `fills`
    both are what the broker says. `account` is the number that this gives it."""

    cash: Decimal
    fills: tuple[Fill, ...] = ()
    account: str = ""


async def openings(
    settings: Settings, feed: Feed, rates: Iterable[RatePublished], known: Collection[str]
) -> dict[str, Opening]:
    """What each account begins with where it is new, by its venue: one at a broker with what that
    says, one of ours with its share of STARTING_CASH. Those at brokers that are `known` have books
    here: they are not asked, and nothing opens them again.

    Raises UserError where a broker does not answer, for without its money nothing could be sized;
    and as `opening_cash` does.
    """
    at_brokers = venues_with_accounts(feed)
    cash = opening_cash(settings, feed.instruments, rates, at_brokers)
    found = {name: Opening(share) for name, share in cash.items()}
    new = [name for name in at_brokers if name not in known]
    asked = [_asked(at_brokers[name], feed) for name in new]
    for name, answer in zip(new, await asyncio.gather(*asked, return_exceptions=True), strict=True):
        if isinstance(answer, BaseException):
            raise answer
        found[name] = answer
    return found


async def _asked(venue: Venue, feed: Feed) -> Opening:
    traded = [instrument for instrument in feed.instruments if instrument.venue == venue.name]
    broker = venue.broker(traded, feed.clock.now)
    try:
        async with asyncio.timeout(ASKING_S):
            await broker.connect()
            positions = await broker.get_positions()
            balance = await broker.get_account_balance()
            prices = {
                i.symbol: await _price(broker, i, feed) for i in traded if positions.get(i.symbol)
            }
    except (NotSent, InDoubt, TimeoutError) as error:
        reason = clean(str(error)) or "no answer in time"
        raise UserError(
            f"{broker.name} does not say what its account has ({reason})",
            "check the connection; then start again",
        ) from error
    finally:
        await broker.disconnect()
    if balance.cash is None:
        raise UserError(
            f"{broker.name} does not say what cash its account has in {traded[0].currency}",
            "hold cash in the currency of the symbols, or take them out of SYMBOLS",
        )
    if left_out := [s for s, quantity in positions.items() if quantity and s not in prices]:
        names = ", ".join(map(clean, sorted(left_out)))
        log.warning("not counted in equity, for SYMBOLS does not have them: %s", names)
    fills = tuple(
        _fill(i, positions[i.symbol], prices[i.symbol], feed) for i in traded if i.symbol in prices
    )
    cash = balance.cash - sum((fill.cash_change for fill in fills), ZERO)
    return Opening(cash, fills, broker.account_number)


async def _price(broker: BaseBroker, instrument: Instrument, feed: Feed) -> Decimal:
    """The newest that there is."""
    symbol = instrument.symbol
    quote = await broker.get_quote(symbol)
    if quote is not None and quote.is_sound:
        return instrument.price(quote.mid)
    bars = [bar for bar in await feed.history(symbol, 1, feed.clock.now()) if bar.is_sound]
    if not bars:
        raise UserError(
            f"the account at {broker.name} holds {clean(symbol)}, which has no price now",
            "start while its market is open, or take it out of SYMBOLS",
        )
    return instrument.price(bars[-1].close)


def _fill(instrument: Instrument, quantity: Decimal, price: Decimal, feed: Feed) -> Fill:
    symbol = instrument.symbol
    execution_id = f"{symbol}{OPENING}"
    return Fill(
        execution_id,
        client_order_id(EXTERNAL, execution_id),
        symbol,
        Side.BUY if quantity > 0 else Side.SELL,
        abs(quantity),
        price,
        ZERO,
        feed.clock.now(),
        strategy=EXTERNAL,
        venue=instrument.venue,
    )
