"""A database on a PostgreSQL server (asyncpg): one schema a mode, one engine a schema.

The engine's connection holds an advisory lock. So a second engine is refused; and a connection
that takes the place of a lost one gets the lock only when the lost one is gone on the server, with
whatever it was about to commit: a commit that is still under way cannot land behind our back.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection, NullPool, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateSchema

from engine.ops.errors import UserError
from engine.ops.lock import EngineLocked
from engine.store import models, schema
from engine.store.place import Place
from engine.store.sqlite import BUSY_SECONDS

T = TypeVar("T")

ANSWER_SECONDS = 2.0
"""How long the server may take to let a connection in, and to answer a call."""

_SERVER_SETTINGS = {
    "synchronous_commit": "on",
    "lock_timeout": f"{BUSY_SECONDS:g}s",
    "idle_in_transaction_session_timeout": f"{5 * ANSWER_SECONDS:g}s",
    # A host that is gone, and with it its engine, lets go of the lock after 25 s.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_LOCK_NOT_AVAILABLE = "55P03"
_QUERY_CANCELED = "57014"


async def open_schema(place: Place) -> AsyncEngine:
    """The schema of the mode, made where there is none.

    Raises UserError where its tables are not ours, or of another version or mode, and EngineLocked
    where an engine holds it.
    """
    database = _connect(place)
    try:
        await _prepare(database, place)
    except BaseException:
        await database.dispose()
        raise
    return database


async def upgrade(place: Place) -> None:
    """Bring the schema to this version. Raises as `open_schema` does."""
    database = _connect(place)
    try:
        async with database.begin() as connection:
            stamp = await connection.run_sync(schema.stamp_of)
            if stamp is not None:
                schema.check(stamp, place)
                await connection.run_sync(schema.upgrade, stamp, place.mode)
    finally:
        await database.dispose()


async def read(place: Place, work: Callable[[Connection], T], within: float | None = None) -> T:
    """What `work` makes of the schema in one snapshot; no engine that writes it is disturbed.

    Raises TimeoutError where it takes longer than `within` seconds: the server ends it then, and
    a server that hangs is left.
    """
    settings = {"default_transaction_read_only": "on"}
    if within is not None:
        settings["statement_timeout"] = f"{within * 1000:.0f}"
    database = _engine(place, settings, poolclass=NullPool, isolation_level="REPEATABLE READ")
    try:
        async with asyncio.timeout(within), database.connect() as connection:
            return await connection.run_sync(work)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _QUERY_CANCELED:
            raise TimeoutError from error
        raise
    finally:
        await database.dispose()


def _connect(place: Place) -> AsyncEngine:
    """The connection of the engine: one, which holds the lock."""
    me = f"tradebot-{secrets.token_hex(8)}"
    database = _engine(
        place,
        _SERVER_SETTINGS | {"application_name": me},
        pool_size=1,
        max_overflow=0,
        pool_timeout=BUSY_SECONDS,
        pool_reset_on_return=None,  # every transaction is ended by `begin`
    )

    def take_over(connection: Any, _: Any) -> None:
        """End what is left of our former connection, and take the lock."""
        cursor = connection.cursor()
        try:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = $1 AND pid <> pg_backend_pid()",
                (me,),
            )
            cursor.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", (place.mode.value,))
            connection.commit()
        except Exception as error:
            connection.terminate()
            if getattr(error, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                raise _locked(place) from error
            raise

    event.listen(database.sync_engine, "connect", take_over)
    return database


def _engine(place: Place, settings: Mapping[str, str], **options: Any) -> AsyncEngine:
    """Raises UserError where asyncpg is not installed."""
    server_settings = {"search_path": place.mode.value, **settings}
    arguments = {"timeout": ANSWER_SECONDS, "server_settings": server_settings}
    try:
        return create_async_engine(
            place.url, connect_args=arguments, hide_parameters=True, **options
        )
    except ModuleNotFoundError as error:
        raise UserError(
            "DATABASE_URL asks for PostgreSQL, and its driver is not installed",
            "run: pip install 'tradebot-tui[postgres]'",
        ) from error


def _locked(place: Place) -> EngineLocked:
    return EngineLocked(
        f"another engine holds the database {place.name}",
        "quit that one first, or give this one a database of its own in DATABASE_URL",
    )


async def _prepare(database: AsyncEngine, place: Place) -> None:
    async with database.begin() as connection:
        if not await connection.run_sync(_has_schema, place):
            await connection.execute(CreateSchema(place.mode))
        try:
            stamp = await connection.run_sync(schema.stamp_of)
        except ValueError as error:
            raise UserError(
                f"{place.name} is no database of tradebot ({error})",
                "give another database in DATABASE_URL, or restore a backup",
            ) from error
        if stamp is None:
            await connection.run_sync(schema.create, place.mode)
            return
    schema.check(stamp, place)
    if stamp.version < models.SCHEMA_VERSION:
        raise UserError(
            f"the database {place.name} has schema {stamp.version}, this version needs "
            f"{models.SCHEMA_VERSION}",
            f"make a backup (pg_dump --schema={place.mode} DATABASE), then run: tradebot upgrade",
        )


def _has_schema(connection: Connection, place: Place) -> bool:
    return connection.dialect.has_schema(connection, place.mode)
