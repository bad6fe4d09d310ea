"""A console at the end of a slow line: 64 kbit/s, 150 ms each way.

What the console writes is taken at once, as sshd and the system do, until so much is on its way
that the line needs eight seconds for it. The age is how old the clock is that the screen shows.
"""

import os
import select
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tests.bench.console import (
    CLOCK,
    NARROW,
    NEVER_LATE_MS,
    START_S,
    Load,
    key_delays,
    press_keys,
    started,
)
from tests.bench.measure import Figure, percentile
from tests.bench.terminal import TimedTerminal

RATE = 64_000 / 8
DELAY_S = 0.15
HELD = 64 * 1024
STEP_S = 0.002
PIECE = 512
KEYS, HELD_KEYS = 12, 90
SETTLE_S = 8.0
PAUSE_S = 2.5
KEY_MS, OLD_S = 2_000.0, 4.0


class SlowTerminal(TimedTerminal):
    """What is typed and what is written come later, and not faster than the line is."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self._typed: deque[tuple[float, bytes]] = deque()
        self._coming: deque[tuple[float, bytes]] = deque()
        self._free = 0.0
        super().__init__(*arguments, **settings)

    def press(self, keys: str) -> None:
        self._typed.append((time.perf_counter() + DELAY_S, keys.encode()))

    def read(self, timeout: float = 0.1) -> bool:
        end = time.perf_counter() + timeout
        while (now := time.perf_counter()) < end:
            while self._typed and self._typed[0][0] <= now:
                os.write(self._master, self._typed.popleft()[1])
            on_its_way = (self._free - now) * RATE
            if on_its_way < HELD and select.select([self._master], [], [], 0)[0]:
                data = os.read(self._master, PIECE)
                self._free = max(self._free, now) + len(data) / RATE
                self._coming.append((self._free + DELAY_S, data))
            while self._coming and self._coming[0][0] <= now:
                self.take(self._coming.popleft()[1])
            time.sleep(STEP_S)
        return True


def measure() -> Iterator[Figure]:
    for fps in (4, 10):
        yield from figures(fps)


def figures(fps: int) -> Iterator[Figure]:
    with started(Load("", NARROW, fps), SlowTerminal) as (terminal, readings):
        terminal.read_for(START_S + SETTLE_S)
        start = time.perf_counter()
        presses = press_keys(terminal, KEYS, PAUSE_S)
        held = time.perf_counter()
        for _ in range(HELD_KEYS):
            terminal.press("\x1b[B")
            terminal.read_for(1 / 30)
        released = time.perf_counter()
        terminal.read_for(SETTLE_S)
        end = time.perf_counter()
        late = readings.late(start, end)
    where = f"64 kbit/s, 150 ms each way, {fps} frames/s"
    delays = key_delays(terminal, presses)
    yield Figure(
        f"{where}: key → screen, p99",
        percentile(delays, 99),
        "ms",
        goal=f"p99 ≤ {KEY_MS:g} ms",
        met=percentile(delays, 99) <= KEY_MS,
        note=f"{KEYS} keys, p50 {percentile(delays, 50):.0f} ms",
    )
    ages = clock_ages(terminal, start, held)
    yield Figure(
        f"{where}: age of the screen, max",
        max(ages),
        "s",
        goal=f"≤ {OLD_S:g} s",
        met=max(ages) <= OLD_S,
        note=f"p50 {percentile(ages, 50):.1f} s",
    )
    ages = clock_ages(terminal, held, released + SETTLE_S)
    yield Figure(f"{where}: the same, a key held for 3 s", max(ages), "s")
    yield Figure(
        f"{where}: engine late, max",
        max(late),
        "ms",
        goal="never late",
        met=max(late) <= NEVER_LATE_MS,
        note=f"p99 {percentile(late, 99):.2f} ms",
    )


def clock_ages(terminal: TimedTerminal, start: float, end: float) -> list[float]:
    """How many seconds old the clock was, each time that something came between two times."""
    unix = time.time() - time.perf_counter()
    found: list[float] = []
    for came, screen in terminal.screens():
        if start <= came < end and (shown := CLOCK.search(screen.display[0])):
            moment = datetime.strptime(f"{shown[1]} +0000", "%Y-%m-%d %H:%M:%S %z")
            found.append(came + unix - moment.timestamp())
    return found or [float("inf")]
