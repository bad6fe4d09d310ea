"""Facts that wait for a disk that does not follow: none is lost, and they do not grow for ever."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.build import plugins
from engine.core.events import Event, Record
from engine.core.machine import Machine, MachineConfig
from engine.core.model import NANOS
from engine.feeds.synthetic import SyntheticFeed
from engine.host.runtime import Parts
from engine.ops.settings import Settings
from engine.store import sqlite, writer
from engine.store.journal import JournalReader
from engine.store.repository import NOTHING, Repository
from tests.session import health_of, journals, rows, running, zigzag
from tests.test_database_faults import locked_file


class SlowDisk(Repository):
    """Takes a tenth of a second for each batch of facts."""

    async def record(self, facts: Sequence[Event], standing: Mapping[str, Any] = NOTHING) -> None:
        await asyncio.sleep(0.1)
        await super().record(facts, standing)


def facts_of(settings: Settings) -> int:
    """How many facts follow from the journal of the only session."""
    (journal,) = journals(settings)
    reader = JournalReader(journal)
    config = msgspec.msgpack.decode(reader.header.config, type=MachineConfig)
    machine = Machine(config, plugins(settings).kinds)
    return sum(isinstance(e, Record) for event in reader for e in machine.process(event))


async def test_a_replay_at_full_speed_loses_nothing_at_a_stop_with_a_slow_disk(
    tmp_path: Path,
) -> None:
    """After its first trade each signal is a few facts, and no intent holds the recording up."""
    closes = [100 + minute % 5 * 0.1 for minute in range(20_000)]
    settings = zigzag(tmp_path, closes, replay_speed=0, max_trades_per_day=1)
    async with running(settings, Parts(repository=SlowDisk.open)) as session:
        await session.until(lambda s: health_of(s).queue > writer.BACKLOG)
        seen = len(session.snapshots) + 4  # a second, in which all would be played
        snapshot = await session.until(lambda _: len(session.snapshots) > seen)
        assert snapshot.feed.status == "connected"
        assert health_of(snapshot).queue < 2 * writer.BACKLOG
    ((written,),) = rows(settings, "SELECT count(*) FROM audit_log")
    assert written == facts_of(settings)


async def test_market_data_bring_no_more_facts_while_too_many_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    monkeypatch.setattr(writer, "FACTS_KEPT", 20)
    settings = zigzag(tmp_path)

    async def feed(*_: object) -> SyntheticFeed:
        return SyntheticFeed(1, 1_000, 1, interval=NANOS // 20)

    async with running(settings, Parts(feed=feed)) as session:
        await session.until(lambda s: s.feed.status == "connected" and s.quotes[0].quote)
        async with locked_file(settings):
            full = await session.until(lambda s: s.kill.tripped and health_of(s).queue > 20)
            held = await session.until(lambda s: s.wall_ts > full.wall_ts + NANOS)
            later = await session.until(lambda s: s.wall_ts > held.wall_ts + 2 * NANOS)
            assert later.quotes[0].quote == held.quotes[0].quote
        await session.until(lambda s: s.quotes[0].quote != held.quotes[0].quote)
    assert full.kill.source == "store"
