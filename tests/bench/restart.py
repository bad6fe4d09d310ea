"""Restart with 1,000 open orders: from the start of the engine to "reconciled, trading"."""

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.core.events import OrderAccepted
from engine.core.model import (
    Order,
    OrderPurpose,
    OrderState,
    OrderType,
    Side,
)
from engine.host.runtime import Runtime
from engine.ops.settings import Settings
from engine.store.place import Place
from engine.store.repository import Repository
from engine.view.snapshot import Snapshot
from tests.bench.engine import FLOWING
from tests.bench.measure import Figure, percentile

ORDERS, RUNS = 1_000, 5
LIMIT_S = 3.0


def measure() -> Iterator[Figure]:
    with TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), **FLOWING)
        asyncio.run(leave_orders(settings))
        delays = [asyncio.run(restart(settings)) for _ in range(RUNS)]
    worst = max(delays)
    yield Figure(
        f"restart → reconciled, trading, with {ORDERS:,} open orders, worst",
        worst,
        "s",
        goal=f"≤ {LIMIT_S:g} s",
        met=worst <= LIMIT_S,
        note=f"{RUNS} runs, p50 {percentile(delays, 50):.2f} s",
    )


def resting(number: int) -> Order:
    """A stop far below the market, as a former session left it."""
    return Order(
        f"tb-{number:015x}",
        "bench_hold",
        f"S{number % 500:03d}",
        Side.SELL,
        OrderType.STOP,
        Decimal(1),
        OrderPurpose.PROTECTIVE_STOP,
        1,
        1,
        Decimal("0.01"),
        stop_price=Decimal("0.01"),
        state=OrderState.ACCEPTED,
        venue_order_id=f"V-{number}",
    )


async def leave_orders(settings: Settings) -> None:
    repository = await Repository.open(Place.of(settings))
    orders = [resting(number) for number in range(ORDERS)]
    for order in orders:
        await repository.commit_intent(order)
    await repository.record([OrderAccepted(o, ts=1, seq=n) for n, o in enumerate(orders, 1)])
    await repository.close()


async def restart(settings: Settings) -> float:
    """Seconds from the start to the first picture of an engine that trades."""
    ready = asyncio.Event()
    delays: list[float] = []

    def show(snapshot: Snapshot) -> None:
        compared = any("reconciled with paper: all agrees" in line.text for line in snapshot.log)
        if compared and snapshot.feed.status == "connected" and not ready.is_set():
            if sum(order.is_open for order in snapshot.orders) != ORDERS:
                raise RuntimeError("orders were lost")
            delays.append(time.perf_counter() - start)
            ready.set()

    start = time.perf_counter()
    runtime = Runtime(settings, show)
    running = asyncio.create_task(runtime.run())
    await asyncio.wait(
        [running, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED
    )
    runtime.stop()
    await running
    return delays[0]
