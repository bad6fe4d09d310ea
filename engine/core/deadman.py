"""The dead-man's switch: nobody there to stop the engine is a reason to stop it."""

from collections.abc import Callable

from engine.core.bus import Bus
from engine.core.events import (
    ChangeCommander,
    ClockTick,
    Command,
    OperatorSilent,
    TripKillSwitch,
)
from engine.core.model import NANOS

WARN_AT = 0.8
"""The share of the time at which the operator is warned."""


class DeadMansSwitch:
    """Trips the kill switch once no command has come for `limit` ns of the operator's time, which
    in a replay is not the market's; 0 is off. Trips of the kill switch are no sign of life, nor
    is a console that gets the command: most come from no person.
    """

    def __init__(self, bus: Bus, limit: int, trip: Callable[[str, str], None]) -> None:
        self._bus = bus
        self._trip = trip
        self.limit = limit
        self.uptime = 0
        self.seen = 0
        self.warned = False
        self.tripped = False

    @property
    def remaining(self) -> int | None:
        """Nanoseconds until it trips, as of the last tick; None where it is off."""
        return max(0, self.limit - self._silent) if self.limit else None

    def on_tick(self, event: ClockTick) -> None:
        self.uptime = max(self.uptime, event.uptime)
        if self._silent >= self.limit and not self.tripped:
            self.tripped = True
            self._trip("dead-man's switch", f"no sign of life for {self._silent // NANOS} s")
        elif self._silent >= self.limit * WARN_AT and not self.warned:
            self.warned = True
            self._bus.publish(OperatorSilent(self._silent, self.limit))

    def on_command(self, event: Command) -> None:
        if not isinstance(event, TripKillSwitch | ChangeCommander):
            self.seen = self.uptime
            self.warned = self.tripped = False

    @property
    def _silent(self) -> int:
        return self.uptime - self.seen
