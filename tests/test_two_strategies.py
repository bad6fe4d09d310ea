"""Two strategies trade one symbol: each has a book of its own, and the broker sees the net."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.brokers.base import BaseBroker
from engine.build import make_brokers
from engine.core.events import Restored, ToggleStrategy
from engine.core.sessions import Calendars
from engine.feeds.base import Feed
from engine.host.runtime import Parts
from engine.ops.settings import Settings
from engine.view.snapshot import Snapshot
from tests.session import ZIGZAG, ledger_check, rows, running, zigzag

TWIN = ZIGZAG.replace("zigzag", "twin").replace("Zigzag", "Twin")
BOTH = ("zigzag", "twin")


class Street:
    """The paper broker, looked at from outside."""

    def __init__(self) -> None:
        self.brokers: Mapping[str, BaseBroker] = {}
        self.parts = Parts(brokers=self._make)

    def _make(
        self,
        settings: Settings,
        feed: Feed,
        restored: Restored,
        calendars: Calendars,
        now: Callable[[], int],
    ) -> Mapping[str, BaseBroker]:
        self.brokers = make_brokers(settings, feed, restored, calendars, now)
        return self.brokers

    async def net(self) -> Decimal:
        return (await self.brokers["paper"].get_positions()).get("ACME", Decimal(0))


def settings_of(folder: Path, twin: str, **other: Any) -> Settings:
    settings = zigzag(folder, strategies=BOTH, on_stop="keep", **other)
    (folder / "plugins" / "twin.py").write_text(twin)
    return settings


def held(snapshot: Snapshot) -> dict[str, Decimal]:
    return {row.position.strategy: row.position.quantity for row in snapshot.positions}


async def test_each_has_its_book_and_its_pnl_and_the_broker_has_the_net(tmp_path: Path) -> None:
    """The twin buys and sells two bars later, and half as much."""
    twin = TWIN.replace("3: Side.BUY, 0: Side.SELL", "5: Side.BUY, 2: Side.SELL")
    sizing = {"sizing": "fixed_quantity:20", "sizing_by_strategy": ("twin:fixed_quantity:10",)}
    settings = settings_of(tmp_path, twin, **sizing)
    street = Street()
    async with running(settings, street.parts) as session:
        await session.until(lambda s: held(s) == {"zigzag": 20, "twin": 10})
        await session.until(lambda s: held(s) == {"twin": 10})
        await session.until(lambda s: held(s) == {"zigzag": 20})
        for name in BOTH:
            off = ToggleStrategy(strategy=name, enabled=False, author="me")
            session.command(off)
    snapshot = session.snapshots[-1]
    fills = rows(settings, "SELECT strategy, side, quantity, price, commission FROM trades")
    money = dict.fromkeys(BOTH, Decimal(0))
    for strategy, side, quantity, price, commission in fills:
        sign = 1 if side == "sell" else -1
        money[strategy] += sign * Decimal(quantity) * Decimal(price) - Decimal(commission)
    book = held(snapshot)
    mark = Decimal(repr(session.runtime.machine.market.symbols["ACME"].mark))
    pnl = {row.name: row.pnl or Decimal(0) for row in snapshot.strategies if row.name in BOTH}
    assert pnl == {name: money[name] + book.get(name, Decimal(0)) * mark for name in BOTH}
    assert pnl["zigzag"] != pnl["twin"]
    assert snapshot.equity == settings.starting_cash + sum(pnl.values())
    assert await street.net() == sum(book.values())
    assert await ledger_check(settings) == []


@pytest.mark.parametrize(
    ("size", "books"),
    [
        ("fixed_quantity:20", {"twin": 20, "zigzag": 20}),
        ("fixed_quantity:30", {"twin": 30, "zigzag": 19}),
        ("fixed_fraction:100", {"twin": 49}),
    ],
)
async def test_both_buy_on_one_bar_as_far_as_there_is_room(
    tmp_path: Path, size: str, books: dict[str, int]
) -> None:
    """5,000 may be held of it: what the first leaves, the second takes; where it leaves nothing,
    the console says so."""
    settings = settings_of(tmp_path, TWIN, sizing=size, entry_order_type="market")
    street = Street()
    async with running(settings, street.parts) as session:
        snapshot = await session.until(lambda s: len(s.signals) >= 2 and len(held(s)) == len(books))
        assert held(snapshot) == books
        assert await street.net() == sum(books.values())
    blocked = [row.note for row in snapshot.signals[:2] if row.outcome == "blocked"]
    assert len(blocked) == 2 - len(books)
    assert all("may be held over all strategies" in note for note in blocked)
