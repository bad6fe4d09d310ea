"""The only writer of the database while the engine runs: intents first, then the rest."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from engine.core.events import Event, IntentCommitted, IntentFailed, StoreChanged
from engine.core.model import Order
from engine.store import StoreUnavailable
from engine.store.repository import Repository

BATCH = 100
RETRY_S = 1.0
PAUSE_S = 0.003
FACTS_KEPT = 200_000

log = logging.getLogger(__name__)


class StoreWriter:
    """Writes what the machine emits, and answers each intent with IntentCommitted or IntentFailed.

    While the database is out of reach intents fail at once, so no order leaves; facts wait and are
    written when it is back. Where more than `FACTS_KEPT` wait, `overflow` is called.
    """

    def __init__(
        self, repository: Repository, publish: Callable[[Event], None], overflow: Callable[[], None]
    ) -> None:
        self._repository = repository
        self._publish = publish
        self._overflow = overflow
        self._intents: deque[Order] = deque()
        self._batches: deque[list[Event]] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._waiting = 0
        self._available = True

    @property
    def waiting(self) -> int:
        """How many facts are not on disk yet."""
        return self._waiting

    def commit(self, order: Order) -> None:
        self._intents.append(order)
        self._start()

    def record(self, facts: list[Event]) -> None:
        """Write the facts of one input, in one transaction."""
        self._batches.append(facts)
        self._waiting += len(facts)
        self._start()
        if self._waiting > FACTS_KEPT:
            self._overflow()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._intents:
                await self._pause()
            await self._write_all()
            if not self._batches:
                self._idle.set()

    async def _pause(self) -> None:
        """Facts wait a moment: an intent often follows, and would wait for them."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE_S):
                while not self._intents:
                    await self._wake.wait()
                    self._wake.clear()

    async def flush(self) -> None:
        """Wait until all that was given is on disk."""
        await self._idle.wait()

    def _start(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def _write_all(self) -> None:
        while self._intents or self._batches:
            while self._intents:
                await self._commit()
            if self._batches and not await self._record():
                asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)
                return

    async def _commit(self) -> None:
        """Commit the oldest intents, and let their orders leave before anything else is written."""
        orders = [self._intents.popleft() for _ in range(min(len(self._intents), BATCH))]
        try:
            new = set(await self._repository.commit_intents(orders))
        except StoreUnavailable as error:
            self._set_available(False, str(error))
            for order in orders:
                self._publish(IntentFailed(order.client_order_id, str(error)))
        else:
            self._set_available(True)
            for order in orders:
                self._publish(_answer(order.client_order_id, new))
        await asyncio.sleep(0)

    async def _record(self) -> bool:
        """Write the oldest batches; False where the database is out of reach."""
        facts: list[Event] = []
        batches = 0
        for batch in self._batches:
            if facts and len(facts) + len(batch) > BATCH:
                break
            facts += batch
            batches += 1
        try:
            await self._repository.record(facts)
        except StoreUnavailable as error:
            self._set_available(False, str(error))
            return False
        for _ in range(batches):
            self._batches.popleft()
        self._waiting -= len(facts)
        self._set_available(True)
        return True

    def _set_available(self, available: bool, reason: str = "") -> None:
        if available != self._available:
            self._available = available
            log.warning("database %s", "is back" if available else f"is out of reach: {reason}")
            self._publish(StoreChanged(available, reason))


def _answer(client_order_id: str, new: set[str]) -> Event:
    """The first of the same id is the one that was new."""
    if client_order_id in new:
        new.remove(client_order_id)
        return IntentCommitted(client_order_id)
    reason = "an order was made from this decision before"
    return IntentFailed(client_order_id, reason, duplicate=True)
