"""Reading beside an engine that writes: one moment of the database, and nothing of it changed."""

import asyncio

from sqlalchemy import Connection, text

from engine.core.events import CommandRefused
from engine.store.audit import AuditHead, head_of
from engine.store.database import read_database
from engine.store.place import Place
from engine.store.repository import Repository

from .conftest import Stamp


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
