"""A server that restarts, hangs, or is lost while it commits: told at once, and nothing twice."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import URL, Connection

from engine.core.events import CommandRefused, IntentCommitted, IntentFailed, StoreChanged
from engine.core.model import Mode
from engine.ops.errors import UserError
from engine.ops.lock import EngineLocked
from engine.store import DuplicateIntent, StoreUnavailable, writer
from engine.store.audit import verify
from engine.store.database import open_database, read_database
from engine.store.place import Place
from engine.store.repository import Repository
from engine.store.writer import StoreWriter
from engine.view.snapshot import Snapshot
from tests.session import ledger_check, running, zigzag

from .conftest import Database, MakeOrder, Stamp, begun
from .test_audit import stored

ROOT = Path(__file__).parents[2]
END_OURS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name LIKE 'tradebot-%' AND datname = current_database()"
)


class Proxy:
    """A wire to the server that can be cut and held.

    When the client says `cut_at`, the wire is cut: before the server hears it where `unheard`,
    else when the server has answered.
    """

    def __init__(self, url: URL) -> None:
        self._url = url
        self._wires: set[asyncio.StreamWriter] = set()
        self._ended: list[asyncio.Event] = []
        self._held: list[asyncio.Event] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.cut_at: bytes | None = None
        self.unheard = False

    async def start(self) -> URL:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._url.set(port=self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self._server.close()
        self.let_go()
        for ended in self._ended:
            await ended.wait()

    def cut(self) -> None:
        """Reset all connections."""
        for wire in self._wires:
            wire.transport.abort()

    def hold(self) -> None:
        """From now on nothing comes through, and nothing is refused."""
        self._flowing.clear()

    def hold_what_is_connected(self) -> None:
        """Nothing comes through on the connections that are there; new ones are well."""
        self._flowing.clear()
        self._held.append(self._flowing)
        self._flowing = asyncio.Event()
        self._flowing.set()

    def let_go(self) -> None:
        for held in (*self._held, self._flowing):
            held.set()
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._url.host, self._url.port or 5432)
        wires, flowing, said = {writer, back}, self._flowing, asyncio.Event()

        async def upstream() -> None:
            while data := await reader.read(65_536):
                await flowing.wait()
                if self.cut_at and self.cut_at in data:
                    self.cut_at = None
                    said.set()
                    if self.unheard:
                        return
                back.write(data)

        async def downstream() -> None:
            while (data := await there.read(65_536)) and not said.is_set():
                await flowing.wait()
                writer.write(data)

        async def until_the_end(way: Coroutine[None, None, None]) -> None:
            with suppress(ConnectionError):
                await way
            for wire in wires:
                wire.transport.abort()

        ended = asyncio.Event()
        self._ended.append(ended)
        self._wires |= wires
        await asyncio.gather(until_the_end(upstream()), until_the_end(downstream()))
        self._wires -= wires
        ended.set()


@pytest_asyncio.fixture
async def proxy(server: Place) -> AsyncIterator[Proxy]:
    proxy = Proxy(server.url)
    yield proxy
    await proxy.stop()


@pytest_asyncio.fixture
async def store(server: Place, proxy: Proxy) -> AsyncIterator[Repository]:
    """A store at the far end of the proxy."""
    repository = await Repository.open(Place(await proxy.start(), server.mode, server.backups))
    yield repository
    await repository.close()


@pytest.fixture
def database(server: Place) -> Database:
    return Database(server)


def intents(database: Database) -> list[str]:
    return [name for (name,) in database.rows("SELECT client_order_id FROM orders ORDER BY 1")]


async def is_back(store: Repository) -> None:
    """The database is in reach again within a few calls, as a writer makes them."""
    for _ in range(5):
        with suppress(StoreUnavailable):
            await store.orders(1)
            return
    await store.orders(1)


# --- durability ----------------------------------------------------------------------------------


async def test_a_commit_is_on_the_servers_disk_and_no_call_waits_long(store: Repository) -> None:
    async with store._database.connect() as connection:
        values = [
            (await connection.exec_driver_sql(f"SHOW {name}")).scalar_one()
            for name in ("synchronous_commit", "lock_timeout", "search_path")
        ]
    assert values == ["on", "1s", "paper"]


async def test_money_keeps_its_digits(store: Repository, make_order: MakeOrder) -> None:
    order = make_order(
        quantity=Decimal("0.000000010"), limit_price=Decimal("12345678901234567890.123456789012")
    )
    await store.commit_intent(order)
    (read,) = await store.orders(1)
    assert str(read.quantity) == "1.0E-8"
    assert str(read.limit_price) == "12345678901234567890.123456789012"


# --- one engine ----------------------------------------------------------------------------------


async def test_a_second_engine_is_refused_while_the_first_runs(
    store: Repository, server: Place
) -> None:
    with pytest.raises(EngineLocked, match="another engine holds the database"):
        await open_database(server)
    await store.close()
    await (await open_database(server)).dispose()


async def test_a_reader_is_let_in_beside_the_engine_and_cannot_write(
    store: Repository, server: Place, make_order: MakeOrder
) -> None:
    def delete(connection: Connection) -> None:
        connection.exec_driver_sql("DELETE FROM orders")

    await store.commit_intent(make_order())
    with pytest.raises(UserError, match="read-only transaction"):
        await asyncio.to_thread(read_database, server, delete)
    assert await store.orders(1) == [make_order()]


HOLDER = """
import asyncio, sys
from pathlib import Path
from sqlalchemy import make_url
from engine.core.model import Mode
from engine.store.database import open_database
from engine.store.place import Place

async def main():
    await open_database(Place(make_url(sys.argv[1]), Mode.PAPER, Path("backups")))
    print("open", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_killed_engine_does_not_hold_the_lock(server: Place) -> None:
    url = server.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", HOLDER, url]
    path = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(EngineLocked):
            asyncio.run(opened_and_closed(server))
        process.kill()
    asyncio.run(opened_and_closed(server))


async def opened_and_closed(place: Place) -> None:
    await (await open_database(place)).dispose()


# --- a server that comes and goes ----------------------------------------------------------------


@pytest.mark.parametrize("how", ["server", "wire"])
async def test_a_lost_connection_is_told_and_made_anew(
    store: Repository, proxy: Proxy, database: Database, make_order: MakeOrder, how: str
) -> None:
    await store.commit_intent(make_order("tb-1"))
    if how == "wire":
        proxy.cut()
    else:
        assert database.rows(END_OURS) == [(True,)]
    with pytest.raises(StoreUnavailable) as told:
        await store.commit_intent(make_order("tb-2"))
    assert told.value.reason
    await is_back(store)
    await store.commit_intent(make_order("tb-3"))
    assert intents(database) == ["tb-1", "tb-3"]


async def test_a_server_that_hangs_is_told_in_time_and_is_back_when_it_answers(
    store: Repository, proxy: Proxy, database: Database, make_order: MakeOrder
) -> None:
    loop = asyncio.get_running_loop()
    proxy.hold()
    for name in ("tb-1", "tb-2"):
        before = loop.time()
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await store.commit_intent(make_order(name))
        assert loop.time() - before < 5
    proxy.let_go()
    await is_back(store)
    await store.commit_intent(make_order("tb-3"))
    assert intents(database) == ["tb-3"]


@pytest.mark.parametrize("when", ["before", "amid"])
async def test_a_reading_from_a_server_that_hangs_ends_in_time(
    store: Repository, proxy: Proxy, server: Place, when: str
) -> None:
    loop = asyncio.get_running_loop()

    def amid(connection: Connection) -> None:
        loop.call_soon_threadsafe(proxy.hold)
        while True:
            connection.exec_driver_sql("SELECT 1")

    if when == "before":
        proxy.hold()
    url = store._database.url
    with pytest.raises(UserError, match=r"took longer than 0.5 s to answer"):
        await asyncio.to_thread(read_database, replace(server, url=url), amid, 0.5)


async def test_a_connection_that_the_server_still_believes_in_is_no_second_engine(
    store: Repository, proxy: Proxy, database: Database, make_order: MakeOrder
) -> None:
    """Its wire is dead, and the server does not know: our next connection ends it."""
    proxy.hold_what_is_connected()
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await store.commit_intent(make_order("tb-1"))
    await store.commit_intent(make_order("tb-2"))
    assert intents(database) == ["tb-2"]


async def test_the_writer_goes_on_by_itself_when_the_server_is_back(
    store: Repository,
    proxy: Proxy,
    database: Database,
    make_order: MakeOrder,
    stamp: Stamp,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    heard: list[object] = []
    desk = StoreWriter(store, heard.append, lambda: None)
    task = asyncio.create_task(desk.run())
    desk.record([stamp(CommandRefused("x", "before"))])
    await desk.flush()
    proxy.cut()
    desk.commit(make_order("tb-1"))
    desk.record([stamp(CommandRefused("x", "meanwhile"))])
    await desk.flush()
    desk.commit(make_order("tb-2"))
    await desk.flush()
    task.cancel()
    assert [type(event) for event in heard] == [
        StoreChanged,
        IntentFailed,
        StoreChanged,
        IntentCommitted,
    ]
    assert intents(database) == ["tb-2"]
    rows = stored(database)
    assert [row.seq for row in rows] == [1, 2]
    assert list(verify(rows, await store.audit_head())) == []


# --- lost while it commits -----------------------------------------------------------------------


async def test_an_intent_whose_commit_was_not_answered_is_found_by_its_key(
    store: Repository, proxy: Proxy, database: Database, make_order: MakeOrder
) -> None:
    await begun(store, Decimal(1))
    proxy.cut_at = b"COMMIT"
    await store.commit_intent(make_order())
    assert proxy.cut_at is None
    assert intents(database) == ["tb-1"]
    with pytest.raises(DuplicateIntent):
        await store.commit_intent(make_order())


async def test_an_intent_whose_commit_was_not_heard_is_not_there(
    store: Repository, proxy: Proxy, database: Database, make_order: MakeOrder
) -> None:
    await begun(store, Decimal(1))
    proxy.cut_at, proxy.unheard = b"COMMIT", True
    with pytest.raises(StoreUnavailable):
        await store.commit_intent(make_order())
    assert proxy.cut_at is None
    assert intents(database) == []
    await store.commit_intent(make_order())
    assert intents(database) == ["tb-1"]


async def test_the_intent_of_another_session_does_not_pass_for_ours(
    store: Repository, proxy: Proxy, make_order: MakeOrder
) -> None:
    """It was there before: the lost commit of ours added nothing."""
    await store.commit_intent(make_order())
    proxy.cut_at = b"COMMIT"
    with pytest.raises((DuplicateIntent, StoreUnavailable)):
        await store.commit_intent(make_order())
    assert proxy.cut_at is None


@pytest.mark.parametrize("unheard", [False, True])
async def test_facts_whose_commit_was_lost_are_recorded_once(
    store: Repository, proxy: Proxy, database: Database, stamp: Stamp, unheard: bool
) -> None:
    facts = [stamp(CommandRefused("x", f"reason {n}")) for n in range(3)]
    await store.record(facts[:1])
    proxy.cut_at, proxy.unheard = b"COMMIT", unheard
    with pytest.raises(StoreUnavailable):
        await store.record(facts[:2])
    assert proxy.cut_at is None
    assert [row.seq for row in stored(database)] == ([1] if unheard else [1, 2])
    await store.record(facts)
    rows = stored(database)
    assert [row.seq for row in rows] == [1, 2, 3]
    assert list(verify(rows, await store.audit_head())) == []


# --- the whole engine ----------------------------------------------------------------------------


async def test_an_engine_trades_and_goes_on_over_a_lost_connection_and_a_restart(
    server: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database, url = Database(server), server.url.render_as_string(hide_password=False)
    settings = zigzag(tmp_path, database_url=url)
    caplog.set_level("INFO", logger="engine.host.runtime")

    def traded(more_than: int) -> Callable[[Snapshot], bool]:
        return lambda snapshot: sum(o.leaves == 0 for o in snapshot.orders) > more_than

    async with running(settings) as session:
        before = await session.until(traded(1))
        assert database.rows(END_OURS) == [(True,)]
        await session.until(traded(len(before.orders) + 2))
    async with running(settings) as session:
        await session.until(traded(1))
    assert await ledger_check(settings) == []
    rows = stored(database)
    told = [message for message in caplog.messages if message.startswith("audit head")]
    assert told[-1] == f"audit head {rows[-1].head}"
    assert len({row.session for row in rows}) == 2
    assert len(told) >= 2, "one at each stop, and one a trading day"
    assert list(verify(rows, rows[-1].head)) == []


# --- what cannot be opened -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [{"port": 1}, {"database": "no_such_database"}, {"host": "no-such-host.invalid"}],
    ids=lambda changed: next(iter(changed)),
)
async def test_a_server_that_lets_nobody_in_is_told_without_the_password(
    server: Place, changed: dict[str, object]
) -> None:
    url = server.url.set(password="canary", **changed)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="cannot open the database") as refused:
        await open_database(Place(url, Mode.PAPER, server.backups))
    assert "canary" not in str(refused.value)
    assert "check DATABASE_URL" in refused.value.remedy
