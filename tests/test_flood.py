"""More market data than can be handled: quotes are conflated, and nothing else is lost or late."""

import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio

from engine.core.events import BarClosed, TripKillSwitch
from engine.core.model import MINUTE
from engine.feeds import live
from engine.store.journal import JournalReader
from engine.view.snapshot import Snapshot
from tests.session import ZIGZAG, Session, health_of, journals, running
from tests.street import Street

FRAMES, QUOTES = 12, 500
PATIENCE_S = 30


@pytest_asyncio.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    made = Street(tmp_path)
    await made.start()
    yield made
    await made.stop()


def flood(street: Street, first: int, last: float) -> None:
    """Frames of many quotes, each of which ends in the next minute's bar; then one at `last`."""
    began = time.time_ns() // MINUTE * MINUTE - 120 * MINUTE
    for frame in range(FRAMES):
        quotes = [
            {"T": "q", "S": "BTC/USD", "bp": bid, "ap": bid + 0.01, "bs": 1, "as": 1, "t": ts}
            for number in range(QUOTES)
            for bid, ts in [(100.2 + number % 7 * 0.01, time.time_ns())]
        ]
        bar = {"T": "b", "S": "BTC/USD", "t": began + (first + frame) * MINUTE, "v": 1000}
        street.data.say(*quotes, bar | dict.fromkeys("ohlc", 100.0))
    street.quote(last)


async def test_quotes_are_conflated_and_every_bar_fill_and_command_gets_through(
    street: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_AT_ONCE", QUOTES // 2)  # a machine that soon is behind
    settings = street.settings()
    buys_alone = ZIGZAG.replace("0: Side.SELL", "")
    (tmp_path / "plugins" / "zigzag.py").write_text(buys_alone)
    async with running(settings) as session:
        await session.until(lambda s: s.brokers[0].connected, PATIENCE_S)
        await street.data.streams.has_joined()
        street.quote(100.2)
        flood(street, 0, 100.0)
        behind = await session.until(
            lambda s: trades_on(street) and s.feed.status == "behind", PATIENCE_S
        )
        assert "newest quote alone" in behind.feed.note
        assert any("feed alpaca behind" in line.text for line in behind.log)
        snapshot = await session.until(lambda s: trades_on(street) and is_at(s, 100.0), PATIENCE_S)
        assert health_of(snapshot).conflated > FRAMES * QUOTES // 2
        await session.until(
            lambda s: trades_on(street) and s.feed.status == "connected", PATIENCE_S
        )
        assert street.venue.fills, "a decision of the flood was carried out"
        flood(street, FRAMES, 100.1)
        session.command(TripKillSwitch(source="key"))
        await session.until(lambda s: s.kill.tripped and s.kill.phase == "complete", PATIENCE_S)
        await session.until(lambda s: is_at(s, 100.1), PATIENCE_S)
        await session.until(lambda s: has_all_fills(street, session, s), PATIENCE_S)
    assert_every_bar_came(session)
    assert_every_bar_was_decided_on(session)


def is_at(snapshot: Snapshot, price: float) -> bool:
    (row,) = snapshot.quotes
    return row.quote is not None and row.quote.bid == price


def trades_on(street: Street) -> bool:
    """What rests at the venue fills."""
    street.venue.quote("BTC/USD", 100.0, 100.01, 10_000.0)
    return True


def has_all_fills(street: Street, session: Session, snapshot: Snapshot) -> bool:
    (booked,) = session.rows("SELECT count(*) FROM trades")
    held = sum(row.position.quantity for row in snapshot.positions)
    return booked[0] == len(street.venue.fills) and held == street.venue.positions["BTC/USD"]


def assert_every_bar_came(session: Session) -> None:
    """Once, and in their order."""
    (journal,) = journals(session.settings)
    events = [event for event in JournalReader(journal) if isinstance(event, BarClosed)]
    times = [event.bar.ts for event in events if event.live]
    assert len(times) == 2 * FRAMES
    assert times == sorted(times)
    assert {b - a for a, b in pairwise(times)} == {MINUTE}


def assert_every_bar_was_decided_on(session: Session) -> None:
    run = session.runtime.machine.runner.runs["zigzag"]
    assert run.slots["alpaca:BTC/USD"].seen == 2 * FRAMES
