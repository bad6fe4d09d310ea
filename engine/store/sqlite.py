"""A database in a file: made once, refused where it is not sound, connected to durably."""

import logging
import os
import sqlite3
from asyncio import to_thread
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Engine, NullPool, StaticPool, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.files import make_private_folder, name_durably, open_private
from engine.store import models, schema
from engine.store.place import Place
from engine.store.schema import Stamp

BUSY_SECONDS = 1.0
"""How long a call waits for its turn, and then for a lock that another program holds."""

LOOK_EVERY = 100_000
"""Instructions of SQLite's own, a millisecond or so, between two looks at the clock."""

_ENGINE = "engine"  # of a pooled connection: SQLAlchemy over it, for calls in its thread

T = TypeVar("T")

log = logging.getLogger(__name__)


async def open_file(place: Place) -> AsyncEngine:
    """The database, made where there is none and upgraded where it is older, after a backup.

    Raises UserError for a file that is no sound database of ours, which is left as it is.
    """
    stamp = await to_thread(look, place)
    if stamp is None:
        await _create(place)
    elif stamp.version < models.SCHEMA_VERSION:
        await to_thread(_back_up, place, stamp)
        await _upgrade(place, stamp)
    _make_private(place.file)
    return connect(place)


def connect(place: Place) -> AsyncEngine:
    database = create_async_engine(
        place.url,
        connect_args={"timeout": BUSY_SECONDS},
        hide_parameters=True,
        pool_size=1,
        max_overflow=0,
        pool_timeout=BUSY_SECONDS,
        pool_reset_on_return=None,  # every transaction is ended by `begin`; a reset costs 0.2 ms
    )
    event.listen(database.sync_engine, "connect", make_durable)
    return database


async def transact(database: AsyncEngine, work: Callable[[Connection], T]) -> T:
    """What `work` makes of the file in one transaction.

    All of it is one call in the thread of the connection: statement by statement, each would take
    the loop and the thread three turns (0.3 ms of a quiet machine, and far more of a busy one). A
    call that was begun is carried to its end, whoever stops waiting for it.
    """
    pooled = await database.raw_connection()
    try:
        driver: Any = pooled.driver_connection  # aiosqlite has no public name for what follows
        if _ENGINE not in pooled.info:
            pooled.info[_ENGINE] = _over(driver._conn)
        return await driver._execute(_in_transaction, pooled.info[_ENGINE], work)
    finally:
        pooled.close()


def _over(connection: sqlite3.Connection) -> Engine:
    """SQLAlchemy over a connection that is open."""
    return create_engine(
        "sqlite://",
        creator=lambda: connection,
        poolclass=StaticPool,
        pool_reset_on_return=None,
        hide_parameters=True,
    )


def _in_transaction(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def read(place: Place, work: Callable[[Connection], T], within: float | None = None) -> T:
    """What `work` makes of the file in one snapshot; no engine that writes it is disturbed.

    Raises TimeoutError where it takes longer than `within` seconds.
    """
    with _reading(place.file, "mode=ro") as connection:
        if within is not None:
            _end_after(connection, within)
        try:
            connection.exec_driver_sql("BEGIN")
            return work(connection)
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise TimeoutError from error
            raise


def _end_after(connection: Connection, seconds: float) -> None:
    """Have what `connection` does then be interrupted."""
    until = monotonic() + seconds
    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(lambda: monotonic() > until, LOOK_EVERY)


def _reading(path: Path, how: str) -> Connection:
    uri = f"{path.absolute().as_uri()}?{how}"

    def opened() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)

    return create_engine(
        "sqlite://", creator=opened, poolclass=NullPool, hide_parameters=True
    ).connect()


def make_durable(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _sides(path: Path) -> tuple[Path, Path]:
    return Path(f"{path}-wal"), Path(f"{path}-shm")


def _make_private(path: Path) -> None:
    for file in (path, *_sides(path)):
        if file.exists():
            file.chmod(0o600)


# --- making one ----------------------------------------------------------------------------------


async def _create(place: Place) -> None:
    """A new database. It gets its name when it is whole: so what bears the name and is not whole
    was damaged, and nobody takes it for new."""
    path = place.file
    draft = path.with_name(f"{path.name}.new")
    await to_thread(_make_file, draft)
    database = connect(Place.in_file(draft, place.mode))
    try:
        async with database.begin() as connection:
            await connection.exec_driver_sql("BEGIN")  # or each table is a commit of its own
            await connection.run_sync(schema.create, place.mode)
    finally:
        await database.dispose()
    await to_thread(name_durably, draft, path)


def _make_file(path: Path) -> None:
    """SQLite gives its side files the mode of the database."""
    make_private_folder(path.parent)
    path.unlink(missing_ok=True)
    os.close(open_private(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


# --- looking at one that is there ----------------------------------------------------------------


def look(place: Place) -> Stamp | None:
    """The stamp of a sound database that this version reads or upgrades; None where there is none.

    Raises UserError for any other file; it was opened for reading only.
    """
    path = place.file
    log, _ = _sides(path)
    has_log = log.exists() and log.stat().st_size > 0
    if not path.exists():
        if has_log:
            raise UserError(
                f"the database {place.name} is gone, and its write-ahead log is still there",
                "put the database back beside it; to start anew, give another folder in DATA_DIR",
            )
        return None
    try:
        stamp = _sound_stamp(path, has_log)
    except OperationalError:
        raise
    except (DatabaseError, ValueError, msgspec.MsgspecError) as error:
        reason = error.orig if isinstance(error, DatabaseError) else error
        raise UserError(
            f"{place.name} is no sound database of tradebot ({clean(str(reason))})",
            "restore it from a backup; to start anew, give another folder in DATA_DIR",
        ) from error
    schema.check(stamp, place)
    return stamp


def _sound_stamp(path: Path, has_log: bool) -> Stamp:
    """Raises ValueError where the file is damaged or no database of ours.

    Without a log the file is read as immutable: then SQLite makes no side files beside it.
    """
    with _reading(path, "mode=ro" if has_log else "mode=ro&immutable=1") as connection:
        finding = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if finding != "ok":
            raise ValueError(finding)
        stamp = schema.stamp_of(connection)
    if stamp is None:
        raise ValueError("it has no tables")
    return stamp


# --- bringing an older one up --------------------------------------------------------------------


def _back_up(place: Place, stamp: Stamp) -> None:
    """Copy the database as it is: its file and what its log holds."""
    now = datetime.now(UTC)
    name = f"{place.file.stem}-schema{stamp.version}-{now:%Y%m%dT%H%M%S.%f}.db"
    copy = place.backups / name
    _make_file(copy)
    with (
        closing(sqlite3.connect(place.file, timeout=BUSY_SECONDS)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    log.warning("the database as it was is kept in %s", clean(str(copy)))


async def _upgrade(place: Place, stamp: Stamp) -> None:
    database = connect(place)
    try:
        async with database.begin() as connection:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            await connection.run_sync(schema.upgrade, stamp, place.mode)
    finally:
        await database.dispose()
    log.warning("upgraded the database %s from schema %d", place.name, stamp.version)
