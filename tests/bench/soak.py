"""A simulated week: memory that stays flat, and nothing left behind.

The machine takes ten million quotes of all sample symbols, with the bars and ticks of the week and
all strategies on; what it asks for is answered at once. The runtime plays all sample recordings as
fast as it can, on a real database, again and again in one process.
"""

import gc
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from engine.core.model import NANOS
from engine.simulation.process_account import STRATEGIES
from tests.bench.engine import UNLIMITED, running, wait_for
from tests.bench.measure import Figure
from tests.week import Week

QUOTES = 10_000_000
WARM_UP = QUOTES // 4
SESSIONS = 5
PLAY_S = 600.0
FLAT = 1.0
"""Percent of memory a day that is noise."""
DAY = 86_400 * NANOS
FIRST = datetime(2013, 1, 1, tzinfo=UTC)
MB = 1e6


def measure() -> Iterator[Figure]:
    yield machine_growth()
    yield from what_sessions_leave()


def machine_growth() -> Figure:
    week = Week(seed=1)
    week.run(WARM_UP)
    began, before = week.now, memory()
    week.run(QUOTES - WARM_UP)
    days = (week.now - began) / DAY
    growth = (memory() - before) / before * 100 / days
    return Figure(
        "memory of the machine after warm-up",
        growth,
        "% a day",
        goal=f"≤ {FLAT:g} % a day",
        met=growth <= FLAT,
        note=f"{week.events:,} events, {week.sent:,} orders, {memory() / MB:.0f} MB at the end",
    )


def what_sessions_leave() -> Iterator[Figure]:
    counts: list[tuple[int, int, float]] = []
    orders = 0
    for _ in range(SESSIONS):
        orders = one_session()
        gc.collect()
        counts.append((open_files(), threading.active_count(), memory()))
    (files, threads, used), (last_files, last_threads, last_used) = counts[1], counts[-1]
    sessions = SESSIONS - 2
    for what, left in (
        ("file descriptors", last_files - files),
        ("threads", last_threads - threads),
    ):
        yield Figure(f"{what} left by {sessions} sessions", left, "", goal="0", met=left <= 0)
    growth = (last_used - used) / sessions / used * 100
    yield Figure(
        "memory of the process, a session of all sample symbols",
        growth,
        "%",
        goal=f"≤ {FLAT:g} %",
        met=growth <= FLAT,
        note=f"{orders} orders each, {last_used / MB:.0f} MB at the end",
    )


def one_session() -> int:
    """Play all recordings to their end; how many orders that made."""
    with running(
        **UNLIMITED,
        replay_start=FIRST,
        replay_speed=0,
        starting_cash=Decimal(10**6),
        strategies=("sma_crossover", "churn"),
        strategies_dir=STRATEGIES,
    ) as host:
        snapshot = wait_for(host, lambda s: s.feed.status == "ended", PLAY_S)
        return len(snapshot.orders)


def memory() -> float:
    """Resident bytes of this process."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
