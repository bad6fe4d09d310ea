"""Keeps the kill switch's file as the machine has it, and trips it where the file is made."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from msgspec import structs

from engine.core.events import (
    KillFileChanged,
    KillPart,
    KillSwitchState,
    RaiseAlert,
    TripKillSwitch,
)
from engine.core.model import Part
from engine.core.text import clean
from engine.ops.latch import KillLatch, KillRequest, Seen

LOOK_S = 0.25
SOURCE = "tradebot kill"

log = logging.getLogger(__name__)


class LatchKeeper:
    """`durable` says whether the file is as the switch is.

    `kill` answers the machine's switch, `unknown` why there is no such part of the trading,
    `publish` gives the machine an input, `tell` shows the operator an error. The file is written in
    the order of the changes; what fails is tried again at each look.
    """

    def __init__(
        self,
        latch: KillLatch,
        kill: Callable[[], KillSwitchState],
        unknown: Callable[[Part], str],
        publish: Callable[[KillFileChanged | KillPart | RaiseAlert | TripKillSwitch], None],
        tell: Callable[[str], None],
    ) -> None:
        self._latch = latch
        self._kill = kill
        self._unknown = unknown
        self._publish = publish
        self._by_hand = False
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
            seen = await self._latch.look()
            self._hear(seen)
            if changes == self._changes:
                tripped = self._kill().tripped
                if seen.latched and not tripped:
                    self._trip("file", f"{self._latch.files.latch} is there")
                elif seen.latched != tripped or not self.durable:
                    self.write()
            await asyncio.sleep(LOOK_S)

    def hear_now(self) -> None:
        """Trip where that was asked for while no engine ran. It waits for the disk. Who asked to
        kill a part that is not there has gone: an alert says that it was not done."""
        seen = self._latch.look_now()
        self._hear(seen)
        if refused := [told for request in seen.requests.values() if (told := self._told(request))]:
            self._publish(RaiseAlert("kill-refused", "; ".join(refused)))
        if seen.latched and not self._kill().tripped:
            self._trip("file")

    def _hear(self, seen: Seen) -> None:
        """What a person or another program asks for."""
        if seen.by_hand != self._by_hand:
            self._by_hand = seen.by_hand
            self._publish(KillFileChanged(seen.by_hand, str(self._latch.files.by_hand)))
        for path, request in seen.requests.items():
            self._answer(path, request).add_done_callback(_forget)

    def _told(self, request: KillRequest) -> str:
        """That the part which is to be killed is not there; empty where it is."""
        part = request.part
        unknown = self._unknown(part) if part else ""
        asked = clean(f"{request.author} asked to kill {part}")
        return f"{asked}, and nothing was killed: {unknown}" if unknown else ""

    def _answer(self, path: Path, request: KillRequest) -> "asyncio.Future[None]":
        author, reason, action, part = structs.astuple(request)
        trip = TripKillSwitch(author=author, source=SOURCE, reason=reason, action=action)
        if part is None:
            self._publish(trip)
            return self._latch.answer(path)
        refused = self._unknown(part)
        self._publish(
            KillPart(part=part, author=author, source=SOURCE, reason=reason, action=action)
        )
        return self._latch.refuse(path, refused) if refused else self._latch.answer(path)

    def _trip(self, source: str, reason: str = "") -> None:
        self._publish(TripKillSwitch(source=source, reason=reason))


def _forget(removal: asyncio.Future[None]) -> None:
    """A request that cannot be removed is heard again at the next look."""
    if not removal.cancelled():
        removal.exception()
