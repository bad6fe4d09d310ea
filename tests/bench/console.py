"""A console attached to an engine, measured at the terminal: 500 symbols, 10,000 quotes/s.

Late is how long an input that comes through a pipe waits for the engine's loop; the peer is the
same engine with nothing on the screen. A loop that does nothing is late by what the machine is.
Painting is the CPU time of the console's process, or of the threads that paint where it is a table
alone; the socket's is that of the engine's thread which serves it. Bytes are those that reach the
terminal. A key's delay is the time from its press (cursor down or up in the quotes) until the row
at the cursor looks it.

The desk shows eight to twelve quotes among its other panels. So its table is measured alone too,
with 50 rows in sight that all change, beside Textual's DataTable that shows the same of the same
engine.
"""

import asyncio
import random
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tests.bench.engine import FLOWING, HELD, HOLDING, SYMBOLS
from tests.bench.measure import Figure, percentile
from tests.bench.probed import Readings, lateness_of_nothing
from tests.bench.served import served
from tests.bench.terminal import CONSOLE, Screen, TimedTerminal

LINE_TABLE = "tests.bench.tables:line_table"
DATA_TABLE = "tests.bench.tables:data_table"
NOTHING = "tests.bench.tables:nothing"

NARROW, WIDE, FIFTY_ROWS = (120, 40), (200, 50), (120, 51)
START_S, WATCH_S = 4.0, 6.0
WARM_UP_S = 60.0
FRESH = b" 0s "
"""The age of a quote that has just come."""
KEYS = 24
STALL_S = 10.0
DOWN, UP = "\x1b[B", "\x1b[A"
CLOCK = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")

LATE_MS, KEY_MS = 1.0, 50.0
CPU_PERCENT, ALL_KB, FEW_KB = 10.0, 60.0, 15.0
NEVER_LATE_MS = 20.0
RIGHT_S = 2.0


class Load(NamedTuple):
    """What runs and how much it is given to do; `target` empty is the console itself."""

    target: str
    size: tuple[int, int]
    fps: int
    settings: dict[str, Any] = FLOWING


class Seen(NamedTuple):
    """`late` and `keys` in ms, `cpu` and `socket` in percent of a core, `sent` in KB a second."""

    late: list[float]
    keys: list[float]
    cpu: float
    socket: float
    sent: float


def measure() -> Iterator[Figure]:
    idle = asyncio.run(lateness_of_nothing(WATCH_S))
    yield Figure("a loop that does nothing: late, p99", percentile(idle, 99), "ms")
    alone = watch(Load(NOTHING, NARROW, 4), keys=0)
    for size in (NARROW, WIDE):
        for fps in (4, 10):
            where = f"console {size[0]}x{size[1]}, {fps} frames/s"
            yield from console_figures(where, Load("", size, fps), alone)
    alone = watch(Load(NOTHING, NARROW, 4, HOLDING), keys=0)
    where = f"console 120x40, 4 frames/s, {HELD} positions"
    yield from console_figures(where, Load("", NARROW, 4, HOLDING), alone)
    for fps in (4, 10):
        yield from table_figures(fps)
    yield few_rows_figure()
    yield from stall_figures()


# --- figures -------------------------------------------------------------------------------------


def console_figures(where: str, load: Load, alone: Seen) -> Iterator[Figure]:
    seen = watch(load, KEYS)
    late = percentile(seen.late, 99)
    yield Figure(
        f"{where}: engine late, p99",
        late,
        "ms",
        "engine alone",
        percentile(alone.late, 99),
        f"p99 ≤ {LATE_MS:g} ms",
        late <= LATE_MS,
        f"p50 {percentile(seen.late, 50):.2f}, max {max(seen.late):.1f} ms",
    )
    median, most, key = (percentile(seen.keys, percent) for percent in (50, 95, 99))
    yield Figure(
        f"{where}: key → screen, p99",
        key,
        "ms",
        goal=f"p99 ≤ {KEY_MS:g} ms",
        met=key <= KEY_MS,
        note=f"{KEYS} keys, p50 {median:.1f}, p95 {most:.1f} ms",
    )
    yield Figure(f"{where}: painting", seen.cpu, "% CPU")
    yield Figure(f"{where}: the socket, in the engine", seen.socket, "% CPU")
    yield Figure(f"{where}: to the terminal", seen.sent, "KB/s")


def table_figures(fps: int) -> Iterator[Figure]:
    ours = watch(Load(LINE_TABLE, FIFTY_ROWS, fps), KEYS)
    peer = watch(Load(DATA_TABLE, FIFTY_ROWS, fps), KEYS)
    where = f"50 rows changing, {fps} frames/s"
    late, other_late = percentile(ours.late, 99), percentile(peer.late, 99)
    key, other_key = percentile(ours.keys, 99), percentile(peer.keys, 99)
    name = "DataTable"
    yield Figure(f"{where}: engine late, p99", late, "ms", name, other_late)
    yield Figure(f"{where}: key → screen, p99", key, "ms", name, other_key)
    cpu = f"≤ {CPU_PERCENT:g} % of a core"
    yield Figure(
        f"{where}: painting", ours.cpu, "% CPU", name, peer.cpu, cpu, ours.cpu <= CPU_PERCENT
    )
    yield Figure(
        f"{where}: to the terminal",
        ours.sent,
        "KB/s",
        name,
        peer.sent,
        f"≤ {ALL_KB:g} KB/s",
        ours.sent <= ALL_KB,
    )


def few_rows_figure() -> Figure:
    """One row in five changes between two frames: each symbol has a quote every five frames."""
    fps = 10
    slow = FLOWING | {"synthetic_rate": SYMBOLS * fps // 5}
    seen = watch(Load(LINE_TABLE, FIFTY_ROWS, fps, slow), keys=0)
    return Figure(
        f"50 rows, one in five changing, {fps} frames/s: to the terminal",
        seen.sent,
        "KB/s",
        goal=f"≤ {FEW_KB:g} KB/s",
        met=seen.sent <= FEW_KB,
        note=f"painting {seen.cpu:.1f} % CPU",
    )


def stall_figures() -> Iterator[Figure]:
    """A terminal that nobody reads, and that is then read again."""
    with started(Load("", NARROW, fps=10)) as (terminal, readings):
        terminal.read_for(START_S)
        stalled = time.perf_counter()
        time.sleep(STALL_S)
        resumed = time.perf_counter()
        terminal.read_for(WATCH_S)
        late = readings.late(stalled, resumed)
    back = seconds_to_recover(terminal, resumed)
    where = f"terminal stalled for {STALL_S:g} s"
    yield Figure(
        f"{where}: engine late, max",
        max(late),
        "ms",
        goal="never late",
        met=max(late) <= NEVER_LATE_MS,
        note=f"p99 {percentile(late, 99):.2f} ms; {len(late)} inputs",
    )
    yield Figure(
        f"{where}, then read: the clock is right after",
        back,
        "s",
        goal="recovers by itself",
        met=back < WATCH_S,
    )


# --- watching ------------------------------------------------------------------------------------


@contextmanager
def started(
    load: Load, kind: type[TimedTerminal] = TimedTerminal
) -> Iterator[tuple[TimedTerminal, Readings]]:
    """A program in a terminal, under a load, with its probe."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        readings = Readings(folder)
        settings: dict[str, Any] = load.settings | {"fps": load.fps}
        argv = (sys.executable, "-m", "tests.bench.probed", name, load.target)
        with (
            nullcontext() if load.target else served(folder, **settings),
            kind(argv if load.target else CONSOLE, folder, load.size, **settings) as shown,
        ):
            yield shown, readings
        readings.close()


def watch(load: Load, keys: int) -> Seen:
    """Let it run, then press `keys` keys."""
    with started(load) as (terminal, readings):
        until_quotes_flow(terminal, load)
        start, before = time.perf_counter(), terminal.cpu_s
        terminal.read_for(WATCH_S)
        end, after = time.perf_counter(), terminal.cpu_s
        presses = press_keys(terminal, keys) if keys else []
        late, cpu = readings.late(start, end), readings.console_cpu(start, end)
    socket = 0.0 if load.target else cpu
    painting = cpu if load.target else (after - before) / (end - start) * 100
    sent = terminal.bytes_between(start, end) / (end - start) / 1000
    return Seen(late, key_delays(terminal, presses), painting, socket, sent)


def until_quotes_flow(terminal: TimedTerminal, load: Load) -> None:
    """Past the warm-up, in which a day of bars changes every row at once: then quotes are new."""
    end = time.perf_counter() + WARM_UP_S
    terminal.read_for(START_S)
    while load.target != NOTHING and time.perf_counter() < end:
        if any(FRESH in data for _, data in terminal.pieces[-10:]):
            break
        terminal.read_for(0.5)
    terminal.read_for(START_S)


def press_keys(terminal: TimedTerminal, count: int, pause: float = 0.5) -> list[float]:
    """Move the cursor down and up, at odd moments; the times of the presses."""
    moments = random.Random(7)
    presses: list[float] = []
    for key in (DOWN, *(DOWN, UP) * (count // 2)):
        presses.append(time.perf_counter())
        terminal.press(key)
        terminal.read_for(pause + moments.random() / 5)
    return presses[1:]  # the first one may only show the cursor


def key_delays(terminal: TimedTerminal, presses: list[float]) -> list[float]:
    """Milliseconds from each press to the piece of output after which the cursor's row was another;
    infinite where none was until the next press."""
    if not presses:
        return []
    moves: list[float] = []
    before: list[str] = []
    for came, screen in terminal.screens():
        now = backgrounds(screen)
        if now != before:
            moves.append(came)
        before = now
    ends = [*presses[1:], float("inf")]
    return [
        (min((m for m in moves if press < m < end), default=float("inf")) - press) * 1000
        for press, end in zip(presses, ends, strict=True)
    ]


def backgrounds(screen: Screen) -> list[str]:
    """How each row is filled near its left side: the cursor's is filled otherwise."""
    cells = [screen.buffer[row][3] for row in range(screen.lines)]
    return [f"{cell.bg} {cell.reverse}" for cell in cells]


def seconds_to_recover(terminal: TimedTerminal, resumed: float) -> float:
    """Seconds from `resumed` until the clock on the screen is right; infinite where it never is."""
    unix = time.time() - time.perf_counter()
    for came, screen in terminal.screens():
        shown = CLOCK.search(screen.display[0])
        if came > resumed and shown is not None:
            moment = datetime.strptime(f"{shown[1]} +0000", "%Y-%m-%d %H:%M:%S %z")
            if came + unix - moment.timestamp() < RIGHT_S:
                return came - resumed
    return float("inf")
