"""How many requests a venue takes, and room among them for cancels."""

import math
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager

from engine.brokers.base import RateLimited, Room


class TokenBucket:
    """Up to `burst` requests at once, and `rate` a second from then on; with `window_s` never more
    than `burst` in any so many seconds, for a venue that counts so.

    The last `reserved` of them are for cancels alone: what else is asked for leaves them, so that a
    cancel never waits behind it; and where cancels wait `in_line`, all else waits behind those.
    `clock` is in seconds and never runs backwards, as `time.monotonic`; a request may count for
    several, as its venue weighs it (`cost`).
    """

    def __init__(
        self,
        rate: float,
        burst: float,
        reserved: float,
        clock: Callable[[], float],
        window_s: float = 0.0,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._reserved = reserved
        self._clock = clock
        self._window_s = window_s
        self._recent: deque[tuple[float, float]] = deque()
        self._line: dict[object, float] = {}
        self._tokens = burst
        self._filled_at = clock()
        self._shut_until = self._filled_at

    def wait_s(
        self, cost: float = 1.0, *, cancel: bool = False, place: object | None = None
    ) -> float:
        """In how many seconds a request may leave; 0 for now. One that costs more than the bucket
        ever has may leave once it is full. `place` is that of a cancel in the line."""
        now = self._fill()
        least = min(cost, self._burst) if cancel else min(cost + self._reserved, self._burst)
        least += self._before(place)
        by_rate = (least - self._tokens) / self._rate
        return max(self._shut_until - now, by_rate, self._window_wait_s(least, now), 0.0)

    def take(self, cost: float = 1.0, *, cancel: bool = False, place: object | None = None) -> None:
        """Count a request that leaves now. Raises RateLimited, with the time to wait, where there
        is no room for it; nothing is counted then."""
        self.check(cost, cancel=cancel, place=place)
        self._tokens -= cost
        if self._window_s:
            self._recent.append((self._filled_at, cost))

    def check(
        self, cost: float = 1.0, *, cancel: bool = False, place: object | None = None
    ) -> None:
        """As `take`, but nothing leaves yet."""
        if wait_s := self.wait_s(cost, cancel=cancel, place=place):
            raise RateLimited(f"too many requests; the next in {wait_s:.1f} s", wait_s)

    @contextmanager
    def in_line(self, cost: float) -> Generator[object]:
        """The place of a cancel behind those that wait already, until the end of the block."""
        place = object()
        self._line[place] = cost
        try:
            yield place
        finally:
            del self._line[place]

    def shut(self, seconds: float) -> None:
        """The venue said to wait so long: nothing leaves until then, cancels neither."""
        self._shut_until = max(self._shut_until, self._clock() + seconds)

    def room(self) -> Room:
        """How much is left now; what is reserved for cancels is part of it."""
        now = self._fill()
        left = min(self._tokens, self._free(now)) if self._window_s else self._tokens
        shut_s = max(self._shut_until - now, 0.0)
        return Room(max(left, 0.0), self._burst, shut_s, self._cancels_s(now))

    def _cancels_s(self, now: float) -> float:
        """In how many seconds the last of the cancels in the line leaves; 0 where none waits."""
        waiting = self._before(None)
        if not waiting:
            return 0.0
        by_rate = (waiting - self._tokens) / self._rate
        windows = math.ceil(waiting / self._burst) - 1 if self._window_s else 0
        by_window = self._window_wait_s(waiting - windows * self._burst, now)
        return max(self._shut_until - now, by_rate, by_window + windows * self._window_s, 0.0)

    def _before(self, place: object | None) -> float:
        """What the cancels cost that come before `place`; all that wait, for what is not there."""
        total = 0.0
        for waiting, cost in self._line.items():
            if waiting is place:
                break
            total += cost
        return total

    def _window_wait_s(self, least: float, now: float) -> float:
        """In how many seconds the window has room for so much, or is empty."""
        free, wait_s = self._free(now), 0.0
        for at, cost in self._recent:
            if free >= least:
                break
            free += cost
            wait_s = at + self._window_s - now
        return wait_s

    def _free(self, now: float) -> float:
        """What may leave within the window; what left before it is forgotten."""
        while self._recent and self._recent[0][0] + self._window_s <= now:
            self._recent.popleft()
        return self._burst - sum(cost for _, cost in self._recent)

    def _fill(self) -> float:
        """Let in what has come since; the time."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return now
