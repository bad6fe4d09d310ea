"""The line is cut in the middle of what a venue says without being asked, wherever that is: what
was said is known nevertheless, and the stream comes back."""

from collections.abc import Generator

import pytest

from engine.brokers.throttle import TokenBucket
from engine.core.events import BrokerChanged, ExecutionReport
from engine.core.model import OrderState
from tests.brokers.contract import WiredPeer
from tests.brokers.playing import BROKER_API, PEERS, WIRED
from tests.loopback.haste import HastePolicy, hasty

AT = (0, 1, 2, 3, 4, 5, 6, None, -1)
"""Before the frame, in its header (of four bytes, with Interactive Brokers and events too), in its
first bytes, in the middle, before its last byte. Of a frame that is not whole a library reads no
more, wherever it ends; of TWS's messages, which have no frame but their length, see below."""

CLIENT = bytes(4)
"""Before a message of TWS's stands, for the server alone, to which client it goes."""


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


async def test_a_message_of_tws_is_none_before_its_last_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cut at every byte."""
    monkeypatch.setattr("engine.ops.backoff.FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("engine.ops.backoff.LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr(TokenBucket, "take", lambda *_, **__: None)
    async with PEERS["interactive_brokers"]() as wired:
        assert isinstance(wired, WiredPeer)
        streams = wired.streams
        order = wired.order(units=1)
        await wired.broker.submit_order(order)
        (placed,) = wired.venue.orders.values()
        working = placed.order
        with streams.withheld() as said:
            wired.venue.reject(placed.number, "no")
        (rejected,) = said
        assert isinstance(rejected, bytes)
        placed.order = working  # as long as it is not told
        for streams.kept in range(len(rejected) - len(CLIENT)):
            wired.events.clear()
            streams.halved = True
            streams.say(rejected)
            await wired.hears(BrokerChanged, lambda event: not event.connected)
            await wired.hears(BrokerChanged, lambda event: event.connected)
            assert not any(isinstance(event, ExecutionReport) for event in wired.events)
        streams.say(rejected)
        await wired.sees(order, OrderState.REJECTED)
