"""A simulated week: memory that stays flat, and nothing left behind.

The machine takes ten million quotes of all sample symbols, with the bars and ticks of the week and
all strategies on; what it asks for is answered at once. A first fortnight, of fewer quotes, fills
what is kept for so long. Then the runtime, on a real database and with a journal: some minutes of
quotes as fast as they come, and all sample recordings again and again in one process.
"""

import asyncio
import gc
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from engine.core.compliance import FILLS_KEPT
from engine.core.model import DAY, NANOS
from engine.host.health import apart_from_start
from engine.host.runtime import Runtime
from engine.ops.lock import EngineLock
from engine.ops.settings import Settings
from engine.simulation.process_account import STRATEGIES
from engine.view.snapshot import Snapshot
from tests.bench.engine import UNLIMITED, running, wait_for
from tests.bench.measure import Figure
from tests.session import health_of
from tests.week import Week

QUOTES = 10_000_000
WARM_UP = FILLS_KEPT + 2 * DAY
FLOW_S, FLOW_WARM_UP_S = 300.0, 60.0
SESSIONS, WARM_UP_SESSIONS = 11, 5
"""The first ones load what is loaded once, and find out how much the allocator takes at a peak."""
PLAY_S = 600.0
FLAT = 1.0
"""Percent of memory that is noise."""
FIRST = datetime(2013, 1, 1, tzinfo=UTC)
MB = 1e6

TRADING: dict[str, Any] = {
    **UNLIMITED,
    "starting_cash": Decimal(10**6),
    "strategies": ("sma_crossover", "churn"),
    "strategies_dir": STRATEGIES,
}


def measure() -> Iterator[Figure]:
    yield machine_growth()
    yield runtime_growth()
    yield from what_sessions_leave()


def machine_growth() -> Figure:
    start = memory()
    week = Week(seed=1)
    week.run(WARM_UP // NANOS, step=NANOS)
    began, before, events, sent = week.now, memory(), week.events, week.sent
    week.run(QUOTES)
    days = (week.now - began) / DAY
    end = memory()
    return growth(
        "memory of the machine in a week, after warm-up",
        (before, end),
        days,
        "% a day",
        f"{week.events - events:,} events, {week.sent - sent:,} orders in {days:.1f} days, "
        f"{start / MB:.0f} MB before, ",
    )


def runtime_growth() -> Figure:
    """One session of the whole engine, with database, journal and pictures."""
    flowing = {"feed": "synthetic", "synthetic_symbols": 20, "synthetic_rate": 10_000}
    with running(**TRADING, **flowing) as host:
        time.sleep(FLOW_WARM_UP_S)
        before = memory()
        time.sleep(FLOW_S)
        end = memory()
        seen = wait_for(host, lambda snapshot: True)
    note = f"{health_of(seen).events:,} events, {len(seen.orders)} orders, "
    return growth("memory of the runtime in one session", (before, end), 1, "%", note)


def what_sessions_leave() -> Iterator[Figure]:
    seen = [one_session() for _ in range(SESSIONS)]
    first, last = seen[WARM_UP_SESSIONS - 1], seen[-1]
    sessions = SESSIONS - WARM_UP_SESSIONS
    for what, before, after in zip(Left._fields, first.left, last.left, strict=True):
        name = f"{what.replace('_', ' ')} left by {sessions} sessions"
        yield Figure(name, after - before, "", goal="0", met=after <= before)
    note = f"{last.events:,} events and {last.orders} orders shown each, "
    what = "memory of the process, a session of all sample symbols"
    yield growth(what, (first.memory, last.memory), sessions, "%", note)


def growth(what: str, memory: tuple[float, float], parts: float, unit: str, note: str) -> Figure:
    before, after = memory
    percent = (after - before) / before * 100 / parts
    note = f"{note}{before / MB:.0f} MB after warm-up, {after / MB:.0f} MB at the end"
    return Figure(what, percent, unit, goal=f"≤ {FLAT:g} {unit}", met=percent <= FLAT, note=note)


class Left(NamedTuple):
    """What is there of each kind once a session has ended."""

    tasks: int
    threads: int
    file_descriptors: int
    child_processes: int
    unfinished_files: int


class Ended(NamedTuple):
    left: Left
    memory: float
    orders: int
    events: int


def one_session() -> Ended:
    """Play all recordings to their end, on a loop of its own."""
    with TemporaryDirectory() as folder:
        tasks, last = asyncio.run(_played(Path(folder)))
        unfinished = len(unfinished_files(Path(folder)))
    gc.collect()
    left = Left(
        tasks,
        threading.active_count(),
        open_files(),
        child_processes(),
        unfinished,
    )
    return Ended(left, memory(), len(last.orders), health_of(last).events)


async def _played(folder: Path) -> tuple[int, Snapshot]:
    """How many tasks there are after the end, and the last picture."""
    settings = Settings(data_dir=folder, replay_start=FIRST, replay_speed=0, **TRADING)
    last: list[Snapshot] = []
    end = asyncio.Event()

    def show(snapshot: Snapshot) -> None:
        last[:] = [snapshot]
        if snapshot.feed.status == "ended" and not health_of(snapshot).queue:
            end.set()

    with EngineLock(settings.lock_path), apart_from_start():
        runtime = Runtime(settings, show)
        engine, ended = asyncio.create_task(runtime.run()), asyncio.create_task(end.wait())
        await asyncio.wait({engine, ended}, timeout=PLAY_S, return_when=asyncio.FIRST_COMPLETED)
        runtime.stop()
        await engine
        ended.cancel()
    return len(asyncio.all_tasks()) - 1, last[0]


def memory() -> float:
    """Resident bytes of this process."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    """Files and sockets."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def child_processes() -> int:
    found = Path("/proc/self/task").glob("*/children")
    return sum(len(path.read_text().split()) for path in found)


def unfinished_files(folder: Path) -> list[Path]:
    """Files below `folder` that only a running engine needs."""
    return [path for path in folder.rglob("*") if path.name.endswith((".tmp", "-wal", "-shm"))]
