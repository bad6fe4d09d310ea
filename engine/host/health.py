"""How late the engine's loop is, what keeps it in time, and how long it waits for others."""

import asyncio
import gc
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager

PULSE_S = 0.02
PULSES_KEPT = 500
ANSWERS_KEPT = 500
EVENTS_OVER_S = 5.0
SETTLED_S = 5.0
"""From then on a start makes nothing any more."""
BEHIND_S = 0.05
"""A loop that is later than this does not follow."""


@contextmanager
def apart_from_start() -> Generator[None]:
    """Keep Python's garbage collector from what a start makes and the engine keeps to its end: to
    look through that would stop the loop, and a kill, for a tenth of a second. What comes later is
    looked through in a few milliseconds, as the engine's values are none of its concern."""
    gc.collect()
    gc.freeze()
    settled = asyncio.get_running_loop().call_later(SETTLED_S, gc.freeze)
    try:
        yield
    finally:
        settled.cancel()
        gc.unfreeze()


class Pulse:
    """Measures by a timer how late the loop is: the delay of its last turns. `is_behind` says that
    the last one was too late."""

    def __init__(self) -> None:
        self.is_behind = False
        self._late: deque[float] = deque(maxlen=PULSES_KEPT)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PULSE_S
            await asyncio.sleep(PULSE_S)
            late = loop.time() - due
            self._late.append(late)
            self.is_behind = late > BEHIND_S

    @property
    def lateness_ms(self) -> float:
        """The 99th percentile of the delays of the last seconds, 0 before the first."""
        return percentile(sorted(self._late), 0.99) * 1000 if self._late else 0.0

    @property
    def worst_ms(self) -> float:
        """The longest of the delays of the last seconds, 0 before the first."""
        return max(self._late, default=0.0) * 1000


class AnswerTimes:
    """How long the last `ANSWERS_KEPT` requests took to be answered."""

    def __init__(self) -> None:
        self._taken: deque[float] = deque(maxlen=ANSWERS_KEPT)
        self._sorted: list[float] = []

    def add(self, seconds: float) -> None:
        self._taken.append(seconds)
        self._sorted = []

    @property
    def count(self) -> int:
        return len(self._taken)

    def ms(self, share: float) -> float | None:
        """The time within which that share of them was answered; None before the first."""
        if not self._taken:
            return None
        self._sorted = self._sorted or sorted(self._taken)
        return percentile(self._sorted, share) * 1000


class Throughput:
    """How many events come in a second."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, now: float, events: int) -> float | None:
        """Events in each of the last `EVENTS_OVER_S` seconds, when there were `events` at `now`
        (monotonic seconds); None in the first second."""
        self._seen.append((now, events))
        while now - self._seen[0][0] > EVENTS_OVER_S:
            self._seen.popleft()
        since, before = self._seen[0]
        return (events - before) / (now - since) if now - since >= 1 else None


def percentile(ascending: Sequence[float], share: float) -> float:
    """The value below which that share of the values is; there is at least one."""
    return ascending[min(int(len(ascending) * share), len(ascending) - 1)]
