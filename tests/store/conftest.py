"""Databases of both kinds; orders, fills, and facts as the bus stamps them."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest
import pytest_asyncio
from msgspec.structs import replace
from sqlalchemy import URL

from engine.core.events import Event, Restored
from engine.core.model import Fill, Mode, Order, OrderPurpose, OrderType, Side
from engine.store.place import Place
from engine.store.repository import Repository
from tests.postgresql import done, dsn, run_on

E = TypeVar("E", bound=Event)

MakeOrder = Callable[..., Order]
MakeFill = Callable[..., Fill]


# --- databases -----------------------------------------------------------------------------------


class Database:
    """A database that is not there yet, and what another program does with it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.is_file = place.is_file

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        if not self.is_file:
            return done(run_on(self.place.url, "SET search_path TO paper", query))
        with closing(sqlite3.connect(self.place.file)) as connection:
            return connection.execute(query).fetchall()

    def edit(self, statement: str) -> None:
        """Change rows: it must have been at least one."""
        if self.is_file:
            with closing(sqlite3.connect(self.place.file)) as connection:
                count = connection.execute(statement).rowcount
                connection.commit()
        else:
            count = len(self.rows(f"{statement} RETURNING 1"))
        assert count

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Another program writes, and does not end."""
        if self.is_file:
            with closing(sqlite3.connect(self.place.file, isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                yield
                other.execute("ROLLBACK")
        else:
            other = await asyncpg.connect(dsn(self.place.url))
            try:
                async with other.transaction():
                    await other.execute("LOCK TABLE paper.orders, paper.audit_log IN SHARE MODE")
                    yield
            finally:
                await other.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "paper.db"


@pytest.fixture
def file(path: Path) -> Place:
    return Place.in_file(path, Mode.PAPER)


@pytest.fixture
def server(postgresql: URL, tmp_path: Path) -> Iterator[Place]:
    yield Place(postgresql, Mode.PAPER, tmp_path / "backups")
    drop = "DROP SCHEMA IF EXISTS paper, live CASCADE"
    done(run_on(postgresql, "SET client_min_messages TO error", drop))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    return Database(request.getfixturevalue("file" if request.param == "sqlite" else "server"))


@pytest.fixture
def place(database: Database) -> Place:
    return database.place


@pytest_asyncio.fixture
async def store(place: Place) -> AsyncIterator[Repository]:
    repository = await Repository.open(place)
    yield repository
    await repository.close()


async def begun(
    store: Repository, opening: Decimal | Mapping[str, Decimal], day_start_ts: int | None = None
) -> Restored:
    """What a session gets whose accounts, if they are new, begin with `opening`; of one account
    that is paper's. All are in dollars."""
    accounts = {"paper": opening} if isinstance(opening, Decimal) else opening
    await store.open_accounts(accounts, dict.fromkeys(accounts, "USD"), "USD")
    return await store.restore(day_start_ts)


# --- values --------------------------------------------------------------------------------------


@pytest.fixture
def make_order() -> MakeOrder:
    def make(client_order_id: str = "tb-1", **fields: Any) -> Order:
        given: dict[str, Any] = {
            "strategy": "sma_crossover",
            "symbol": "BTC-USD",
            "side": Side.BUY,
            "type": OrderType.LIMIT,
            "quantity": Decimal(2),
            "purpose": OrderPurpose.ENTRY,
            "created_ts": 1_000,
            "updated_ts": 1_000,
            "reference_price": Decimal("43210.55"),
        }
        return Order(client_order_id, **(given | fields))

    return make


@pytest.fixture
def make_fill() -> MakeFill:
    def make(execution_id: str = "x-1", **fields: Any) -> Fill:
        given: dict[str, Any] = {
            "client_order_id": "tb-1",
            "symbol": "BTC-USD",
            "side": Side.BUY,
            "quantity": Decimal(1),
            "price": Decimal(100),
            "commission": Decimal("0.1"),
            "ts": 2_000,
            "strategy": "sma_crossover",
            "venue": "paper",
        }
        return Fill(execution_id, **(given | fields))

    return make


class Stamp:
    """Stamps facts as the bus does: one sequence number after the other."""

    def __init__(self) -> None:
        self.seq = 0

    def __call__(self, fact: E, ts: int = 0) -> E:
        self.seq += 1
        return replace(fact, seq=self.seq, ts=ts or self.seq)


@pytest.fixture
def stamp() -> Stamp:
    return Stamp()
