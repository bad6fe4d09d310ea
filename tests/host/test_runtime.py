"""The engine on real files: start, trade, faults of what it depends on, stop, start again."""

import asyncio
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec.structs import asdict

import engine.build
import engine.host.runtime
from engine.brokers.base import InDoubt, NotSent
from engine.brokers.paper import PaperBroker
from engine.build import plugins
from engine.core.events import (
    CancelRejected,
    ControlFeed,
    Event,
    ExecutionReport,
    IntentCommitted,
    OrderFilled,
    OrderIntended,
    OrderSubmitted,
    QuoteUpdate,
    RearmKillSwitch,
    RequestCancel,
    Restored,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.core.model import MINUTE, Order, OrderPurpose, OrderState
from engine.feeds.recordings import Recordings
from engine.host.runtime import Runtime
from engine.host.thread import EngineHost
from engine.ops.errors import UserError
from engine.ops.lock import EngineLocked
from engine.ops.settings import Settings
from engine.research.backtest import run_backtest
from engine.research.result import BacktestRequest
from engine.store import sqlite, writer
from engine.store.repository import Repository
from engine.view.snapshot import Snapshot
from tests.session import (
    Session,
    health_of,
    journals,
    ledger_check,
    replayed,
    rows,
    running,
    zigzag,
)

ENTRY = OrderPurpose.ENTRY
FALLING = [100 - minute % 7 * 1.5 for minute in range(90)]
"""Closes at which stops are hit."""

KILL = TripKillSwitch(source="key", author="me")
REARM = RearmKillSwitch(word="REARM", author="me")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return zigzag(tmp_path)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the orders that reach the paper broker."""
    ids: list[str] = []

    class Watched(PaperBroker):
        async def submit_order(self, order: Order) -> ExecutionReport:
            ids.append(order.client_order_id)
            return await super().submit_order(order)

    monkeypatch.setattr(engine.build, "PaperBroker", Watched)
    return ids


def entries(snapshot: Snapshot) -> list[Order]:
    return [order for order in snapshot.orders if order.purpose is ENTRY]


def holds(snapshot: Snapshot) -> bool:
    return bool(snapshot.positions)


def has_traded(snapshot: Snapshot) -> bool:
    """At least one whole round trip."""
    return any(o.purpose is OrderPurpose.EXIT and o.leaves == 0 for o in snapshot.orders)


def tripped(snapshot: Snapshot) -> bool:
    return snapshot.kill.tripped


def said(snapshot: Snapshot, text: str) -> bool:
    return any(text in line.text for line in snapshot.log)


# --- what is kept ---------------------------------------------------------------------------------


async def test_the_bars_that_were_decided_on_are_kept(settings: Settings) -> None:
    async with running(settings) as session:
        snapshot = await session.until(has_traded)
    kept = rows(settings, "SELECT symbol, ts, close FROM market_data ORDER BY ts")
    market = session.runtime.machine.market.symbols["ACME"]
    live = [bar for bar in market.bars if bar.ts > kept[0][1] - MINUTE]
    assert kept == [(bar.symbol, bar.ts, bar.close) for bar in live]
    assert len(kept) > 5
    assert not said(snapshot, "not the one that was used last")


async def test_an_older_copy_of_the_database_is_told(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(holds)
    copy = settings.database_path.read_bytes()
    async with running(settings) as session:
        await session.until(has_traded)
    settings.database_path.write_bytes(copy)
    async with running(settings) as session:
        await session.until(lambda s: said(s, "not the one that was used last: its audit log ends"))
    async with running(settings) as session:
        snapshot = await session.until(holds)
    assert not said(snapshot, "not the one that was used last")


async def test_rates_of_the_file_are_given_to_the_machine(tmp_path: Path) -> None:
    file = tmp_path / "rates.csv"
    file.write_text("currency,rate,source,published\nUSD,1.3,Bank of Canada,2024-01-02\n")
    async with running(zigzag(tmp_path, fx_rates=file)) as session:
        await session.until(lambda s: True)
    published = session.runtime.machine.compliance.fintrac.rates.at("USD", 0)
    assert published is not None
    assert published[1:] == (Decimal("1.3"), "Bank of Canada")


# --- a session -----------------------------------------------------------------------------------


async def test_a_session_trades_the_recording_and_leaves_a_whole_ledger(settings: Settings) -> None:
    async with running(settings) as session:
        snapshot = await session.until(has_traded)
    assert snapshot.feed.recorded
    assert [(b.name, b.connected) for b in snapshot.brokers] == [("paper", True)]
    assert snapshot.equity is not None
    assert snapshot.equity < 100_000
    assert {row.outcome for row in snapshot.signals[:2]} == {"order"}
    last = session.snapshots[-1]
    assert await ledger_check(settings) == []
    stored = dict(rows(settings, "SELECT client_order_id, state FROM orders"))
    assert stored == {order.client_order_id: order.state for order in last.orders}


async def test_the_journal_leads_another_machine_to_the_same_state(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(has_traded)
    (journal,) = journals(settings)
    assert replayed(settings, journal).state_hash() == session.runtime.machine.state_hash()


async def test_the_end_of_the_recording_is_told_and_the_engine_goes_on(tmp_path: Path) -> None:
    async with running(zigzag(tmp_path, replay_speed=0)) as session:
        snapshot = await session.until(lambda s: s.feed.status == "ended")
        assert said(snapshot, "REPLAY_START")
        session.command(KILL)
        await session.until(tripped)


@pytest.mark.parametrize("quotes", [True, False], ids=["bars and quotes", "bars alone"])
async def test_the_same_recording_gives_the_same_trades_at_every_speed(
    tmp_path: Path, quotes: bool
) -> None:
    trades: list[list[tuple[object, ...]]] = []
    for speed in (0, 3600):
        settings = zigzag(tmp_path / str(speed), FALLING, quotes, replay_speed=speed)
        async with running(settings) as session:
            await session.until(lambda s: s.feed.status == "ended")
        query = "SELECT t.side, t.quantity, price, commission, ts, purpose FROM trades t " \
                "JOIN orders USING (client_order_id)"  # fmt: skip
        trades.append(rows(settings, query))
    assert trades[0] == trades[1]
    assert {purpose for *_, purpose in trades[0]} == {
        OrderPurpose.ENTRY,
        OrderPurpose.EXIT,
        OrderPurpose.PROTECTIVE_STOP,
    }


async def test_a_replay_of_bars_trades_as_the_backtest_does(tmp_path: Path) -> None:
    settings = zigzag(tmp_path, FALLING, quotes=False, replay_speed=3600)
    async with running(settings) as session:
        await session.until(lambda s: s.feed.status == "ended")
    kind = plugins(settings).kinds["zigzag"]
    request = BacktestRequest("zigzag", kind, {}, ("ACME",), None, None, settings)
    result = run_backtest(request, Recordings(settings.replay_dir), lambda *_: None)
    query = "SELECT side, quantity, price, commission, ts FROM trades"
    assert rows(settings, query) == [
        (f.side, str(f.quantity), str(f.price), str(f.commission), f.ts) for f in result.fills
    ]
    assert len(result.fills) > 20


async def test_health_is_what_was_measured(settings: Settings) -> None:
    async with running(settings) as session:
        snapshot = await session.until(
            lambda s: health_of(s).brokers[0].orders > 2 and health_of(s).events_per_s
        )
        health = health_of(snapshot)
        assert health.host == socket.gethostname()
        assert health.worst_ms >= health.lateness_ms >= 0
        assert health.queue >= health.unwritten >= 0
        assert health.clock_offset_ms is None  # a replay has no now
        assert health.journal is not None
        assert (health.journal.name, health.journal.problem) == (journals(settings)[0].name, "")
        assert 0 < health.journal.mb < health.journal.most_mb == settings.journal_max_mb
        (broker,) = health.brokers
        assert broker.answer_ms is not None
        assert broker.slowest_ms is not None
        assert 0 <= broker.answer_ms <= broker.slowest_ms
        assert (broker.room, broker.most, broker.clock_offset_ms) == (None, None, None)


async def test_a_stop_waits_until_all_is_on_disk(settings: Settings) -> None:
    session = Session(settings)
    session.start()
    await session.until(holds)
    last = await session.stop()
    facts = rows(settings, "SELECT max(seq) FROM audit_log")
    assert facts[0][0] <= last.seq
    assert health_of(last).queue == 0
    recorded = rows(settings, "SELECT count(*) FROM trades")[0][0]
    assert recorded == sum(order.filled > 0 for order in last.orders)


async def test_what_the_operator_asks_before_the_start_is_done_at_the_start(
    settings: Settings,
) -> None:
    session = Session(settings)
    session.command(KILL)
    session.start()
    snapshot = await session.until(lambda s: s.feed.status == "connected")
    assert tripped(snapshot)
    await session.stop()
    assert session.snapshots[-1].orders == ()


@pytest.mark.parametrize(
    ("action", "state"), [("cancel_entries", "accepted"), ("cancel_all", "canceled")]
)
async def test_open_orders_are_left_at_a_stop_as_it_is_set(
    tmp_path: Path, action: str, state: str
) -> None:
    def protected(snapshot: Snapshot) -> bool:
        return any(
            o.purpose is OrderPurpose.PROTECTIVE_STOP and o.state is OrderState.ACCEPTED
            for o in snapshot.orders
        )

    settings = zigzag(tmp_path, sells=False, on_stop=action)
    async with running(settings) as session:
        await session.until(protected)
    query = "SELECT state FROM orders WHERE purpose = 'protective_stop'"
    assert rows(settings, query) == [(state,)]
    (journal,) = journals(settings)
    assert replayed(settings, journal).state_hash() == session.runtime.machine.state_hash()


async def test_no_bar_is_seen_before_the_books_were_compared(settings: Settings) -> None:
    async with running(settings) as session:
        snapshot = await session.until(holds)
    lines = [line.text for line in snapshot.log]
    compared = next(n for n, line in enumerate(lines) if "reconciled with paper" in line)
    assert compared < next(n for n, line in enumerate(lines) if "replay" in line)


# --- starting again ------------------------------------------------------------------------------


async def test_a_restart_goes_on_with_what_was_there_and_later_in_the_recording(
    settings: Settings,
) -> None:
    async with running(settings) as first:
        await first.until(has_traded)
        await first.until(holds)
    before = first.snapshots[-1]
    async with running(settings) as second:
        after = await second.until(lambda s: s.feed.status == "connected")
        known = {order.client_order_id for order in after.orders}
        assert known >= {order.client_order_id for order in before.orders}
        assert after.ts > before.ts - MINUTE, "between two bars no time is kept"
        await second.until(lambda s: len(entries(s)) > len(entries(before)))
    ids = rows(settings, "SELECT execution_id FROM trades")
    assert len(ids) == len(set(ids))
    assert await ledger_check(settings) == []
    assert len(journals(settings)) == 2


async def test_a_position_is_found_again_under_its_stop(tmp_path: Path) -> None:
    def protected(snapshot: Snapshot) -> bool:
        stops = [o for o in snapshot.orders if o.purpose is OrderPurpose.PROTECTIVE_STOP]
        return holds(snapshot) and any(o.state is OrderState.ACCEPTED for o in stops)

    settings = zigzag(tmp_path, sells=False)
    async with running(settings) as first:
        before = await first.until(protected)
    async with running(settings) as second:
        start = await second.until(protected)
        after = await second.until(lambda s: s.ts > start.ts + 8 * MINUTE)
    assert [row.position for row in after.positions] == [row.position for row in before.positions]
    assert [o.client_order_id for o in after.orders] == [o.client_order_id for o in before.orders]
    assert len([o for o in after.orders if o.is_open]) == 1


async def test_a_strategy_that_was_switched_off_stays_off_whatever_the_settings_name(
    settings: Settings,
) -> None:
    async with running(settings) as first:
        first.command(ToggleStrategy(strategy="zigzag", enabled=False, author="me"))
        await first.until(lambda s: s.strategies and said(s, "zigzag switched off"))
    async with running(settings) as second:
        snapshot = await second.until(lambda s: s.ts > first.snapshots[-1].ts)
    states = {row.name: row.state for row in snapshot.strategies}
    assert {"sma_crossover", "zigzag"} <= states.keys()
    assert set(states.values()) == {"off"}


# --- the kill switch -----------------------------------------------------------------------------


async def test_it_stays_tripped_over_a_restart_until_it_is_rearmed(settings: Settings) -> None:
    async with running(settings) as first:
        await first.until(holds)
        first.command(KILL)
        snapshot = await first.until(lambda s: s.kill.phase == "complete" and s.kill.durable)
        assert settings.kill_files.latch.read_text() == "key: \n"
        before = len(snapshot.orders)
    async with running(settings) as second:
        snapshot = await second.until(lambda s: s.feed.status == "connected")
        assert (snapshot.kill.tripped, snapshot.kill.source) == (True, "key")
        later = snapshot.ts + 10 * MINUTE
        snapshot = await second.until(lambda s: s.ts > later)
        assert len(snapshot.orders) == before
        second.command(REARM)
        await second.until(lambda s: not s.kill.tripped and s.kill.durable)
        assert not settings.kill_files.latch.exists()
        await second.until(lambda s: len(s.orders) > before)
    async with running(settings) as third:
        snapshot = await third.until(lambda s: s.feed.status == "connected")
        assert not snapshot.kill.tripped


async def test_a_kill_file_made_by_hand_trips_and_rearming_removes_it(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(holds)
        settings.kill_files.latch.touch()
        snapshot = await session.until(lambda s: s.kill.phase == "complete")
        assert snapshot.kill.source == "file"
        session.command(REARM)
        await session.until(lambda s: not s.kill.tripped and s.kill.durable)
        assert not settings.kill_files.latch.exists()


async def test_a_kill_file_that_was_there_before_the_start_trips_too(settings: Settings) -> None:
    settings.kill_files.latch.parent.mkdir()
    settings.kill_files.latch.touch()
    async with running(settings) as session:
        snapshot = await session.until(lambda s: s.feed.status == "connected")
        assert (snapshot.kill.tripped, snapshot.kill.source) == (True, "file")
        assert said(snapshot, "KILL SWITCH tripped by file")
    assert rows(settings, "SELECT kind FROM audit_log WHERE kind LIKE 'KillSwitch%'") == [
        ("KillSwitchTriggered",)
    ]


async def test_a_kill_file_that_was_removed_while_it_is_tripped_comes_back(
    settings: Settings,
) -> None:
    async with running(settings) as session:
        session.command(KILL)
        await session.until(lambda s: s.kill.tripped and s.kill.durable)
        settings.kill_files.latch.unlink()
        await session.until(lambda _: settings.kill_files.latch.exists())
        assert session.snapshots[-1].kill.tripped


async def test_kill_switch_true_starts_tripped_and_is_latched(tmp_path: Path) -> None:
    settings = zigzag(tmp_path, kill_switch=True)
    async with running(settings) as session:
        snapshot = await session.until(lambda s: s.feed.status == "connected")
        assert snapshot.kill.source == "KILL_SWITCH=true"
        await session.until(lambda _: settings.kill_files.latch.exists())
    async with running(zigzag(tmp_path)) as session:
        snapshot = await session.until(lambda s: s.feed.status == "connected")
        assert snapshot.kill.tripped
    assert session.snapshots[-1].orders == ()


async def test_a_latch_that_cannot_be_written_is_told_and_the_kill_is_in_force(
    settings: Settings,
) -> None:
    async with running(settings) as session:
        await session.until(holds)
        settings.kill_files.latch.mkdir()
        snapshot = await session.until(lambda s: said(s, "the kill switch is not on disk"))
        assert (snapshot.kill.phase, snapshot.kill.durable) == ("complete", False)
        settings.kill_files.latch.rmdir()
        await session.until(lambda s: s.kill.durable)
        assert settings.kill_files.latch.is_file()


async def test_a_latch_that_cannot_be_removed_keeps_it_tripped(settings: Settings) -> None:
    async with running(settings) as session:
        settings.kill_files.latch.parent.mkdir(exist_ok=True)
        settings.kill_files.latch.mkdir()
        await session.until(tripped)
        session.command(REARM)
        await session.until(lambda s: sum("KILL SWITCH" in line.text for line in s.log) > 1)
        settings.kill_files.latch.rmdir()
        snapshot = await session.until(lambda s: s.kill.durable)
        assert snapshot.kill.tripped
        session.command(REARM)
        await session.until(lambda s: not s.kill.tripped and s.kill.durable)


# --- the database --------------------------------------------------------------------------------


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(writer, "RETRY_S", 0.05)


@asynccontextmanager
async def locked(settings: Settings) -> AsyncIterator[None]:
    """Another program holds the database. It waits for its turn on another thread: the engine's
    transaction that is under way ends on this one."""
    path = settings.database_path
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        yield


@pytest.mark.usefixtures("_impatient")
async def test_no_order_leaves_while_the_database_is_locked_and_it_recovers_by_itself(
    settings: Settings, sent: list[str]
) -> None:
    async with running(settings) as session:
        await session.until(holds)
        async with locked(settings):
            snapshot = await session.until(lambda s: not s.store.available)
            assert "locked" in snapshot.store.note
            before, later = len(sent), snapshot.ts + 8 * MINUTE
            snapshot = await session.until(lambda s: s.ts > later)
            assert len(sent) == before
            assert said(snapshot, "no order leaves")
        await session.until(lambda s: s.store.available)
        await session.until(lambda _: len(sent) > before)
    assert await ledger_check(settings) == []


@pytest.mark.usefixtures("_impatient")
async def test_a_kill_does_not_wait_for_the_database(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(holds)
        async with locked(settings):
            session.command(KILL)
            snapshot = await session.until(lambda s: s.kill.phase == "complete", within=5)
            assert snapshot.kill.open_orders == 0
    async with running(settings) as session:
        snapshot = await session.until(lambda s: s.feed.status == "connected")
        assert snapshot.kill.tripped


async def test_more_facts_than_are_kept_trip_the_kill_switch(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "FACTS_KEPT", 5)
    async with running(settings) as session:
        snapshot = await session.until(tripped)
    assert snapshot.kill.source == "store"


# --- the broker ----------------------------------------------------------------------------------


class Faulty(PaperBroker):
    """A paper broker whose answer to the first submit is `fault`; `sent` are all submits, and
    `reached` is whether the faulty one got there."""

    fault: ClassVar[Exception | None] = None
    reached: ClassVar[bool] = True
    sent: ClassVar[list[str]] = []
    asked: ClassVar[list[str]] = []

    async def submit_order(self, order: Order) -> ExecutionReport:
        self.sent.append(order.client_order_id)
        if len(self.sent) > 1:
            return await super().submit_order(order)
        if self.reached:
            await super().submit_order(order)
        if self.fault is None:
            await asyncio.Event().wait()  # no answer, ever
        assert self.fault is not None
        raise self.fault

    async def get_order(self, order: Order) -> ExecutionReport | None:
        self.asked.append(order.client_order_id)
        return await super().get_order(order)


def faulty(monkeypatch: pytest.MonkeyPatch, fault: Exception | None, reached: bool) -> type[Faulty]:
    fields = {"fault": fault, "reached": reached, "sent": [], "asked": []}
    kind = type("Faulty", (Faulty,), fields)
    monkeypatch.setattr(engine.build, "PaperBroker", kind)
    return kind


@pytest.mark.parametrize(
    "fault", [InDoubt("connection reset"), None, RuntimeError("a bug of the adapter")], ids=str
)
async def test_a_submit_that_was_accepted_and_not_answered_is_found_and_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception | None
) -> None:
    broker = faulty(monkeypatch, fault, reached=True)
    settings = zigzag(tmp_path, submit_timeout_s=0.2)
    async with running(settings) as session:
        snapshot = await session.until(entries)
        first = entries(snapshot)[0].client_order_id
        snapshot = await session.until(lambda s: any(o.filled for o in entries(s)))
        assert said(snapshot, f"in doubt: buy 49 ACME ({first})")
    assert broker.sent.count(first) == 1
    assert first in broker.asked
    assert await ledger_check(settings) == []


async def test_a_submit_that_got_nowhere_is_abandoned_and_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = faulty(monkeypatch, InDoubt("connection reset"), reached=False)
    settings = zigzag(tmp_path, in_doubt_lag_s=30)
    async with running(settings) as session:
        snapshot = await session.until(
            lambda s: any(o.state is OrderState.ABANDONED for o in entries(s))
        )
        first = entries(snapshot)[0]
        assert first.state is OrderState.ABANDONED
        await session.until(has_traded)
    assert broker.sent.count(first.client_order_id) == 1


async def test_a_submit_that_did_not_leave_ends_its_order_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = faulty(monkeypatch, NotSent("connection refused"), reached=False)
    async with running(zigzag(tmp_path)) as session:
        snapshot = await session.until(lambda s: len(entries(s)) > 1)
    first = entries(snapshot)[0]
    assert (first.state, first.reason) == (OrderState.CANCELED, "not sent: connection refused")
    assert broker.asked == []


async def test_a_kill_overtakes_a_submit_that_waits_for_its_turn(
    settings: Settings, sent: list[str]
) -> None:
    """The intent is committed, the request is under way on the loop, and then the key is hit."""

    class Killed(Runtime):
        def publish(self, event: Event) -> None:
            super().publish(event)
            if isinstance(event, IntentCommitted):
                self.command(KILL)

    session = Session(settings, Killed)
    session.start()
    await session.until(lambda s: s.kill.phase == "complete")
    await session.stop()
    assert sent == []
    assert rows(settings, "SELECT state FROM orders") == [("canceled",)]


@pytest.mark.parametrize(
    ("fact", "left"), [(QuoteUpdate, 0), (OrderIntended, 0), (OrderSubmitted, 0), (OrderFilled, 1)]
)
async def test_an_error_in_a_subscriber_stops_trading_and_is_told(
    tmp_path: Path,
    sent: list[str],
    caplog: pytest.LogCaptureFixture,
    fact: type[Event],
    left: int,
) -> None:
    """F81. Not even the order leaves that the same event was about to send."""

    class Broken(Runtime):
        async def _trade(self, repository: Repository, restored: Restored) -> None:
            self.machine.bus.subscribe(fact, fail)
            await super()._trade(repository, restored)

    def fail(event: Event) -> None:
        raise ZeroDivisionError("half of a decision")

    settings = zigzag(tmp_path)
    session = Session(settings, Broken)
    session.start()
    snapshot = await session.until(tripped)
    assert said(snapshot, "internal error: ZeroDivisionError: half of a decision")
    assert snapshot.kill.source == "broken law"
    later = snapshot.ts + 20 * MINUTE
    snapshot = await session.until(lambda s: s.ts > later)
    await session.stop()
    assert len(sent) == left
    assert snapshot.kill.phase == "complete"
    assert [r.exc_info[0] for r in caplog.records if r.exc_info][:1] == [ZeroDivisionError]
    async with running(settings) as again:
        assert tripped(await again.until(lambda s: s.feed.status == "connected"))
    assert len(sent) == left


async def test_a_cancel_without_an_answer_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Deaf(PaperBroker):
        async def cancel_order(self, order: Order) -> ExecutionReport | CancelRejected:
            asked.append(order.client_order_id)
            if len(asked) < 3:
                raise InDoubt("504")
            return await super().cancel_order(order)

    monkeypatch.setattr(engine.build, "PaperBroker", Deaf)
    async with running(zigzag(tmp_path, sells=False)) as session:
        at_venue = OrderState.ACCEPTED
        snapshot = await session.until(
            lambda s: holds(s) and any(o.state is at_venue for o in s.orders)
        )
        stop = next(o for o in snapshot.orders if o.state is at_venue)
        session.command(ControlFeed(action="speed", speed=30))
        session.command(RequestCancel(client_order_id=stop.client_order_id, author="me"))
        await session.until(lambda _: asked.count(stop.client_order_id) >= 3)


# --- sudden death --------------------------------------------------------------------------------

CHILD = """
import sys, threading
from engine.core.events import TripKillSwitch
from engine.host.thread import EngineHost
from engine.ops.settings import load_settings

def obey():
    for _ in sys.stdin:
        host.send(TripKillSwitch(source="key", author="me"))

host = EngineHost(load_settings())
host.start()
threading.Thread(target=obey, daemon=True).start()
said = None
while True:
    threading.Event().wait(0.02)
    snapshot = host.latest()
    if snapshot is not None:
        fills = sum(order.filled > 0 for order in snapshot.orders)
        state = (fills, snapshot.kill.phase, snapshot.kill.durable)
        if state != said:
            said = state
            print(*state, flush=True)
"""


class Victim:
    """An engine in a process of its own, on the recordings that ship, to be killed with -9."""

    def __init__(self, settings: Settings) -> None:
        environment = {
            "DATA_DIR": str(settings.data_dir),
            "REPLAY_SPEED": str(settings.replay_speed),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def until(self, fills: int, phase: str, durable: str = "True") -> None:
        """Read on until it has filled so many orders and its kill switch is in `phase`."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            filled, now, written = line.split()
            if int(filled) >= fills and (now, written) == (phase, durable):
                return
        raise AssertionError("the engine ended")

    def trip(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("kill\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def shipped(tmp_path: Path) -> Iterator[tuple[Settings, Victim]]:
    settings = Settings(data_dir=tmp_path / "var", replay_speed=3600)
    victim = Victim(settings)
    yield settings, victim
    victim.kill()


STATE = (
    "SELECT client_order_id, symbol, state, filled FROM orders ORDER BY 1",
    "SELECT execution_id, symbol, side, quantity, price, commission FROM trades ORDER BY 1",
    "SELECT strategy, symbol, quantity, cost, realised_pnl FROM positions ORDER BY 1, 2",
)


async def test_kill_9_loses_nothing_and_stays_tripped(shipped: tuple[Settings, Victim]) -> None:
    settings, victim = shipped
    victim.until(fills=3, phase="armed")
    victim.trip()
    victim.until(fills=3, phase="complete")
    victim.kill()
    assert await ledger_check(settings) == []
    before = [rows(settings, query) for query in STATE]
    ((saved,),) = rows(settings, "SELECT value FROM bot_state WHERE key = 'market'")
    async with running(settings) as session:
        snapshot = await session.until(lambda s: s.feed.status == "connected")
        assert snapshot.kill.tripped
        assert snapshot.ts >= json.loads(saved)["ts"]
        assert {(o.client_order_id, o.filled) for o in snapshot.orders} == {
            (key, Decimal(filled)) for key, _, _, filled in before[0]
        }
        held = {(p.position.symbol, p.position.quantity) for p in snapshot.positions}
        assert held == {(symbol, Decimal(q)) for _, symbol, q, *_ in before[2] if Decimal(q)}
        later = snapshot.ts + 60 * MINUTE
        await session.until(lambda s: s.ts > later)
    assert [rows(settings, query) for query in STATE] == before
    assert await ledger_check(settings) == []


async def test_kill_9_while_it_trades_sends_nothing_twice_and_goes_on(
    shipped: tuple[Settings, Victim],
) -> None:
    settings, victim = shipped
    victim.until(fills=4, phase="armed")
    victim.kill()
    assert await ledger_check(settings) == []
    trades = rows(settings, STATE[1])
    ((saved,),) = rows(settings, "SELECT value FROM bot_state WHERE key = 'market'")
    async with running(settings) as session:
        snapshot = await session.until(lambda s: s.feed.status == "connected")
        assert not snapshot.kill.tripped
        assert snapshot.ts >= json.loads(saved)["ts"]
        await session.until(lambda _: len(rows(settings, STATE[1])) > len(trades) + 2)
        assert not tripped(session.snapshots[-1])
    assert set(rows(settings, STATE[1])) > set(trades)
    assert await ledger_check(settings) == []
    again = replayed(settings, journals(settings)[-1])
    assert again.state_hash() == session.runtime.machine.state_hash()
    states = Counter(state for _, _, state, _ in rows(settings, STATE[0]))
    assert not states["in_doubt"] + states["intended"] + states["submitted"], states


# --- what stands in the way of a start -----------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"symbols": ("NOPE",)}, "NOPE"),
        ({"strategies": ("nope",)}, "nope"),
        ({"strategies_dir": Path("no/such/folder")}, "STRATEGIES_DIR"),
        ({"replay_dir": Path("no/such/folder")}, "no/such/folder"),
    ],
)
async def test_a_wrong_setting_is_named_with_its_remedy(
    tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    session = Session(zigzag(tmp_path, **wrong))
    session.start()
    with pytest.raises(UserError, match=said) as error:
        await session.stop()
    assert error.value.remedy


async def test_a_broken_strategy_file_is_told_and_stops_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "plugins" / "broken.py").write_text("import nothing_of_this_name")
    async with running(settings) as session:
        snapshot = await session.until(holds)
    assert said(snapshot, "strategy file broken.py is broken: ModuleNotFoundError")


# --- the host ------------------------------------------------------------------------------------


def wait(host: EngineHost, holds: Callable[[Snapshot], object]) -> Snapshot:
    """The first snapshot of a host's engine that fulfils `holds`, asked for as a console does."""

    async def look() -> Snapshot:
        async with asyncio.timeout(20):
            while True:
                snapshot = host.latest()
                if snapshot is not None and holds(snapshot):
                    return snapshot
                await asyncio.sleep(0.02)

    return asyncio.run(look())


def test_the_host_runs_an_engine_on_its_own_thread_until_it_is_stopped(settings: Settings) -> None:
    host = EngineHost(settings)
    assert host.latest() is None
    host.start()
    try:
        wait(host, holds)
        host.send(KILL)
        assert wait(host, tripped).kill.source == "key"
    finally:
        assert host.stop(20)
    assert host.failure() is None
    host.send(KILL)  # nobody is there to hear it
    assert host.latest() is not None


def test_a_second_engine_on_the_same_database_is_refused(settings: Settings) -> None:
    host = EngineHost(settings)
    host.start()
    try:
        with pytest.raises(EngineLocked):
            EngineHost(settings).start()
    finally:
        assert host.stop(20)
    again = EngineHost(settings)
    again.start()
    assert again.stop(20)


def test_an_engine_that_cannot_start_says_why_and_gives_the_lock_back(tmp_path: Path) -> None:
    host = EngineHost(zigzag(tmp_path, symbols=("NOPE",)))
    host.start()
    assert host.stop(20)
    assert "NOPE" in (host.failure() or "")
    again = EngineHost(zigzag(tmp_path))
    again.start()
    wait(again, holds)
    assert again.stop(20)
    assert again.failure() is None


def test_an_engine_that_breaks_names_the_error_without_its_text(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("with a secret in it")

    monkeypatch.setattr(engine.host.runtime, "View", broken)
    host = EngineHost(settings)
    host.start()
    assert host.stop(20)
    assert host.failure() == "the engine ended with ZeroDivisionError; see the log"
    assert "the engine ended" in caplog.text


# --- no number that is not true ------------------------------------------------------------------


async def test_the_snapshot_is_of_the_machine(settings: Settings) -> None:
    async with running(settings) as session:
        await session.until(has_traded)
    last, machine = session.snapshots[-1], session.runtime.machine
    assert last.cash == machine.portfolio.cash["paper"]
    assert last.equity == machine.portfolio.equity()
    assert last.seq == machine.bus.seq
    assert [asdict(order) for order in last.orders] == [
        asdict(order) for order in machine.orders.orders.values()
    ]
    assert last.cash is not None
    assert last.cash < Decimal(100_000)
