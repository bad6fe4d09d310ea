"""The database's file: made once, refused where it is not sound, connected to durably."""

import os
import sqlite3
from asyncio import to_thread
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import URL, event, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.files import make_private_folder, open_private
from engine.store import models

BUSY_SECONDS = 1.0
"""How long a call waits for its turn, and then for a lock that another program holds."""

_VERSION_KEY = "schema_version"


async def open_database(path: Path) -> AsyncEngine:
    """The database at `path`, made where there is none (file 0600, new folders 0700).

    Raises UserError for a file that is no sound database of this schema, which is left as it is,
    and where it cannot be opened.
    """
    try:
        if not await to_thread(_is_sound, path):
            await _create(path)
        database = _engine(path)
        async with database.connect():
            return database
    except (DBAPIError, sqlite3.Error, OSError) as error:
        raise UserError(
            f"cannot open the database {_name(path)} ({reason_of(error)})",
            "check its permissions, the free space, and that no other program holds it",
        ) from error


def reason_of(error: BaseException) -> str:
    """What went wrong, without what SQLAlchemy adds to it."""
    if isinstance(error, PoolTimeout):
        return "calls before this one still wait for the database"
    return clean(str(error.orig if isinstance(error, DBAPIError) else error))


def _name(path: Path) -> str:
    return clean(str(path))


def _engine(path: Path) -> AsyncEngine:
    database = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        connect_args={"timeout": BUSY_SECONDS},
        hide_parameters=True,
        pool_size=1,
        max_overflow=0,
        pool_timeout=BUSY_SECONDS,
        pool_reset_on_return=None,  # every transaction is ended by `begin`; a reset costs 0.2 ms
    )
    event.listen(database.sync_engine, "connect", _make_durable)
    return database


def _make_durable(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


# --- making one ----------------------------------------------------------------------------------


async def _create(path: Path) -> None:
    """A new database. It gets its name when it is whole: so what bears the name and is not whole
    was damaged, and nobody takes it for new."""
    draft = path.with_name(f"{path.name}.new")
    await to_thread(_make_file, draft)
    database = _engine(draft)
    version = {"key": _VERSION_KEY, "value": str(models.SCHEMA_VERSION)}
    try:
        async with database.begin() as connection:
            await connection.exec_driver_sql("BEGIN")  # or each table is a commit of its own
            await connection.run_sync(models.Base.metadata.create_all)
            await connection.execute(insert(models.BotState), version)
    finally:
        await database.dispose()
    await to_thread(_name_durably, draft, path)


def _make_file(path: Path) -> None:
    """SQLite gives its side files the mode of the database."""
    make_private_folder(path.parent)
    path.unlink(missing_ok=True)
    os.close(open_private(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def _name_durably(draft: Path, path: Path) -> None:
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# --- looking at one that is there ----------------------------------------------------------------


def _is_sound(path: Path) -> bool:
    """True for a database of this schema, False where there is none.

    Raises UserError for any other file; it was opened for reading only.
    """
    log = Path(f"{path}-wal")
    has_log = log.exists() and log.stat().st_size > 0
    if not path.exists():
        if has_log:
            raise UserError(
                f"the database {_name(path)} is gone, and its write-ahead log is still there",
                "put the database back beside it; to start anew, give another folder in DATA_DIR",
            )
        return False
    try:
        version = _schema_version(path, has_log)
    except sqlite3.OperationalError:
        raise
    except (sqlite3.DatabaseError, ValueError, msgspec.MsgspecError) as error:
        raise UserError(
            f"{_name(path)} is no sound database of tradebot ({clean(str(error))})",
            "restore it from a backup; to start anew, give another folder in DATA_DIR",
        ) from error
    if version != models.SCHEMA_VERSION:
        raise UserError(
            f"the database {_name(path)} has schema {version}, this version reads "
            f"{models.SCHEMA_VERSION}",
            "use the version of tradebot that wrote it; to start anew, give another folder in "
            "DATA_DIR",
        )
    for file in (path, log, Path(f"{path}-shm")):
        if file.exists():
            file.chmod(0o600)
    return True


def _schema_version(path: Path, has_log: bool) -> int:
    """Raises ValueError where the file is damaged or no database of ours.

    Without a log the file is read as immutable: then SQLite makes no side files beside it.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro{'' if has_log else '&immutable=1'}"
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as connection:
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise ValueError(finding)
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if (models.BotState.__tablename__,) not in tables.fetchall():
            raise ValueError("it has other tables")
        query = "SELECT value FROM bot_state WHERE key = ?"
        row = connection.execute(query, (_VERSION_KEY,)).fetchone()
        if row is None:
            raise ValueError("it has no schema version")
        return int(row[0])
