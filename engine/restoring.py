"""What the database remembers at a start, and whether it is the right one."""

import asyncio

import msgspec

from engine.core.events import Restored
from engine.core.model import Mode
from engine.core.text import clean
from engine.feeds.base import Played
from engine.ops.errors import UserError
from engine.ops.settings import Settings
from engine.store.repository import Repository
from engine.store.witness import Witness


async def check_witness(repository: Repository, witness: Witness, mode: Mode) -> str:
    """What speaks against this database being the one that was used last; empty where nothing does.

    Raises UserError in live mode: there a person has to say that it is right.
    """
    try:
        seen = await asyncio.to_thread(witness.read)
    except ValueError as error:
        doubt = str(error)
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


async def durable_state(
    repository: Repository, settings: Settings
) -> tuple[Restored, Played | None]:
    """What the database remembers, and from where on a replay goes on.

    One that was played in part goes on exactly there, whatever became of orders since: after the
    last event market time runs on until the engine has stopped.
    """
    restored = await repository.restore(settings.starting_cash, None)
    market = await repository.last_market()
    if market is not None and market.events is not None:
        return msgspec.structs.replace(restored, ts=market.ts), Played(market.ts, market.events)
    trades = await repository.trades(1)
    times = [market.ts if market else 0, *(o.updated_ts for o in restored.orders)]
    times += [fill.ts for fill in trades]
    resume_at = max(times)
    return msgspec.structs.replace(restored, ts=resume_at), Played(resume_at) if resume_at else None
