"""Kill → last cancel on the wire: 100 open orders, 10,000 quotes/s over 500 symbols flowing.

A strategy holds 100 symbols, so 100 protective stops are open at simulated brokers. The clock stops
when a broker is asked for the last of their cancels. It starts with the command, given to the
engine alone; or with the press of ctrl+k in the console's terminal, where the console paints too.
After each run the kill switch is re-armed, which places the stops again.

Of three brokers one does not answer, and its cancels do not count; in the first runs by command it
is awaited that they are asked for again and that the console shows that broker as not connected.
With the database locked, or the disk full, orders are killed while nothing can be written.

At real adapters the clock stops when the last order is cancelled at the loopback server, which
takes no more requests than the venue does; the peer is what its limit alone would make of one
request for each order.
"""

import asyncio
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.core.events import RearmKillSwitch, TripKillSwitch
from engine.host.thread import EngineHost
from engine.ops.settings import Settings
from engine.view.snapshot import Snapshot
from tests.bench.engine import HELD, HOLDING, running, wait_for
from tests.bench.measure import Figure, percentile
from tests.bench.mute_engine import NAMES
from tests.bench.probed import Readings
from tests.bench.served import served
from tests.bench.terminal import CONSOLE, TimedTerminal
from tests.bench.venues import Venue, Venues
from tests.brokers.killing import killing
from tests.loopback.faults import Limit
from tests.loopback.venue import Change

RUNS = 30
RUNS_OF_THE_KEY = 200
RUNS_SHOWN = 5
MANY = 1_000
HOLDING_MANY = HOLDING | {
    "strategies": ("bench_hold_many",),
    "synthetic_symbols": MANY,
    "max_position_size_pct": "0.05",
}
TIMEOUT_S = 60.0
AT_ADAPTERS = 150
LIMITS = {"alpaca": (200, 60.0), "coinbase": (30, 1.0)}
"""How many requests in so many seconds each takes, by its documentation."""
LIMIT_MS, LIMIT_MANY_MS = 50.0, 250.0
SIZE = (120, 40)
CTRL_K = "\x0b"
GRACE_S = 0.6
"""The kill key is not repeated sooner."""

Around = Callable[[Settings], AbstractContextManager[None]]
"""What befalls the engine while it is killed."""


def measure() -> Iterator[Figure]:
    one = Venues("paper")
    yield figure(f"kill command → last of {HELD} cancels", command_delays(one))
    what = f"kill of {HELD} at three brokers, one mute → last cancel at the others"
    yield figure(f"{what}, by the key in the console", key_delays())
    yield figure(f"{what}, by command", command_delays(Venues(*NAMES), deaf="deaf"))
    yield figure(
        f"kill command → last of {MANY} cancels",
        command_delays(one, held=MANY, settings=HOLDING_MANY),
        LIMIT_MANY_MS,
    )
    yield figure("kill while the database is locked", command_delays(one, around=locked))
    yield figure("kill while the disk is full", command_delays(one, around=full))
    for name, limit in LIMITS.items():
        yield asyncio.run(at_adapter(name, *limit))


def figure(what: str, delays: list[float], limit_ms: float = LIMIT_MS) -> Figure:
    p99 = percentile(delays, 99)
    return Figure(
        f"{what}, p99",
        p99,
        "ms",
        goal=f"p99 ≤ {limit_ms:g} ms",
        met=p99 <= limit_ms,
        note=f"{len(delays)} runs, p50 {percentile(delays, 50):.1f} ms",
    )


# --- the engine alone ----------------------------------------------------------------------------


@contextmanager
def undisturbed(settings: Settings) -> Iterator[None]:
    yield


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Another program writes to the database, and does not end."""
    with closing(sqlite3.connect(settings.database_path, timeout=60, isolation_level=None)) as file:
        file.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def full(settings: Settings) -> Iterator[None]:
    """No file of this process can grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def command_delays(
    venues: Venues,
    runs: int = RUNS,
    *,
    deaf: str = "",
    held: int = HELD,
    settings: dict[str, Any] = HOLDING,
    around: Around = undisturbed,
) -> list[float]:
    """Milliseconds from the command to the last cancel at the brokers that are not deaf."""
    with running(parts=venues.parts, submit_timeout_s=0.5, **settings) as host:
        return [
            one_command(host, venues, held, deaf, run < RUNS_SHOWN, around) for run in range(runs)
        ]


def one_command(
    host: EngineHost, venues: Venues, held: int, deaf: str, shown: bool, around: Around
) -> float:
    stops = wait_for(host, lambda snapshot: all_accepted(snapshot, held))
    shares = shares_of(stops, venues)
    for venue in venues.at.values():
        venue.cancels.clear()
        venue.deaf = venue.name == deaf
    hearing = [venue for venue in venues.at.values() if not venue.deaf]
    with around(host.settings):
        start = time.perf_counter()
        host.send(TripKillSwitch(source="bench", author="bench"))
        wait_for(host, lambda _: all(len(v.cancels) >= shares[v.name] for v in hearing))
        delay = (max(v.cancels[shares[v.name] - 1] for v in hearing) - start) * 1000
    if deaf and shown:
        wait_for(host, lambda snapshot: is_retried(snapshot, venues.at[deaf], shares[deaf]))
    for venue in venues.at.values():
        venue.deaf = False
    wait_for(host, lambda snapshot: snapshot.kill.phase == "complete")
    host.send(RearmKillSwitch(word="REARM", author="bench"))
    wait_for(host, lambda snapshot: not snapshot.kill.tripped)
    return delay


def all_accepted(snapshot: Snapshot, held: int) -> bool:
    """Whether the stops, and nothing but the stops, are open."""
    states = [(order.purpose, order.state) for order in snapshot.orders if order.is_open]
    return len(states) == held and set(states) == {("protective_stop", "accepted")}


def shares_of(snapshot: Snapshot, venues: Venues) -> dict[str, int]:
    """How many orders are open at each venue: symbols are numbered, and dealt out in turn."""
    shares = dict.fromkeys(venues.names, 0)
    for order in snapshot.orders:
        if order.is_open:
            number = int(order.symbol.removeprefix("S"))
            shares[venues.names[number % len(venues.names)]] += 1
    return shares


def is_retried(snapshot: Snapshot, venue: Venue, share: int) -> bool:
    """Whether the broker is asked again, and the console shows it as not there."""
    shown = any(b.name == venue.name and not b.connected for b in snapshot.brokers)
    return shown and len(venue.cancels) > share and snapshot.kill.phase == "cancelling"


# --- real adapters -------------------------------------------------------------------------------


async def at_adapter(name: str, most: int, seconds: float) -> Figure:
    """Seconds from the command to the last order that the venue cancels."""
    async with killing(AT_ADAPTERS, name) as (desk, [peer]):
        room = peer.broker.room()
        assert room is not None
        each_s = max(0.0, AT_ADAPTERS - room.most) * seconds / most
        peer.faults.limit = Limit(most, seconds)
        ended: list[float] = []

        def on_change(change: Change) -> None:
            if change.what == "canceled":
                ended.append(time.perf_counter())

        peer.venue.listeners.append(on_change)
        start = time.perf_counter()
        desk.publish(TripKillSwitch(source="bench", author="bench"))
        await desk.until(lambda: not peer.venue.open)
    return Figure(
        f"kill command → last of {AT_ADAPTERS} orders cancelled at {name}'s loopback server",
        ended[-1] - start,
        "s",
        "one request each at its limit",
        each_s,
        note=f"{peer.faults.requests.total()} requests, {peer.faults.limited} over the limit",
    )


# --- the key in the console ----------------------------------------------------------------------


def key_delays() -> list[float]:
    """Milliseconds from each press of the kill key to the last cancel at the brokers that hear."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        readings = Readings(folder)
        settings = HOLDING | {"submit_timeout_s": 0.2}
        with (
            served(folder, "tests.bench.mute_engine:main", **settings),
            TimedTerminal(CONSOLE, folder, SIZE, **settings) as terminal,
        ):
            delays = [one_key(terminal, readings, run) for run in range(RUNS_OF_THE_KEY)]
        readings.close()
    return delays


def one_key(terminal: TimedTerminal, readings: Readings, run: int) -> float:
    # At first each stop has an entry before it; each time it is re-armed they are set anew.
    read_until(terminal, readings, "submit", (2 + run) * HELD)
    terminal.read_for(GRACE_S)
    start = time.perf_counter()
    terminal.press(CTRL_K)
    heard = len([number for number in range(HELD) if number % len(NAMES) != NAMES.index("deaf")])
    read_until(terminal, readings, "cancel", heard, start)
    return (list(readings.marks("cancel", start))[heard - 1].time - start) * 1000


def read_until(
    terminal: TimedTerminal, readings: Readings, word: str, times: int, start: float = 0.0
) -> None:
    """Read until the probe has written `word` so many times since `start`.

    Raises TimeoutError where it does not.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while sum(1 for _ in readings.marks(word, start)) < times:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the console did not {word} {times} orders")
        terminal.read_for(0.05)
