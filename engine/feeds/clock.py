"""Market time: the computer's own, or a recording's."""

import time
from collections.abc import Callable
from math import ceil
from typing import Protocol

NanosecondSource = Callable[[], int]

FOLLOWS = 10
"""A clock that was set is followed by one part in so many of the time that passes."""


class Clock(Protocol):
    """Market time, `speed` times as fast as real time; 0 is as fast as possible."""

    @property
    def speed(self) -> float: ...

    def now(self) -> int:
        """Market time in nanoseconds UTC; never less than before."""
        ...


class SystemClock:
    """The computer's UTC time, which neither runs backwards nor jumps.

    It goes by the monotonic clock, so that time-outs take as long as they say; where the computer's
    clock is set, it follows at nine or eleven tenths of its rate.
    """

    speed = 1.0

    def __init__(
        self,
        wall: NanosecondSource = time.time_ns,
        monotonic: NanosecondSource = time.monotonic_ns,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._last = wall()
        self._read_at = monotonic()

    def now(self) -> int:
        read_at = self._monotonic()
        passed = read_at - self._read_at
        behind = self._wall() - (self._last + passed)
        most = passed // FOLLOWS
        self._last += passed + max(-most, min(most, behind))
        self._read_at = read_at
        return self._last


class ReplayClock:
    """Market time of a recording: `speed` times as fast as `wall` (a monotonic clock in ns).

    Market time goes no further than `hold_at` allows, which a feed sets to its next event: so the
    events of a recording have the same times at every speed, however late the engine is. With speed
    0 (as fast as possible) it is there at once. `run_on` lets it go once there is no next event.
    """

    def __init__(
        self, start: int, speed: float, wall: NanosecondSource = time.monotonic_ns
    ) -> None:
        self.speed = speed
        self.paused = False
        self._runs_on = False
        self._wall = wall
        self._market = self._limit = start
        self._anchor = wall()

    def now(self) -> int:
        if self.paused:
            return self._market
        limit = max(self._limit, self._market)
        passed = self._market + int((self._wall() - self._anchor) * self.speed)
        if self._runs_on:
            return passed
        return min(limit, passed) if self.speed else limit

    def hold_at(self, ts: int) -> None:
        """Let market time run up to `ts`."""
        self._limit = max(ts, self._limit)

    def advance_to(self, ts: int) -> None:
        """Jump to `ts`, or stay where that is in the past, and run on from there."""
        self._market = max(ts, self.now())
        self._anchor = self._wall()

    def pause(self) -> None:
        self.advance_to(self.now())
        self.paused = True

    def resume(self) -> None:
        if self.paused:
            self._anchor = self._wall()
            self.paused = False

    def set_speed(self, speed: float) -> None:
        self.advance_to(self.now())
        self.speed = speed

    def run_on(self) -> None:
        """Go on as `wall` does, without a limit: what has a deadline must reach it."""
        self.set_speed(1)
        self.resume()
        self._runs_on = True

    def wall_until(self, ts: int) -> int | None:
        """Nanoseconds of `wall` until market time reaches `ts`; None while it stands still."""
        if self.paused:
            return None
        if not self.speed:
            return 0
        return max(0, ceil((ts - self._market) / self.speed) - (self._wall() - self._anchor))
