"""An answer that comes when the engine has long asked by id, at each adapter: it is late news.

Adapter and engine give a request up after seconds, and then no answer can arrive. Here neither
does, so that the machine's own patience is what ends first, and the answer comes nevertheless.
"""

import asyncio
from contextlib import nullcontext
from pathlib import Path

import pytest

from engine.core.events import OrderAccepted, OrderFilled, OrderInDoubt
from engine.core.model import OrderState
from tests.brokers.playing import ALL, play
from tests.loopback import faults
from tests.loopback.faults import Fault
from tests.simulation.one_fault import Session

pytestmark = pytest.mark.usefixtures("calm")

NEVER_S = 600.0


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody but the machine gives a request up."""
    monkeypatch.setattr("engine.host.broker_link._deadline", lambda _: nullcontext())
    for peer in ("ccxt", "questrade", "interactive_brokers"):
        monkeypatch.setattr(f"tests.brokers.peer_{peer}.TIMEOUT_S", NEVER_S)
    monkeypatch.setattr("tests.brokers.peer_alpaca.READ_S", NEVER_S)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("name", ALL.split())
def test_an_answer_that_comes_late_changes_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "alpaca":  # it waits on a thread, where no time is skipped
        monkeypatch.setattr(faults, "LATE_S", 2.5)

    async def acts(session: Session) -> None:
        peer = session.peer
        peer.faults.plan("submit", Fault.LATE)
        peer.streams.mute = True
        await session.buys()
        await session.until("it is carried out", lambda: peer.venue.orders)
        (order,) = session.runtime.machine.orders.open.values()
        key = order.client_order_id
        orders = session.runtime.machine.orders.orders
        await session.until("it is known", lambda: orders[key].state is OrderState.ACCEPTED)
        assert not peer.faults.late
        peer.streams.heal()
        session.market.quote(99.6, 99.7)
        await session.rests()
        await session.until("the answer comes", lambda: peer.faults.late)
        await asyncio.sleep(1)
        await session.rests()
        session.kill()
        await session.until("all is cancelled", lambda: not peer.venue.open)

    session = play(name, tmp_path, acts, submit_timeout_s=1, fps=1)
    first, *others = session.orders
    assert first.state is OrderState.FILLED
    assert [o.purpose for o in others] == ["protective_stop"]
    counted = [session.kept.count(kind) for kind in (OrderInDoubt, OrderFilled)]
    assert counted == [1, 1]
    assert session.kept.count(OrderAccepted) == 2  # the stop's too
