"""The account's database, wherever it is: opened for the engine that writes it, or to be read."""

import asyncio
import os
from collections.abc import Callable
from errno import EACCES
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.core.text import clean
from engine.ops.errors import ANOTHER_USER, UserError
from engine.store import models, postgresql, schema, sqlite
from engine.store.place import Place

T = TypeVar("T")

FAULTS = (DBAPIError, PoolTimeout, OSError)
"""What is raised where a database does not do what it is asked, or not in time."""


async def open_database(place: Place) -> AsyncEngine:
    """The database for the engine that writes it, made where there is none.

    Raises UserError where it is no sound database of this schema and mode, which is left as it is,
    and where it cannot be opened.
    """
    try:
        opened = sqlite.open_file(place) if place.is_file else postgresql.open_schema(place)
        database = await opened
        async with database.connect():
            return database
    except FAULTS as error:
        raise _unopened(place, error) from error


async def transact(database: AsyncEngine, work: Callable[[Connection], T]) -> T:
    """What `work` makes of the database in one transaction; it is durable when this returns."""
    if database.dialect.name == "sqlite":
        return await sqlite.transact(database, work)
    async with database.begin() as connection:
        return await connection.run_sync(work)


async def upgrade_database(place: Place) -> None:
    """Bring the database to this version's schema. Raises UserError as `open_database` does."""
    try:
        if place.is_file:
            await (await sqlite.open_file(place)).dispose()
        else:
            await postgresql.upgrade(place)
    except FAULTS as error:
        raise _unopened(place, error) from error


def read_database(place: Place, work: Callable[[Connection], T], within: float | None = None) -> T:
    """What `work` makes of the database as it is at this moment, beside an engine that writes it.

    It cannot write. Runs an event loop of its own. Raises UserError where the database cannot be
    read, where it is not of this schema and mode, and where it takes longer than `within` seconds.
    """

    def checked(connection: Connection) -> T:
        stamp = schema.stamp_of(connection)
        if stamp is None:
            raise ValueError("it has no tables")
        schema.check(stamp, place)
        if stamp.version < models.SCHEMA_VERSION:
            raise ValueError(f"its schema is {stamp.version}, and `tradebot upgrade` is due")
        return work(connection)

    try:
        if place.is_missing:
            raise ValueError("there is none: no engine has run with these settings")
        if not place.is_readable:
            raise PermissionError(EACCES, os.strerror(EACCES))
        if place.is_file:
            return sqlite.read(place, checked, within)
        return asyncio.run(postgresql.read(place, checked, within))
    except BrokenPipeError:  # who reads what is made of it has gone
        raise
    except TimeoutError as error:
        took = "does not answer" if within is None else f"took longer than {within:g} s to answer"
        raise UserError(
            f"the database {place.name} {took}", "ask for less, or again in a moment"
        ) from error
    except (*FAULTS, ValueError) as error:
        raise UserError(
            f"cannot read the database {place.name} ({reason_of(error)})",
            ANOTHER_USER
            if isinstance(error, PermissionError)
            else "check MODE, DATA_DIR and DATABASE_URL, and that the database can be reached",
        ) from error


def reason_of(error: BaseException) -> str:
    """What went wrong, without what SQLAlchemy adds to it."""
    if isinstance(error, PoolTimeout):
        return "calls before this one still wait for the database"
    if isinstance(error, TimeoutError):
        return "the database does not answer"
    if isinstance(error, OSError) and error.strerror:
        return clean(error.strerror)
    return clean(str(error.driver_exception if isinstance(error, DBAPIError) else error))


def _unopened(place: Place, error: BaseException) -> UserError:
    return UserError(
        f"cannot open the database {place.name} ({reason_of(error)})",
        "check its permissions, the free space, and that no other program holds it"
        if place.is_file
        else "check DATABASE_URL, and that the server runs and lets this user in",
    )
