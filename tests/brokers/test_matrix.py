"""The matrix: every fault at every adapter, from end to end.

Each cell is a short session of the real engine and the adapter, through its client library, at a
loopback server (`tests.simulation.one_fault`). After each the laws are judged by the journal, the
database and the venue's books: I1 intent-first, I2 at-most-once, I3 fills-once, I5 kill, I8
reconciled, and the others on the way; and that the fault did strike.

What a protocol cannot have is not in the table: a socket of TWS, and the paper broker, have neither
a status nor a body of HTTP; who has no client order ids is not told of a second one; and what paper
says is no frame. An account of Alpaca's Broker API has the same requests as another one of Alpaca's
under other paths: of their faults one of each kind is enough.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.core.model import OrderState
from tests.brokers.contract import WiredPeer
from tests.brokers.playing import ALL, BROKER_API, HTTP, WIRED, WITH_IDS, play
from tests.loopback.faults import Fault, StreamFault
from tests.loopback.venue import DuplicateId, Refused
from tests.simulation.one_fault import Session

pytestmark = pytest.mark.usefixtures("calm")

REFUSED, DUPLICATE = Refused("422"), DuplicateId("422, known")

ABANDONED, CANCELED = OrderState.ABANDONED, OrderState.CANCELED
REJECTED, FILLED = OrderState.REJECTED, OrderState.FILLED

GONE = (CANCELED, ABANDONED)
"""After a cancel. Interactive Brokers does not tell of an order that ended in another session: one
whose cancel was not answered is given up as one that is not there."""

AT_A_REQUEST = {
    # the fault of a submit, then of a kill's cancel: what becomes of the order, and where
    Fault.SLOW: (FILLED, ALL),
    Fault.HANG: (ABANDONED, f"{ALL} {BROKER_API}"),
    Fault.RESET: (ABANDONED, ALL),
    Fault.UNAUTHORIZED: (CANCELED, f"{HTTP} {BROKER_API}"),
    Fault.FORBIDDEN: (REJECTED, f"{HTTP} {BROKER_API}"),
    REFUSED: (REJECTED, f"{WIRED} {BROKER_API}"),
    DUPLICATE: (FILLED, f"{WITH_IDS} {BROKER_API}"),
    Fault.RATE_LIMITED: (CANCELED, f"{HTTP} {BROKER_API}"),
    Fault.RATE_LIMITED_BARE: (CANCELED, HTTP),
    Fault.BANNED: (CANCELED, "binance"),
    Fault.REDIRECT: (ABANDONED, HTTP),
    Fault.SERVER_ERROR: (ABANDONED, f"{HTTP} {BROKER_API}"),
    Fault.SERVER_ERROR_AFTER: (FILLED, HTTP),
    Fault.GATEWAY_TIMEOUT: (FILLED, f"{HTTP} {BROKER_API}"),
    Fault.LOST: (FILLED, f"{ALL} {BROKER_API}"),
    Fault.MUTE: (FILLED, ALL),
    Fault.TRUNCATED: (FILLED, f"{HTTP} {BROKER_API}"),
    Fault.EMPTY: (FILLED, HTTP),
    Fault.GARBAGE: (FILLED, HTTP),
}
BEFORE_A_KILL = {
    # the fault of a submit while whose answer is awaited the kill switch trips: what becomes of the
    # order (at Kraken the slow one comes after the cancel, with a nonce that is refused)
    Fault.SLOW: (CANCELED, ALL),
    Fault.HANG: (ABANDONED, f"{ALL} {BROKER_API}"),
    Fault.LOST: (CANCELED, f"{ALL} {BROKER_API}"),
    Fault.GATEWAY_TIMEOUT: (CANCELED, f"{HTTP} {BROKER_API}"),
}
IN_THE_STREAM = {
    # the fault of what is said of an order's executions
    StreamFault.DOUBLED: (FILLED, f"{ALL} {BROKER_API}"),
    StreamFault.REORDERED: (FILLED, f"{ALL} {BROKER_API}"),
    StreamFault.MUTE: (FILLED, f"{ALL} {BROKER_API}"),
    StreamFault.GAP: (FILLED, f"{ALL} {BROKER_API}"),
    StreamFault.HALF: (FILLED, f"{WIRED} {BROKER_API}"),
    StreamFault.GARBAGE: (FILLED, f"{WIRED} {BROKER_API}"),
}


def cells(table: Mapping[Any, tuple[OrderState, str]]) -> list[Any]:
    """Venue, fault, and what is to become of the order."""
    return [
        pytest.param(name, fault, expected, id=f"{fault}-{name}")
        for fault, (expected, names) in table.items()
        for name in names.split()
    ]


def plan(peer: WiredPeer, kind: str, fault: Fault | Refused) -> Callable[[], bool]:
    """The next request of a kind meets the fault; the answer tells whether it has."""
    if isinstance(fault, Fault):
        peer.faults.plan(kind, fault)
        return lambda: peer.faults.struck[kind, fault] > 0
    refusal = fault if kind == "submit" else Refused(str(fault))
    peer.venue.refusals.append(refusal)
    return lambda: not peer.venue.refusals


@pytest.mark.parametrize(("name", "fault", "expected"), cells(AT_A_REQUEST))
def test_a_fault_of_a_submit_and_of_a_cancel(
    name: str, fault: Fault | Refused, expected: OrderState, tmp_path: Path
) -> None:
    """The order ends as it must, the session goes on, and a kill still cancels what rests."""

    async def acts(session: Session) -> None:
        peer, venue = session.peer, session.peer.venue
        strikes = plan(peer, "submit", fault)
        await session.buys()
        await session.until("the submit meets its fault", strikes)
        await session.until("it is answered", lambda: venue.orders or session.settled)
        session.dip()
        await session.rests()
        await session.has_resting()
        strikes = plan(peer, "cancel", fault)
        session.kill()
        await session.until("the cancel meets its fault", strikes)
        await session.until("all is cancelled", lambda: not venue.open)

    session = play(name, tmp_path, acts)
    assert session.orders[0].state is expected
    assert session.orders[-1].state in GONE


@pytest.mark.parametrize(("name", "fault", "expected"), cells(BEFORE_A_KILL))
def test_a_kill_while_a_submit_has_no_answer(
    name: str, fault: Fault, expected: OrderState, tmp_path: Path
) -> None:
    """The order is cancelled as soon as it is known, and nothing is sent any more."""

    async def acts(session: Session) -> None:
        strikes = plan(session.peer, "submit", fault)
        await session.buys()
        await session.until("the submit meets its fault", strikes)
        session.kill()
        await session.rests()
        session.market.buy()

    session = play(name, tmp_path, acts)
    assert [order.state for order in session.orders] == [expected]
    assert not session.peer.venue.open


@pytest.mark.parametrize(("name", "fault", "expected"), cells(IN_THE_STREAM))
def test_a_fault_of_the_stream(
    name: str, fault: StreamFault, expected: OrderState, tmp_path: Path
) -> None:
    """Both executions are counted once, whether they were told or had to be asked for."""

    async def acts(session: Session) -> None:
        streams = session.peer.streams
        await session.has_resting()
        await session.spoils(fault)
        session.dip()
        await session.until("it strikes", lambda: streams.struck[fault])
        streams.heal()
        await session.rests()
        session.kill()
        await session.until("all is cancelled", lambda: not session.peer.venue.open)

    session = play(name, tmp_path, acts)
    assert session.orders[0].state is expected
    assert len(session.trades) == 2
