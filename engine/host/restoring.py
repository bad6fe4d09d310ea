"""What the database remembers at a start, and whether it is the right one."""

import asyncio
import logging
from collections.abc import Iterable, Mapping

import msgspec

from engine.build import currencies_of
from engine.core.events import Restored
from engine.core.model import Fill, Mode, Position
from engine.core.text import clean
from engine.feeds.base import Feed, Played
from engine.host.opening import Opening
from engine.ops.errors import UserError
from engine.store.identity import AccountIdentity
from engine.store.repository import Repository
from engine.store.witness import Witness
from engine.venues import venues_with_accounts

log = logging.getLogger(__name__)


async def check_witness(repository: Repository, witness: Witness, mode: Mode) -> str:
    """What speaks against this database being the one that was used last; empty where nothing does.

    Raises UserError in live mode: there a person has to say that it is right.
    """
    try:
        seen = await asyncio.to_thread(witness.read)
    except UserError as error:
        doubt = error.message
    else:
        if seen is not None:
            doubt = await repository.doubt(seen)
        else:
            used = mode is Mode.LIVE and (await repository.audit_head()).id
            doubt = f"{clean(str(witness.path))} is missing" if used else ""
    if doubt and mode is Mode.LIVE:
        raise UserError(
            f"the database is not the one that was used last: {doubt}",
            "put the right one back; or, where this one is right, compare it with the account at "
            "the broker, then run: tradebot audit accept",
        )
    return f"the database is not the one that was used last: {doubt}" if doubt else ""


async def durable_state(repository: Repository) -> tuple[Restored, Played | None]:
    """What the database remembers, and from where on a replay goes on.

    One that was played in part goes on exactly there, whatever became of orders since: after the
    last event market time runs on until the engine has stopped.
    """
    restored = await repository.restore(None)
    market = await repository.last_market()
    if market is not None and market.events is not None:
        return msgspec.structs.replace(restored, ts=market.ts), Played(market.ts, market.events)
    trades = await repository.trades(1)
    times = [market.ts if market else 0, *(o.updated_ts for o in restored.orders)]
    times += [fill.ts for fill in trades]
    resume_at = max(times)
    return msgspec.structs.replace(restored, ts=resume_at), Played(resume_at) if resume_at else None


def with_openings(restored: Restored, fills: Iterable[Fill]) -> Restored:
    """`restored`, with what accounts held when they were opened: the books begin with these
    `fills`, and the brokers count from there."""
    held = tuple(Position(fill.strategy, fill.symbol, fill.position_change) for fill in fills)
    return msgspec.structs.replace(restored, positions=(*restored.positions, *held))


async def with_accounts(
    repository: Repository,
    restored: Restored,
    openings: Mapping[str, Opening],
    feed: Feed,
    base: str,
) -> Restored:
    """`restored` with the accounts that are traded with in this session, each by its venue, and
    with nothing of any other: its money is not there to trade with. They are those of the
    instruments of `feed`; one that is new begins with what `openings` says.

    Raises OtherAccount where one has the books of another, and as `currencies_of` does.
    """
    currencies, at_brokers = currencies_of(feed.instruments), venues_with_accounts(feed)
    numbers = {venue: one.account for venue, one in openings.items()}
    identities = {
        venue: AccountIdentity(venue not in at_brokers, numbers.get(venue, ""))
        for venue in currencies
    }
    opening = {venue: one.cash for venue, one in openings.items()}
    fills = [fill for one in openings.values() for fill in one.fills]
    is_same = await repository.open_accounts(opening, currencies, base, fills, identities)
    if not is_same:
        restored = msgspec.structs.replace(restored, day="", day_equity=None, peak_equity=None)
        log.warning("equity is of other accounts, or in another currency: losses count from now on")
    venues, cash = restored.venues, opening | restored.cash
    return msgspec.structs.replace(
        restored,
        cash={venue: cash[venue] for venue in currencies},
        positions=tuple(p for p in restored.positions if venues.get(p.symbol) in currencies),
        fills=tuple(fill for fill in restored.fills if fill.venue in currencies),
    )
