"""What a company does to its shares while nobody trades, at each adapter: the position is another
one, and there was no execution. It is told and the symbol paused; nothing is made of it."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.brokers.contract import WiredPeer
from tests.brokers.playing import WIRED, play
from tests.simulation.one_fault import AGAIN_S, Session

pytestmark = pytest.mark.usefixtures("calm")


def split(peer: WiredPeer) -> None:
    """Two for one."""
    peer.venue.positions[peer.symbol] *= 2


def rename(peer: WiredPeer) -> None:
    """The shares go by another symbol, which the engine does not trade."""
    positions = peer.venue.positions
    positions[peer.name_of(peer.other)] = positions.pop(peer.symbol)


def pay(peer: WiredPeer) -> None:
    """A dividend of two and a half a share, and one that is paid in shares."""
    held = peer.venue.positions
    peer.venue.cash += 25
    held[peer.symbol] += peer.unit


@pytest.mark.parametrize("name", WIRED.split())
def test_what_is_no_execution_is_told_and_never_traded_on(name: str, tmp_path: Path) -> None:
    async def acts(session: Session) -> None:
        peer, venue = session.peer, session.peer.venue
        await session.has_resting()
        session.market.quote(99.6, 99.7)
        await session.rests()
        before, cash = dict(venue.positions), venue.cash
        sent = peer.faults.requests.copy()
        for happens in (split, rename, pay):
            await peer.streams.close()  # the night
            happens(peer)
            await session.until(f"it is paused after {happens}", lambda: session.is_paused)
            session.market.quote(100, 100.1)
            await asyncio.sleep(AGAIN_S)
            assert session.snapshot is not None
            (row,) = session.snapshot.positions
            assert row.position.quantity == before[peer.symbol]
            venue.positions, venue.cash = dict(before), cash  # it is booked back
            session.resume()
            await session.until("it goes on", lambda: not session.is_paused)
            await session.rests()
        for kind in ("submit", "replace", "cancel"):
            assert peer.faults.requests[kind] == sent[kind]

    session = play(name, tmp_path, acts, reconcile_s=10, fps=1)
    assert len(session.trades) == 1
    reconciled = [row.payload for row in session.kept.audit if row.kind == "Reconciled"]
    differences = [told for payload in reconciled for told in json.loads(payload)["differences"]]
    theirs = {Decimal(told["theirs"]) for told in differences if told["kind"] == "position"}
    assert theirs >= {units * session.peer.unit for units in (0, 11, 20)}
