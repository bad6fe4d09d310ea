"""Keeps the kill switch's file as the machine has it, and trips it where the file is made."""

import asyncio
import logging
from collections.abc import Callable

from engine.core.events import KillSwitchState
from engine.core.text import clean
from engine.ops.latch import KillLatch

LOOK_S = 0.25

log = logging.getLogger(__name__)


class LatchKeeper:
    """`durable` says whether the file is as the switch is.

    `kill` answers the machine's switch, `trip` trips it, `tell` shows the operator an error. The
    file is written in the order of the changes; what fails is tried again at each look.
    """

    def __init__(
        self,
        latch: KillLatch,
        kill: Callable[[], KillSwitchState],
        trip: Callable[[str], None],
        tell: Callable[[str], None],
    ) -> None:
        self._latch = latch
        self._kill = kill
        self._trip = trip
        self._tell = tell
        self._changes = 0
        self._fault = ""
        self.durable = True

    def write(self) -> None:
        """Make or remove the file, as the switch is now."""
        kill = self._kill()
        self._changes += 1
        self.durable = False
        text = f"{kill.source}: {kill.reason}"
        change = self._latch.set(text) if kill.tripped else self._latch.clear()
        change.add_done_callback(self._written)

    def _written(self, change: asyncio.Future[None]) -> None:
        if change.cancelled():
            return
        error = change.exception()
        self.durable = error is None
        fault = clean(str(error)) if error else ""
        if fault and fault != self._fault:
            log.error("the kill switch is not on disk: %s", fault)
            self._tell(f"the kill switch is not on disk yet: {fault}")
        self._fault = fault

    async def watch(self) -> None:
        """Trip where somebody makes the file; write or remove it where that is still to be done."""
        while True:
            changes = self._changes
            is_set = await self._latch.look()
            if changes == self._changes:
                tripped = self._kill().tripped
                if is_set and not tripped:
                    self._trip(f"{self._latch.path} is there")
                elif is_set != tripped or not self.durable:
                    self.write()
            await asyncio.sleep(LOOK_S)
