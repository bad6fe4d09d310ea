"""The PostgreSQL server of the tests, and what another program does on it."""

import asyncio
import os
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import URL, make_url

T = TypeVar("T")

SERVER = make_url(
    os.environ.get("TEST_DATABASE_URL", "postgresql+asyncpg://postgres@127.0.0.1:5432/postgres")
)
HOW_TO_START_ONE = (
    "no PostgreSQL server at TEST_DATABASE_URL; start one: docker run --rm --detach --publish "
    "127.0.0.1:5432:5432 --env POSTGRES_HOST_AUTH_METHOD=trust postgres:15"
)


def done(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, whether or not a loop runs in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def dsn(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


async def run_on(url: URL, *statements: str) -> list[tuple[Any, ...]]:
    """The rows of the last of `statements`."""
    connection = await asyncpg.connect(dsn(url), timeout=5)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return [tuple(row) for row in await connection.fetch(statements[-1])]
    finally:
        await connection.close()
