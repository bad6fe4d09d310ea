"""Short sessions of the real engine at every venue, in haste and under all laws."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.brokers.contract import WiredPeer, builders
from tests.loopback.haste import run_in_haste
from tests.simulation.one_fault import Session

WITH_IDS = "alpaca binance kraken coinbase"
HTTP = f"{WITH_IDS} questrade"
WIRED = f"{HTTP} interactive_brokers"
ALL = f"{WIRED} paper"
BROKER_API = "alpaca-broker"

PEERS = {**builders(), **builders("LINED")}


def play(
    name: str,
    folder: Path,
    acts: Callable[[Session], Awaitable[None]],
    *,
    both: bool = False,
    **changes: Any,
) -> Session:
    """A session at the venue, under all laws; with `both` another instrument is traded too.
    `changes` are of the settings."""

    async def session() -> Session:
        async with PEERS[name]() as peer:
            assert isinstance(peer, WiredPeer)
            await peer.close()  # the engine has a broker of its own
            others = (peer.other,) if both else ()
            session = Session(peer, folder, *others, **changes)
            await session.play(acts)
            return session

    played = run_in_haste(session)
    played.judge()
    return played
