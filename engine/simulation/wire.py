"""The lines between the process and its venues."""

from collections.abc import Callable, Iterable, Mapping
from random import Random

from engine.core.model import Instrument, Order
from engine.simulation.schedule import Schedule
from engine.simulation.venue import Venue


class Wire:
    """Routes orders to the venue of their instrument, in simulated time."""

    def __init__(
        self,
        schedule: Schedule,
        random: Random,
        venues: Mapping[str, Venue],
        instruments: Iterable[Instrument],
    ) -> None:
        self._schedule = schedule
        self._random = random
        self.venues = venues
        self._venue_of = {i.symbol: venues[i.venue] for i in instruments}

    @property
    def now(self) -> int:
        return self._schedule.now

    def venue(self, order: Order) -> Venue:
        return self._venue_of[order.symbol]

    def soon(self, action: Callable[[], None]) -> None:
        self._schedule.after(self._random.randint(1_000, 3_000_000), action)
