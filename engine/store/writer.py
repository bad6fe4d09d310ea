"""The only writer of the database while the engine runs: intents first, then the rest."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from engine.core.events import Event, IntentCommitted, IntentFailed, StoreChanged
from engine.core.model import Order
from engine.store import DuplicateIntent, StoreUnavailable
from engine.store.repository import Repository

BATCH = 100
RETRY_S = 1.0
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
            await self._write_all()
            if not self._batches:
                self._idle.set()

    async def flush(self) -> None:
        """Wait until all that was given is on disk."""
        await self._idle.wait()

    def _start(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def _write_all(self) -> None:
        while self._intents or self._batches:
            while self._intents:
                await self._commit(self._intents.popleft())
            if self._batches and not await self._record():
                asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)
                return

    async def _commit(self, order: Order) -> None:
        key = order.client_order_id
        try:
            await self._repository.commit_intent(order)
        except DuplicateIntent:
            reason = "an order was made from this decision before"
            self._publish(IntentFailed(key, reason, duplicate=True))
        except StoreUnavailable as error:
            self._set_available(False, str(error))
            self._publish(IntentFailed(key, str(error)))
        else:
            self._set_available(True)
            self._publish(IntentCommitted(key))

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
