"""The only writer of the database while the engine runs: intents first, then the rest."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from engine.core.events import Event, IntentCommitted, IntentFailed, StoreChanged
from engine.core.model import Bar, Order
from engine.store import StoreUnavailable
from engine.store.repository import NOTHING, Repository

BATCH = 100
RETRY_S = 1.0
PAUSE_S = 0.003
BACKLOG = 2_000
"""A recording waits while more facts do: what a stop still finds, it writes in its time."""
FACTS_KEPT = 200_000
BARS = 200
BARS_WAIT_S = 1.0
BARS_KEPT = 20_000

log = logging.getLogger(__name__)


def _nothing() -> None:
    """Nobody waits for the writer."""


class Batch(NamedTuple):
    """The facts of one input, and the fields of `AccountState` that no facts make."""

    facts: Sequence[Event]
    standing: Mapping[str, Any]


class StoreWriter:
    """Writes what the machine emits, and answers each intent with IntentCommitted or IntentFailed.

    While the database is out of reach intents fail at once, so no order leaves; facts wait and are
    written when it is back. `fell_behind` is called when more than `BACKLOG` wait, and `caught_up`
    when no longer so. Where more than `FACTS_KEPT` wait, `overflow` is called; none is let go, so
    whoever makes facts of market data must make no more while it `is_full`. Bars come last: those
    of the newest `bars_ns` are kept, none where that is 0, and where more than `BARS_KEPT` wait the
    oldest are let go.

    With `whole`, intents are committed in one transaction with all the facts before them: the
    database is then always as it was after one of the batches, whenever the process dies. It costs
    an order the time of that, so only what waits for its orders anyway, a recording, is so written.
    """

    def __init__(
        self,
        repository: Repository,
        publish: Callable[[Event], None],
        overflow: Callable[[], None],
        bars_ns: int = 0,
        fell_behind: Callable[[], None] = _nothing,
        caught_up: Callable[[], None] = _nothing,
        *,
        whole: bool = False,
    ) -> None:
        self._repository = repository
        self._publish = publish
        self._overflow = overflow
        self._intents: deque[Order] = deque()
        self._batches: deque[Batch] = deque()
        self._whole = whole
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._bars_ns = bars_ns
        self._bars: deque[Bar] = deque(maxlen=BARS_KEPT)
        self._saving: list[Bar] = []
        self._bars_due = False
        self._waiting = 0
        self._fell_behind = fell_behind
        self._caught_up = caught_up
        self._is_behind = False
        self._available = True

    @property
    def waiting(self) -> int:
        """How many facts are not on disk yet."""
        return self._waiting

    @property
    def is_full(self) -> bool:
        """Whether more facts wait than are to be kept."""
        return self._waiting > FACTS_KEPT

    def commit(self, order: Order) -> None:
        self._intents.append(order)
        self._start()

    def keep(self, bar: Bar) -> None:
        """Write a bar within a second or so, when nothing else is to be written."""
        if not self._bars_ns:
            return
        if not self._bars:
            asyncio.get_running_loop().call_later(BARS_WAIT_S, self._save_bars_now)
        self._bars.append(bar)
        if len(self._bars) == BARS:
            self._save_bars_now()

    def record(self, facts: Sequence[Event], standing: Mapping[str, Any] = NOTHING) -> None:
        """Write the facts of one input, and what stands after them, in one transaction."""
        self._batches.append(Batch(facts, standing))
        self._count(len(facts))
        self._start()
        if self.is_full:
            self._overflow()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._write_all()
            if not (self._batches or self._saving):
                self._idle.set()

    async def _pause(self) -> None:
        """Facts wait a moment, unless they are many: an intent often follows, and would wait for
        them; and what an order brings about goes to the disk at once."""
        if self._waiting >= BATCH:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE_S):
                while not self._intents:
                    await self._wake.wait()
                    self._wake.clear()

    async def flush(self) -> None:
        """Wait until all that was given is on disk."""
        self._save_bars_now()
        await self._idle.wait()

    def _save_bars_now(self) -> None:
        self._bars_due = True
        self._start()

    def _start(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def _write_all(self) -> None:
        while self._intents or self._batches or self._saving or (self._bars and self._bars_due):
            await self._pause()
            if self._intents:
                await self._commit()
                continue
            written = await self._record() if self._batches else await self._save_bars()
            if not written:
                asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)
                return
        self._bars_due = False

    async def _commit(self) -> None:
        """Commit the oldest intents, and let their orders leave before anything else is written."""
        orders = [self._intents.popleft() for _ in range(min(len(self._intents), BATCH))]
        batches = list(self._batches) if self._whole else []
        try:
            new = set(await self._repository.commit_intents(orders, *_together(batches)))
        except StoreUnavailable as error:
            self._lose(error, orders)
        else:
            self._forget(batches)
            self._set_available(True)
            for order in orders:
                self._publish(_answer(order.client_order_id, new))
        await asyncio.sleep(0)

    async def _record(self) -> bool:
        """Write the oldest batches; False where the database is out of reach."""
        batches: list[Batch] = []
        facts = 0
        for batch in self._batches:
            facts += len(batch.facts)
            if batches and facts > BATCH:
                break
            batches.append(batch)
        try:
            await self._repository.record(*_together(batches))
        except StoreUnavailable as error:
            self._lose(error)
            return False
        self._forget(batches)
        self._set_available(True)
        return True

    def _forget(self, batches: Sequence[Batch]) -> None:
        """These are on disk."""
        for _ in batches:
            self._count(-len(self._batches.popleft().facts))

    async def _save_bars(self) -> bool:
        """Write the oldest bars; False where the database is out of reach."""
        while self._bars and len(self._saving) < BARS:
            self._saving.append(self._bars.popleft())
        if not self._saving:
            return True
        try:
            await self._repository.save_bars(self._saving, self._saving[-1].ts - self._bars_ns)
        except StoreUnavailable as error:
            self._lose(error)
            return False
        self._saving.clear()
        self._set_available(True)
        return True

    def _count(self, facts: int) -> None:
        self._waiting += facts
        is_behind = self._waiting > BACKLOG
        if is_behind != self._is_behind:
            self._is_behind = is_behind
            (self._fell_behind if is_behind else self._caught_up)()

    def _lose(self, error: StoreUnavailable, orders: Sequence[Order] = ()) -> None:
        """The database is out of reach: deny `orders`, and every intent that waited for the call
        that failed; it has waited long enough."""
        reason = str(error)
        self._set_available(False, reason)
        denied = [*orders, *self._intents]
        self._intents.clear()
        for order in denied:
            self._publish(IntentFailed(order.client_order_id, reason))

    def _set_available(self, available: bool, reason: str = "") -> None:
        if available != self._available:
            self._available = available
            log.warning("database %s", "is back" if available else f"is out of reach: {reason}")
            self._publish(StoreChanged(available, reason))


def _together(batches: Iterable[Batch]) -> tuple[list[Event], dict[str, Any]]:
    """All facts, and what stands after the last of them."""
    facts: list[Event] = []
    standing: dict[str, Any] = {}
    for batch in batches:
        facts += batch.facts
        standing |= batch.standing
    return facts, standing


def _answer(client_order_id: str, new: set[str]) -> Event:
    """The first of the same id is the one that was new."""
    if client_order_id in new:
        new.remove(client_order_id)
        return IntentCommitted(client_order_id)
    reason = "an order was made from this decision before"
    return IntentFailed(client_order_id, reason, duplicate=True)
