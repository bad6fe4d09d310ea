"""Reading beside an engine that writes: one moment of the database, and nothing of it changed."""

import asyncio
import sqlite3
from contextlib import closing
from threading import Event

import pytest
from sqlalchemy import Connection, text

from engine.core.events import CommandRefused
from engine.ops.errors import UserError
from engine.store.audit import AuditHead, head_of
from engine.store.database import read_database
from engine.store.place import Place
from engine.store.repository import Repository

from .conftest import MakeOrder, Stamp

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
PATIENCE_S = 60.0


def head(connection: Connection) -> AuditHead:
    query = text("SELECT value FROM bot_state WHERE key = 'audit_head'")
    return head_of(connection.scalar(query))


async def test_what_is_written_meanwhile_is_not_seen(
    store: Repository, place: Place, stamp: Stamp
) -> None:
    loop = asyncio.get_running_loop()

    def write() -> None:
        facts = [stamp(CommandRefused("x", "y"))]
        asyncio.run_coroutine_threadsafe(store.record(facts), loop).result(10)

    def before_and_after(connection: Connection) -> tuple[AuditHead, AuditHead]:
        first = head(connection)
        write()
        return first, head(connection)

    await store.record([stamp(CommandRefused("x", "y"))])
    first, second = await asyncio.to_thread(read_database, place, before_and_after)
    assert (first.id, second.id) == (1, 1)
    assert (await asyncio.to_thread(read_database, place, head)).id == 2


async def test_a_reading_that_takes_too_long_is_ended_and_no_write_waits_for_it(
    store: Repository, place: Place, make_order: MakeOrder
) -> None:
    begun, written = Event(), Event()

    def endless(connection: Connection) -> None:
        head(connection)
        begun.set()
        assert written.wait(PATIENCE_S)
        connection.exec_driver_sql(ENDLESS)

    await store.record([])
    reading = asyncio.create_task(asyncio.to_thread(read_database, place, endless, 0.2))
    assert await asyncio.to_thread(begun.wait, PATIENCE_S)
    await store.commit_intent(make_order("tb-1"))
    written.set()
    with pytest.raises(UserError, match=r"took longer than 0.2 s to answer"):
        await reading
    await store.commit_intent(make_order("tb-2"))


async def test_a_file_that_another_program_holds_is_said_to_be(file: Place) -> None:
    await (await Repository.open(file)).close()
    with closing(sqlite3.connect(file.file, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match="database is locked"):
            await asyncio.to_thread(read_database, file, head, 5.0)
