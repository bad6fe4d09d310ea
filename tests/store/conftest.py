"""Orders, fills, and facts as the bus stamps them."""

from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from msgspec.structs import replace

from engine.core.events import Event
from engine.core.model import Fill, Order, OrderPurpose, OrderType, Side
from engine.store.repository import Repository

E = TypeVar("E", bound=Event)

MakeOrder = Callable[..., Order]
MakeFill = Callable[..., Fill]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "paper.db"


@pytest_asyncio.fixture
async def store(path: Path) -> AsyncIterator[Repository]:
    repository = await Repository.open(path)
    yield repository
    await repository.close()


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
