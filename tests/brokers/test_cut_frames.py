"""The line is cut in the middle of what a venue says without being asked, wherever that is: what
was said is known nevertheless, and the stream comes back."""

from collections.abc import Generator

import pytest

from engine.brokers.throttle import TokenBucket
from engine.core.events import BrokerChanged
from engine.core.model import OrderState
from tests.brokers.contract import WiredPeer
from tests.brokers.playing import BROKER_API, PEERS, WIRED
from tests.loopback.haste import HastePolicy, hasty

AT = (0, 1, 2, 3, 4, 5, 6, None, -1)
"""Before the frame, in its header (of four bytes, with Interactive Brokers and events too), in its
first bytes, in the middle, before its last byte."""


@pytest.fixture
def event_loop_policy() -> Generator[HastePolicy]:
    """Nobody waits for pauses."""
    with hasty() as policy:
        yield policy


@pytest.mark.parametrize("name", f"{WIRED} {BROKER_API}".split())
async def test_what_is_cut_anywhere_is_not_lost(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.ops.backoff.FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(TokenBucket, "take", lambda *_, **__: None)
    async with PEERS[name]() as wired:
        assert isinstance(wired, WiredPeer)
        streams, broker = wired.streams, wired.broker
        await streams.has_joined()
        for filled, streams.kept in enumerate(AT, start=1):
            joined = streams.joined
            await broker.submit_order(wired.order(units=1))
            wired.events.clear()
            streams.halved = True
            wired.quote(98, 99)
            await streams.has_joined(joined + 1)
            await wired.hears(BrokerChanged, lambda event: event.connected)
            known = {fill.execution_id for fill in await broker.get_fills(0)}
            assert len(known) == len(wired.venue.fills) == filled
        order = wired.order(units=1)
        await broker.submit_order(order)
        wired.quote(98, 99)
        await wired.sees(order, OrderState.FILLED)
