"""The simulated database answers as the real one does on the same facts."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.events import Event, Restored
from engine.core.model import Mode, Order
from engine.ops.settings import Settings
from engine.simulation.database import Database
from engine.simulation.options import draw
from engine.simulation.world import World, opening
from engine.store import DuplicateIntent
from engine.store.place import Place
from engine.store.repository import Repository


class Noted(Database):
    """Keeps what it was asked, and what it answered."""

    def __init__(self, cash: Mapping[str, Decimal]) -> None:
        super().__init__(cash)
        self.calls: list[tuple[str, Any, Any]] = []

    def commit_intent(self, order: Order) -> bool:
        answer = super().commit_intent(order)
        self.calls.append(("intent", order, answer))
        return answer

    def record(self, facts: Sequence[Event]) -> None:
        super().record(facts)
        self.calls.append(("record", facts, None))

    def save(self, marks: Mapping[str, float], peak: float) -> None:
        super().save(marks, peak)
        self.calls.append(("save", (dict(marks), peak), None))

    def restore(self) -> Restored:
        answer = super().restore()
        self.calls.append(("restore", None, answer))
        return answer


def sorted_out(restored: Restored) -> Restored:
    """Rows without their order, which a database does not promise."""
    by: Callable[[Any], Any] = lambda row: (row.strategy, getattr(row, "symbol", ""))  # noqa: E731
    return replace(
        restored,
        orders=tuple(sorted(restored.orders, key=lambda order: order.client_order_id)),
        positions=tuple(sorted(restored.positions, key=by)),
        strategies=tuple(sorted(restored.strategies, key=by)),
        execution_ids=tuple(sorted(restored.execution_ids)),
        fintrac=tuple(sorted(restored.fintrac, key=lambda report: report.report_id)),
    )


@pytest.mark.parametrize("seed", [3, 20, 28, 142, 203, 469, 869])
async def test_it_is_the_repository_in_memory(seed: int, tmp_path: Path) -> None:
    options = draw(seed)
    cash, config = opening(options), options.config
    currencies = {i.venue: i.currency for i in config.instruments}
    noted = Noted(cash)
    World(options, noted).run()
    noted.restore()
    place = Place.of(Settings(data_dir=tmp_path, mode=Mode.PAPER))
    repository = await Repository.open(place)
    restores = 0
    for what, given, answer in noted.calls:
        match what:
            case "intent":
                try:
                    await repository.commit_intent(given)
                except DuplicateIntent:
                    assert not answer
                else:
                    assert answer
            case "record":
                await repository.record(given)
            case "save":
                marks, peak = given
                await repository.save_market_time(1, marks)
                await repository.save_equity(restores, Decimal(0), Decimal(0), "USD", peak)
            case _:
                await repository.close()
                repository = await Repository.open(place)
                await repository.open_accounts(cash, currencies, config.currency)
                found = await repository.restore(None)
                assert sorted_out(found) == sorted_out(answer)
                restores += 1
    await repository.close()
    assert restores > 1
