"""The computer's clock is set forward or back by an hour while a live feed is traded: until it is
right again no entry is made, and no time-out comes early."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from engine.brokers.base import BaseBroker
from engine.brokers.paper import PaperBroker
from engine.build import exchange_rules
from engine.core.events import ExecutionReport, Restored
from engine.core.model import MINUTE, NANOS, Order, OrderPurpose
from engine.core.sessions import Calendars
from engine.feeds.base import Feed
from engine.feeds.clock import SystemClock
from engine.feeds.synthetic import SyntheticFeed
from engine.host.runtime import Parts
from engine.ops.settings import Settings
from engine.view.snapshot import Snapshot
from tests.session import journals, ledger_check, replayed, rows, running, zigzag

HOUR = 60 * MINUTE


class Clock:
    """The computer's, which somebody sets."""

    def __init__(self) -> None:
        self.offset = 0

    def __call__(self) -> int:
        return time.time_ns() + self.offset


class Elsewhere(PaperBroker):
    """Its venue's clock is six seconds behind."""

    async def get_time(self) -> int:
        return time.time_ns() - 6 * NANOS


class Held(PaperBroker):
    """Answers a submit once it is let go on."""

    sent: list[str]
    go_on: asyncio.Event

    async def submit_order(self, order: Order) -> ExecutionReport:
        self.sent.append(order.client_order_id)
        answer = await super().submit_order(order)
        await self.go_on.wait()
        return answer


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
async def test_an_hour_loses_no_order_doubles_none_and_counts_for_no_silence(
    tmp_path: Path, jump: int
) -> None:
    clock, brokers = Clock(), list[Held]()

    def make(
        settings: Settings,
        source: Feed,
        restored: Restored,
        calendars: Calendars,
        now: Callable[[], int],
    ) -> Mapping[str, BaseBroker]:
        broker = Held(source.instruments, exchange_rules(settings), calendars, now)
        broker.sent, broker.go_on = [], asyncio.Event()
        broker.restore(restored)
        brokers.append(broker)
        return {broker.name: broker}

    async def feed(*_: object) -> SyntheticFeed:
        return SyntheticFeed(1, 200, 1, interval=NANOS // 4, clock=SystemClock(clock))

    settings = zigzag(tmp_path, dead_man_s=1800, submit_timeout_s=60)
    async with running(settings, Parts(feed, make, wall=clock)) as session:
        await session.until(lambda _: brokers and brokers[0].sent)
        clock.offset = jump
        before = await session.until(lambda s: s.wall_ts > 0)
        later = len(session.snapshots) + 4
        await session.until(lambda _: len(session.snapshots) > later)
        brokers[0].go_on.set()
        await session.until(lambda s: any("it is" in x.text and "s off" in x.text for x in s.log))
        clock.offset = 0
        snapshot = await session.until(lambda s: len(s.orders) > len(before.orders) + 1)
        assert not any("in doubt" in line.text for line in snapshot.log), "no time-out came early"
        assert not snapshot.kill.tripped, "the operator was silent for seconds"
    sent = brokers[0].sent
    assert len(sent) == len(set(sent))
    states = dict(rows(settings, "SELECT client_order_id, state FROM orders"))
    assert set(sent) <= states.keys()
    assert not {"intended", "submitted", "in_doubt", "abandoned"} & set(states.values())
    machine = replayed(settings, journals(settings)[0])
    assert machine.state_hash() == session.runtime.machine.state_hash()
    ((backwards,),) = rows(
        settings,
        "SELECT count(*) FROM audit_log a JOIN audit_log b ON b.id = a.id + 1 WHERE b.ts < a.ts",
    )
    assert backwards == 0
    assert await ledger_check(settings) == []


async def test_while_the_venue_has_another_time_no_entry_is_made(tmp_path: Path) -> None:
    def make(
        settings: Settings,
        instruments: Feed,
        restored: Restored,
        calendars: Calendars,
        now: Callable[[], int],
    ) -> Mapping[str, BaseBroker]:
        broker = Elsewhere(instruments.instruments, exchange_rules(settings), calendars, now)
        broker.restore(restored)
        return {broker.name: broker}

    async def feed(*_: object) -> SyntheticFeed:
        return SyntheticFeed(1, 200, 1, interval=NANOS // 4, clock=SystemClock(time.time_ns))

    async with running(zigzag(tmp_path), Parts(feed, make)) as session:
        await session.until(lambda s: any("+6.0 s from the market's" in x.text for x in s.log))
        before = await session.until(lambda s: refusals(s) >= 1)
        after = await session.until(lambda s: refusals(s) >= 3)
        assert entries(after) == entries(before)


def refusals(snapshot: Snapshot) -> int:
    return sum("clock is wrong: it is +6 s off" in line.text for line in snapshot.log)


def entries(snapshot: Snapshot) -> set[str]:
    return {o.client_order_id for o in snapshot.orders if o.purpose is OrderPurpose.ENTRY}
