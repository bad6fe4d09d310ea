"""The writer of the simulated database: intents first, then facts, one write at a time.

What waits here is in memory: a crash loses it. The write that is under way at a crash may be on
disk or not.
"""

from collections import deque
from collections.abc import Callable
from random import Random

from engine.core.events import Event, IntentCommitted, IntentFailed, StoreChanged
from engine.core.model import NANOS, Order
from engine.simulation.database import Database
from engine.simulation.options import Fault
from engine.simulation.schedule import Schedule

RETRY = NANOS
LONGEST_WRITE = 20_000_000
SLOWEST_WRITE = 4 * NANOS


class Writer:
    """Of one life of the process: `end` is its crash. As `engine.store.writer.StoreWriter` it
    fails intents at once while the database is down, and keeps facts until it is back."""

    def __init__(
        self,
        database: Database,
        schedule: Schedule,
        random: Random,
        chance: Callable[[Fault], bool],
        is_down: Callable[[], bool],
        publish: Callable[[Event], None],
    ) -> None:
        self._database = database
        self._schedule = schedule
        self._random = random
        self._chance = chance
        self._is_down = is_down
        self._publish = publish
        self._intents: deque[Order] = deque()
        self._batches: deque[list[Event]] = deque()
        self._latches: deque[bool] = deque()
        self._writing: Callable[[], bool] | None = None
        self._available = True
        self._ended = False

    @property
    def waiting(self) -> int:
        return sum(map(len, self._batches)) + len(self._intents)

    def commit(self, order: Order) -> None:
        self._intents.append(order)
        self._start()

    def record(self, facts: list[Event]) -> None:
        self._batches.append(facts)
        self._start()

    def latch(self, tripped: bool) -> None:
        """Write the latch file, or remove it: on a thread of its own, in order."""
        self._latches.append(tripped)
        self._schedule.after(self._delay(), self._latch)

    def end(self) -> None:
        """The process dies. The write under way reached the disk, or not."""
        self._ended = True
        if self._is_down() or self._random.random() < 0.5:
            return
        if self._writing == self._commit:
            self._database.commit_intent(self._intents[0])
        elif self._writing == self._record:
            self._database.record(self._batches[0])

    def _latch(self) -> None:
        if not self._ended:
            self._database.latched = self._latches.popleft()

    def _delay(self) -> int:
        slow = self._chance(Fault.SLOW_DISK)
        return self._random.randint(100_000, SLOWEST_WRITE if slow else LONGEST_WRITE)

    def _start(self) -> None:
        if self._writing is None and (self._intents or self._batches):
            self._writing = self._commit if self._intents else self._record
            self._schedule.after(self._delay(), self._write)

    def _write(self) -> None:
        if self._ended or self._writing is None:
            return
        write, self._writing = self._writing, None
        if write():
            self._start()
        else:
            self._schedule.after(RETRY, self._start)

    def _commit(self) -> bool:
        order = self._intents.popleft()
        key = order.client_order_id
        if self._is_down():
            self._set_available(False)
            self._publish(IntentFailed(key, "database is locked"))
        elif self._database.commit_intent(order):
            self._set_available(True)
            self._publish(IntentCommitted(key))
        else:
            self._publish(IntentFailed(key, "made before", duplicate=True))
        return True

    def _record(self) -> bool:
        if self._is_down():
            self._set_available(False)
            return False
        self._database.record(self._batches.popleft())
        self._set_available(True)
        return True

    def _set_available(self, available: bool) -> None:
        if available != self._available:
            self._available = available
            self._publish(StoreChanged(available, "" if available else "database is locked"))
