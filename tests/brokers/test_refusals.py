"""What a venue will not have, at each adapter: an order in a symbol that is halted or gone, the
stop of a position that is there. Short sessions of the real engine, judged by all laws."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from engine.core.events import PositionUnprotected
from engine.core.model import NANOS, Order, OrderPurpose, OrderState
from tests.brokers.contract import WiredPeer
from tests.brokers.peer_interactive_brokers import InteractiveBrokersPeer
from tests.brokers.playing import WIRED, play
from tests.loopback.faults import Answer, Fault
from tests.loopback.venue import Refused
from tests.simulation.one_fault import AGAIN_S, Session

SQL = "no stops today'); DROP TABLE trade; --%_"

pytestmark = pytest.mark.usefixtures("calm")


def answer(status: int, **body: Any) -> Answer:
    return Answer(json.dumps(body).encode(), status)


def at_kraken(error: str) -> Answer:
    return answer(200, error=[error])


def at_coinbase(reason: str) -> Answer:
    return answer(200, success=False, error_response={"error": reason, "message": reason})


NOES: dict[str, tuple[Any, ...]] = {
    "alpaca": (
        answer(422, code=42210000, message="asset AAPL is not active"),
        answer(422, code=42210000, message='asset "AAPL" cannot be sold short'),
        answer(403, code=40310000, message="trading in AAPL is halted"),
        Fault.FORBIDDEN,
    ),
    "binance": (
        answer(400, code=-1121, msg="Invalid symbol."),
        answer(400, code=-1013, msg="Market is closed."),
        answer(400, code=-2010, msg="This symbol is not permitted for this account."),
    ),
    "kraken": (
        at_kraken("EService:Market in cancel_only mode"),
        at_kraken("EQuery:Unknown asset pair"),
        at_kraken("EGeneral:Permission denied"),
    ),
    "coinbase": (
        at_coinbase("ORDER_ENTRY_DISABLED"),
        at_coinbase("INVALID_PRODUCT_ID"),
        at_coinbase("INELIGIBLE_PAIR"),
    ),
    "questrade": (
        answer(400, code=3022, message="The symbol is halted"),
        answer(400, code=1019, message="Symbol not found"),
        Fault.FORBIDDEN,
    ),
    "interactive_brokers": (
        (201, "Order rejected - reason:The contract is not available for short sale."),
        (200, "No security definition has been found for the request"),
        (201, "Order rejected - reason:This security is halted."),
    ),
}
"""How the venues say that a symbol is halted, gone, not for us, or not to be sold short."""


def refuses(peer: WiredPeer, how: Any) -> None:
    """The next order meets it."""
    if isinstance(peer, InteractiveBrokersPeer):
        peer.server.refusals.append(how)
    else:
        peer.faults.plan("submit", how)


async def closes(session: Session) -> None:
    """The market goes on until nothing is held."""

    def is_flat() -> bool:
        session.market.quote(100, 100.1)
        return not session.peer.venue.positions.get(session.peer.symbol)

    await session.until("it is flat", is_flat)
    await session.rests()


@pytest.mark.parametrize("name", NOES)
def test_a_symbol_that_is_not_traded_is_asked_for_once_and_the_other_goes_on(
    name: str, tmp_path: Path
) -> None:
    async def acts(session: Session) -> None:
        peer = session.peer
        for asked, how in enumerate(NOES[name], start=1):
            refuses(peer, how)
            session.market.buy()
            await session.until(f"it is paused for {how}", lambda: session.is_paused)
            for _ in range(3):
                session.market.buy()
                await asyncio.sleep(AGAIN_S)
            assert peer.faults.requests["submit"] == asked
            session.resume()
            await session.until("it goes on", lambda: not session.is_paused)
        session.market.buy(peer.other)
        await session.until("the other one is bought", lambda: peer.venue.open)
        await session.rests()
        session.kill()
        await session.until("all is cancelled", lambda: not peer.venue.open)

    session = play(name, tmp_path, acts, both=True)
    *refused, other = session.orders
    assert [order.state for order in refused] == [OrderState.REJECTED] * len(NOES[name])
    assert other.symbol == session.peer.other.symbol


def stops(session: Session) -> list[Order]:
    return [o for o in session.orders if o.purpose is OrderPurpose.PROTECTIVE_STOP]


@pytest.mark.parametrize("name", WIRED.split())
def test_a_position_whose_stop_is_refused_is_closed_at_once(name: str, tmp_path: Path) -> None:
    """Refused when it came, or after it was accepted. What the venue writes is text, and no SQL."""

    async def acts(session: Session) -> None:
        venue = session.peer.venue
        await session.has_resting()
        venue.refusals.append(Refused(SQL))
        session.market.quote(99.6, 99.7)
        await session.until("its stop is refused", lambda: not venue.refusals)
        await closes(session)
        await session.has_resting()
        session.market.quote(99.6, 99.7)
        await session.rests()
        (stop,) = venue.open
        venue.reject(stop.number, "no stops any more")
        await closes(session)

    session = play(name, tmp_path, acts)
    exits = [o for o in session.orders if o.purpose is OrderPurpose.EXIT]
    assert [o.state for o in stops(session)] == [OrderState.REJECTED] * 2
    assert [o.state for o in exits] == [OrderState.FILLED] * 2
    for stop, sold in zip(stops(session), exits, strict=True):
        assert sold.created_ts - stop.updated_ts <= NANOS
    assert SQL in stops(session)[0].reason
    assert len(session.trades) == 4
    assert session.kept.count(PositionUnprotected) == 2


@pytest.mark.parametrize("name", ["kraken"])
def test_or_the_operator_is_told_and_the_venue_not_asked_again_and_again(
    name: str, tmp_path: Path
) -> None:
    async def acts(session: Session) -> None:
        peer = session.peer
        await session.has_resting()
        peer.venue.refusals.append(Refused("no stops today"))
        session.market.quote(99.6, 99.7)
        await session.until("its stop is refused", lambda: not peer.venue.refusals)
        sent = peer.faults.requests["submit"]
        await asyncio.sleep(60)
        assert session.snapshot is not None
        (row,) = session.snapshot.positions
        assert row.unprotected == row.position.quantity
        assert any("without a stop" in alert.text for alert in session.snapshot.unread)
        assert peer.faults.requests["submit"] == sent

    session = play(name, tmp_path, acts, on_stop_refused="alert")
    assert [o.state for o in stops(session)] == [OrderState.REJECTED]
