"""The computer's clock against the market's time and the venues': one that was set is no reason to
trade."""

from engine.core.bus import Bus
from engine.core.events import ClockOff, ClockTick
from engine.core.model import NANOS

TELLS = NANOS
"""An offset (ns) from here on is told."""
STOPS = 5 * NANOS
"""Beyond this no entry is made: sessions, days and what a venue signs by are not sure."""


class ClockOffset:
    """Tells of an offset once, and again when it is gone."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.offset = 0
        self._told = False

    @property
    def objection(self) -> str:
        """Why no entry may be made; empty text where nothing stands against it."""
        if abs(self.offset) <= STOPS:
            return ""
        return f"the computer's clock is wrong: it is {self.offset / NANOS:+,.0f} s off"

    def on_tick(self, event: ClockTick) -> None:
        self.offset = event.clock_offset
        is_off = abs(self.offset) > TELLS
        if is_off != self._told:
            self._told = is_off
            self._bus.publish(ClockOff(self.offset if is_off else 0))
