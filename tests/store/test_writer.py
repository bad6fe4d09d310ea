"""Intents before everything else, and nothing is forgotten while the database is out of reach."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio

from engine.core.events import (
    Event,
    IntentCommitted,
    IntentFailed,
    OrderSubmitted,
    SignalBlocked,
    StoreChanged,
    StrategyFailed,
)
from engine.core.model import MINUTE, Bar, Order, Side, Signal
from engine.store import sqlite, writer
from engine.store.repository import Repository
from engine.store.writer import StoreWriter

from .conftest import Database, MakeOrder, Stamp


class Desk:
    """A running writer; `heard` is what it published."""

    def __init__(
        self, store: Repository, database: Database, bars_ns: int = 0, *, whole: bool = False
    ) -> None:
        self.store = store
        self.rows = database.rows
        self.locked = database.locked
        self.heard: list[Event] = []
        self.overflows = 0
        self.writer = StoreWriter(store, self._hear, self._overflow, bars_ns, whole=whole)
        self.on: Callable[[Event], None] = lambda _: None
        self._news = asyncio.Event()

    def _hear(self, event: Event) -> None:
        self.heard.append(event)
        self.on(event)
        self._news.set()

    def _overflow(self) -> None:
        self.overflows += 1

    async def until(self, count: int) -> None:
        """Wait until so many events were heard."""
        async with asyncio.timeout(10):
            while len(self.heard) < count:
                self._news.clear()
                await self._news.wait()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """A locked database is given up on, and asked again, sooner than in trading."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(writer, "RETRY_S", 0.05)


@pytest_asyncio.fixture
async def desk(store: Repository, database: Database) -> AsyncIterator[Desk]:
    desk = Desk(store, database)
    task = asyncio.create_task(desk.writer.run())
    yield desk
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def a_fact(stamp: Stamp, reason: str = "") -> Event:
    return stamp(SignalBlocked(Signal("s", "ACME", Side.BUY, 1, 1.0), "stale", reason))


async def test_an_intent_is_in_the_file_when_it_is_told_to_be(
    desk: Desk, make_order: MakeOrder
) -> None:
    seen: list[object] = []
    desk.on = lambda _: seen.extend(desk.rows("SELECT client_order_id, state FROM orders"))
    desk.writer.commit(make_order("tb-1"))
    await desk.until(1)
    assert desk.heard == [IntentCommitted("tb-1")]
    assert seen == [("tb-1", "intended")]


async def test_the_same_intent_again_fails_and_leaves_the_row(
    desk: Desk, make_order: MakeOrder
) -> None:
    desk.writer.commit(make_order("tb-1"))
    desk.writer.commit(make_order("tb-1", symbol="OTHER"))
    await desk.until(2)
    failed = desk.heard[1]
    assert isinstance(failed, IntentFailed)
    assert failed.duplicate
    assert desk.rows("SELECT symbol FROM orders") == [("BTC-USD",)]


async def test_an_intent_overtakes_the_facts_that_wait(
    desk: Desk, make_order: MakeOrder, stamp: Stamp
) -> None:
    told: list[int] = []
    for _ in range(3):
        desk.writer.record([a_fact(stamp) for _ in range(writer.BATCH)])
    desk.on = lambda _: told.append(len(desk.rows("SELECT * FROM audit_log")))
    desk.writer.commit(make_order())
    await desk.until(1)
    assert told == [0]
    await desk.writer.flush()
    assert len(desk.rows("SELECT * FROM audit_log")) == 3 * writer.BATCH


async def test_a_whole_writer_makes_an_intent_durable_with_the_facts_before_it(
    store: Repository, database: Database, make_order: MakeOrder, stamp: Stamp
) -> None:
    """Where the intent cannot be written, the facts wait, and none of both is there."""
    desk = Desk(store, database, whole=True)
    told: list[tuple[int, int]] = []
    task = asyncio.create_task(desk.writer.run())
    desk.writer.record([a_fact(stamp) for _ in range(writer.BATCH)])
    async with desk.locked():
        desk.writer.record([a_fact(stamp)], {"peak_equity": 1.0})
        desk.writer.commit(make_order())
        await desk.until(2)
        assert {type(event) for event in desk.heard} == {StoreChanged, IntentFailed}

    def look(event: Event) -> None:
        if isinstance(event, IntentCommitted):
            facts, orders = (len(desk.rows(f"SELECT * FROM {t}")) for t in ("audit_log", "orders"))
            told.append((facts, orders))

    desk.on = look
    desk.writer.record([a_fact(stamp)], {"peak_equity": 2.0})
    desk.writer.commit(make_order("tb-2"))
    await desk.writer.flush()
    task.cancel()
    assert told == [(writer.BATCH + 2, 1)]
    assert desk.writer.waiting == 0
    assert desk.rows("SELECT value FROM bot_state WHERE key = 'peak_equity'") == [("2.0",)]


async def test_an_intent_that_follows_facts_at_once_goes_before_them(
    desk: Desk, make_order: MakeOrder, stamp: Stamp
) -> None:
    told: list[int] = []
    desk.writer.record([a_fact(stamp)])
    for _ in range(3):
        await asyncio.sleep(0)
    desk.on = lambda _: told.append(len(desk.rows("SELECT * FROM audit_log")))
    desk.writer.commit(make_order())
    await desk.until(1)
    assert told == [0]
    await desk.writer.flush()
    assert len(desk.rows("SELECT * FROM audit_log")) == 1


async def test_intents_that_wait_are_committed_together(desk: Desk, make_order: MakeOrder) -> None:
    seen: list[int] = []
    desk.on = lambda _: seen.append(len(desk.rows("SELECT * FROM orders")))
    for number in range(3):
        desk.writer.commit(make_order(f"tb-{number}"))
    await desk.until(3)
    assert seen == [3, 3, 3]
    assert desk.heard == [IntentCommitted(f"tb-{number}") for number in range(3)]


async def test_facts_are_written_in_their_order_and_flush_waits_for_them(
    desk: Desk, stamp: Stamp
) -> None:
    for _ in range(50):
        desk.writer.record([a_fact(stamp), a_fact(stamp)])
    assert desk.writer.waiting == 100
    await desk.writer.flush()
    assert desk.writer.waiting == 0
    assert desk.rows("SELECT seq FROM audit_log ORDER BY id") == [(seq,) for seq in range(1, 101)]


async def test_the_facts_of_one_input_are_written_together_or_not_at_all(
    desk: Desk, stamp: Stamp, make_order: MakeOrder
) -> None:
    async with desk.locked():
        desk.writer.record([stamp(OrderSubmitted(make_order("tb-9"))), a_fact(stamp)])
        await desk.until(1)
        assert desk.rows("SELECT * FROM audit_log") == []
        assert desk.rows("SELECT * FROM orders") == []
    await desk.writer.flush()
    assert len(desk.rows("SELECT * FROM audit_log")) == 2
    assert desk.rows("SELECT state FROM orders") == [("intended",)]


async def test_a_locked_database_fails_intents_and_keeps_facts_until_it_is_back(
    desk: Desk, make_order: MakeOrder, stamp: Stamp
) -> None:
    async with desk.locked():
        desk.writer.record([a_fact(stamp)])
        desk.writer.commit(make_order("tb-1"))
        desk.writer.commit(make_order("tb-2"))
        await desk.until(3)
        assert [type(event) for event in desk.heard] == [StoreChanged, IntentFailed, IntentFailed]
        change, failed, _ = desk.heard
        assert isinstance(change, StoreChanged)
        assert isinstance(failed, IntentFailed)
        assert not change.available
        assert "lock" in change.reason
        assert "lock" in failed.reason
        assert not failed.duplicate
        assert desk.writer.waiting == 1
    await desk.writer.flush()
    assert desk.heard[3:] == [StoreChanged(True)]
    assert desk.rows("SELECT seq FROM audit_log ORDER BY id") == [(1,)]
    assert desk.rows("SELECT * FROM orders") == []
    desk.writer.commit(make_order("tb-3"))
    await desk.until(5)
    assert desk.heard[4] == IntentCommitted("tb-3")


async def test_more_facts_than_are_kept_are_told(
    desk: Desk, stamp: Stamp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "FACTS_KEPT", 3)
    desk.writer.record([a_fact(stamp) for _ in range(3)])
    assert desk.overflows == 0
    desk.writer.record([a_fact(stamp)])
    assert desk.overflows == 1
    await desk.writer.flush()
    assert len(desk.rows("SELECT * FROM audit_log")) == 4


async def test_a_fact_that_cannot_be_recorded_ends_the_writer(
    store: Repository, database: Database, stamp: Stamp
) -> None:
    desk = Desk(store, database)
    desk.writer.record([stamp(StrategyFailed("s", object()))])  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await desk.writer.run()


# --- bars ----------------------------------------------------------------------------------------


def a_bar(number: int, close: float = 100.5) -> Bar:
    return Bar("ACME", number * MINUTE, 100.0, 101.0, 99.0, close, 1e6)


@pytest_asyncio.fixture
async def keeper(store: Repository, database: Database) -> AsyncIterator[Desk]:
    """Keeps ten minutes of bars."""
    desk = Desk(store, database, 10 * MINUTE)
    task = asyncio.create_task(desk.writer.run())
    yield desk
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_bars_are_kept_and_the_oldest_let_go(keeper: Desk, store: Repository) -> None:
    for number in range(1, 31):
        keeper.writer.keep(a_bar(number))
    keeper.writer.keep(a_bar(30, close=100.25))  # corrected
    await keeper.writer.flush()
    expected = [a_bar(number) for number in range(20, 30)] + [a_bar(30, close=100.25)]
    assert await store.bars("ACME", MINUTE, 100) == expected
    assert await store.bars("ACME", MINUTE, 2) == expected[-2:]
    assert await store.bars("ACME", 5 * MINUTE, 2) == []


async def test_bars_are_written_without_anything_else_to_write(
    keeper: Desk, store: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "BARS_WAIT_S", 0.01)
    keeper.writer.keep(a_bar(1))
    saved = asyncio.Event()
    save = store.save_bars

    async def told(bars: Sequence[Bar], oldest: int) -> None:
        await save(bars, oldest)
        saved.set()

    monkeypatch.setattr(store, "save_bars", told)
    async with asyncio.timeout(10):
        await saved.wait()
    assert await store.bars("ACME", MINUTE, 1) == [a_bar(1)]


async def test_no_bars_are_kept_where_none_are_wanted(desk: Desk, store: Repository) -> None:
    desk.writer.keep(a_bar(1))
    await desk.writer.flush()
    assert await store.bars("ACME", MINUTE, 1) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # whose locks hold all tables
async def test_bars_wait_for_a_database_that_is_out_of_reach(
    keeper: Desk, store: Repository
) -> None:
    async with keeper.locked():
        for number in range(1, 4):
            keeper.writer.keep(a_bar(number))
        flushing = asyncio.create_task(keeper.writer.flush())
        await keeper.until(1)
        assert isinstance(keeper.heard[0], StoreChanged)
    await flushing
    assert await store.bars("ACME", MINUTE, 9) == [a_bar(1), a_bar(2), a_bar(3)]


async def test_of_many_intents_at_a_locked_database_none_waits_longer_than_the_first(
    desk: Desk, make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F70: not each of them its own time, one after the other."""
    tries: list[int] = []
    commit = desk.store.commit_intents

    async def counted(orders: Sequence[Order], *others: Any) -> frozenset[str]:
        tries.append(len(orders))
        return await commit(orders, *others)

    monkeypatch.setattr(desk.store, "commit_intents", counted)
    monkeypatch.setattr(writer, "BATCH", 3)
    async with desk.locked():
        for number in range(20):
            desk.writer.commit(make_order(f"tb-{number}"))
        await desk.until(21)
    failed = [event for event in desk.heard if isinstance(event, IntentFailed)]
    assert len(failed) == 20
    assert tries == [3]
    desk.writer.commit(make_order("tb-20"))
    await desk.until(23)
    assert IntentCommitted("tb-20") in desk.heard
