"""Bar in → order on the wire: through the real runtime, the intent on disk in a real database.

The clock starts when the feed hands the bar to the runtime and ends when the broker is asked to
submit. The bars of a recording come every 12 ms; what the former order left to write is under way.
They come as those of a live feed do; as a replay's, the intent waits for all facts of its bar, so
that a restart goes on at the very event. The peer of the intent is the least that durability costs
here: 4 KiB appended to a file and synced.
"""

import asyncio
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace

from engine.brokers.paper import PaperBroker
from engine.core.events import BarClosed, Event
from engine.core.model import Mode, Order, OrderPurpose, OrderType, Side, nanos
from engine.feeds.base import Feed, Played
from engine.feeds.recordings import Recordings
from engine.feeds.replay import ReplayFeed
from engine.host.runtime import Parts, Runtime
from engine.ops.settings import Settings
from engine.store.place import Place
from engine.store.repository import Repository
from tests.bench.engine import STRATEGIES, UNLIMITED, running, tapped, wait_for
from tests.bench.measure import Figure, percentile

ORDERS = 500
REPLAY_SPEED = 5_000
TIMEOUT_S = 120.0
LIMIT_MS = 5.0
PAGE = bytes(4096)


def measure() -> Iterator[Figure]:
    delays = order_delays(ORDERS, live())
    replayed = order_delays(ORDERS, Parts())
    with TemporaryDirectory() as folder:
        commits = asyncio.run(commit_delays(Path(folder) / "intents.db", ORDERS))
        syncs = sync_delays(Path(folder) / "syncs", ORDERS)
    peer = "append and sync"
    yield Figure(
        "bar in → order on the wire, p99",
        percentile(delays, 99),
        "ms",
        peer,
        percentile(syncs, 99),
        f"p99 ≤ {LIMIT_MS:g} ms",
        percentile(delays, 99) <= LIMIT_MS,
        f"{len(delays)} orders; the intent is durable before",
    )
    for name, values in (
        ("bar in → order on the wire", delays),
        ("the same in a replay", replayed),
        ("intent commit alone", commits),
    ):
        yield Figure(f"{name}, p50", percentile(values, 50), "ms", peer, percentile(syncs, 50))
    yield Figure("the same in a replay, p99", percentile(replayed, 99), "ms")
    yield Figure(
        "intent commit alone, p99", percentile(commits, 99), "ms", peer, percentile(syncs, 99)
    )


# --- through the runtime -------------------------------------------------------------------------


@dataclass
class Clocks:
    """When each bar came in, by its time, and how long its order took, in ms."""

    came: dict[int, int] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)

    def on_publish(self, runtime: Runtime, event: Event) -> None:
        if isinstance(event, BarClosed) and event.live:
            self.came[event.ts] = time.perf_counter_ns()

    def on_submit(self, broker: PaperBroker, order: Order) -> None:
        if order.purpose is not OrderPurpose.PROTECTIVE_STOP:
            self.delays.append((time.perf_counter_ns() - self.came[order.created_ts]) / 1e6)


class Live(ReplayFeed):
    """A recording whose bars the engine takes for those of now."""

    recorded = False


def live() -> Parts:
    """The computer's clock is the recording's, or it would be taken for one that is wrong."""
    made: list[Live] = []

    async def feed(settings: Settings, resume: Played | None, held: Collection[str]) -> Feed:
        start = nanos(settings.replay_start)
        made.append(Live(Recordings(None), settings.symbols, start, settings.replay_speed))
        return made[0]

    return Parts(feed=feed, wall=lambda: made[0].clock.now() if made else time.time_ns())


def order_delays(orders: int, parts: Parts) -> list[float]:
    clocks = Clocks()
    with (
        tapped(Runtime, "publish", clocks.on_publish),
        tapped(PaperBroker, "submit_order", clocks.on_submit),
        running(
            parts,
            **UNLIMITED,
            entry_order_type="market",
            symbols=("BTC-PERP",),
            strategies=("bench_flip",),
            strategies_dir=STRATEGIES,
            replay_start="2022-01-01T00:00:00Z",
            replay_speed=REPLAY_SPEED,
            submit_timeout_s=86_400,  # of market time, which runs fast here
            stale_after_s=86_400,
        ) as host,
    ):
        wait_for(host, lambda _: len(clocks.delays) >= orders, TIMEOUT_S)
    return clocks.delays[:orders]


# --- the intent alone ----------------------------------------------------------------------------


async def commit_delays(path: Path, count: int) -> list[float]:
    """How long each commit of an intent takes, in ms."""
    repository = await Repository.open(Place.in_file(path, Mode.PAPER))
    order = Order(
        "",
        "sma_crossover",
        "BTC-PERP",
        Side.BUY,
        OrderType.MARKET,
        Decimal("0.1"),
        OrderPurpose.ENTRY,
        1,
        1,
        Decimal(40_000),
    )
    delays: list[float] = []
    for number in range(count):
        intent = replace(order, client_order_id=f"tb-{number:015x}")
        start = time.perf_counter_ns()
        await repository.commit_intent(intent)
        delays.append((time.perf_counter_ns() - start) / 1e6)
    await repository.close()
    return delays


def sync_delays(path: Path, count: int) -> list[float]:
    """How long it takes to append a page to a file and sync it, in ms."""
    delays: list[float] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(count):
            start = time.perf_counter_ns()
            file.write(PAGE)
            os.fdatasync(file.fileno())
            delays.append((time.perf_counter_ns() - start) / 1e6)
    return delays
