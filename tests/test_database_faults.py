"""A database that is locked, full or gone while the engine trades: no order leaves, it is told, a
kill goes through, and when the database is back trading goes on by itself with nothing lost."""

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import URL, make_url

from engine.core.events import TripKillSwitch
from engine.core.model import MINUTE
from engine.ops.settings import Settings
from engine.simulation.process_laws import judge, judge_rest, kept
from engine.store.audit import AuditHead
from engine.view.snapshot import Snapshot
from tests.postgresql import SERVER, done, dsn, run_on
from tests.session import Session, health_of, running, zigzag

Fault = Callable[[Settings], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def locked_file(settings: Settings) -> AsyncIterator[None]:
    """Another program writes, and does not end. It waits for its turn on another thread."""
    path = settings.database_path
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        yield


@asynccontextmanager
async def full_disk(settings: Settings) -> AsyncIterator[None]:
    """No file of this process can grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@asynccontextmanager
async def locked_table(settings: Settings) -> AsyncIterator[None]:
    """Somebody else's transaction holds the table of the intents."""
    other = await asyncpg.connect(address(settings))
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE paper.orders IN SHARE MODE")
            yield
    finally:
        await other.close()


@asynccontextmanager
async def restarting_server(settings: Settings) -> AsyncIterator[None]:
    """The engine's connection ends, and no new one is let in."""
    name = settings_url(settings).database
    await run_on(SERVER, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", "SELECT 1")
    await run_on(
        SERVER, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    try:
        yield
    finally:
        await run_on(SERVER, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true", "SELECT 1")


def settings_url(settings: Settings) -> URL:
    return make_url(settings.database_url.get_secret_value())


def address(settings: Settings) -> str:
    return dsn(settings_url(settings))


@pytest.fixture(params=[locked_file, full_disk, locked_table, restarting_server])
def fault(request: pytest.FixtureRequest) -> Fault:
    return request.param


@pytest.fixture
def settings(fault: Fault, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    if fault in (locked_file, full_disk):
        yield zigzag(tmp_path)
        return
    url: URL = request.getfixturevalue("postgresql")
    yield zigzag(tmp_path, database_url=url.render_as_string(hide_password=False))
    drop = "DROP SCHEMA IF EXISTS paper CASCADE"
    done(run_on(url, "SET client_min_messages TO error", drop))


def sent(snapshot: Snapshot) -> set[str]:
    return {order.client_order_id for order in snapshot.orders if order.venue_order_id}


def holds(snapshot: Snapshot) -> bool:
    return bool(snapshot.positions) and any(order.is_open for order in snapshot.orders)


async def refused(session: Session) -> Snapshot:
    return await session.until(lambda s: not s.store.available, within=30)


async def test_no_order_leaves_until_it_is_back_and_nothing_is_lost(
    settings: Settings, fault: Fault
) -> None:
    async with running(settings) as session:
        await session.until(holds)
        async with fault(settings):
            snapshot = await refused(session)
            assert snapshot.store.note
            before, later = sent(snapshot), snapshot.ts + 12 * MINUTE
            snapshot = await session.until(lambda s: s.ts > later, within=60)
            assert sent(snapshot) == before
            assert any("no order leaves" in line.text for line in snapshot.log)
        await session.until(lambda s: s.store.available, within=30)
        await session.until(lambda s: sent(s) > before)
    last = session.snapshots[-1]
    assert health_of(last).queue == 0
    now = await asyncio.to_thread(lambda: judge(settings, kept(settings), AuditHead()))
    judge_rest(now)
    assert {key: o.state for key, o in now.orders.items()} == {
        o.client_order_id: o.state for o in last.orders
    }
    kinds = [row.kind for row in now.audit]
    assert kinds.count("StoreStatusChanged") >= 2


async def test_a_kill_goes_through_meanwhile_and_is_durable_when_it_is_back(
    settings: Settings, fault: Fault
) -> None:
    async with running(settings) as session:
        await session.until(holds)
        async with fault(settings):
            await refused(session)
            session.command(TripKillSwitch(source="key", author="me"))
            snapshot = await session.until(lambda s: s.kill.phase == "complete", within=10)
            assert not snapshot.store.available
            assert snapshot.kill.open_orders == 0
        await session.until(lambda s: s.kill.durable and s.store.available, within=30)
    now = await asyncio.to_thread(kept, settings)
    assert "KillSwitchTriggered" in [row.kind for row in now.audit]
    async with running(settings) as session:
        snapshot = await session.until(lambda s: s.feed.status == "connected")
        assert snapshot.kill.tripped
