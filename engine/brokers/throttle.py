"""How many requests a venue takes, and room among them for cancels."""

from collections.abc import Callable

from engine.brokers.base import RateLimited, Room


class TokenBucket:
    """Up to `burst` requests at once, and `rate` a second from then on.

    The last `reserved` of them are for cancels alone: what else is asked for leaves them, so that a
    cancel never waits behind it. `clock` is in seconds and never runs backwards, as
    `time.monotonic`; a request may count for several, as its venue weighs it (`cost`).
    """

    def __init__(
        self, rate: float, burst: float, reserved: float, clock: Callable[[], float]
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._reserved = reserved
        self._clock = clock
        self._tokens = burst
        self._filled_at = clock()
        self._shut_until = self._filled_at

    def wait_s(self, cost: float = 1.0, *, cancel: bool = False) -> float:
        """In how many seconds a request may leave; 0 for now. One that costs more than the bucket
        ever has may leave once it is full."""
        now = self._fill()
        least = min(cost, self._burst) if cancel else min(cost + self._reserved, self._burst)
        return max(self._shut_until - now, (least - self._tokens) / self._rate, 0.0)

    def take(self, cost: float = 1.0, *, cancel: bool = False) -> None:
        """Count a request that leaves now. Raises RateLimited, with the time to wait, where there
        is no room for it; nothing is counted then."""
        if wait_s := self.wait_s(cost, cancel=cancel):
            raise RateLimited(f"too many requests; the next in {wait_s:.1f} s", wait_s)
        self._tokens -= cost

    def shut(self, seconds: float) -> None:
        """The venue said to wait so long: nothing leaves until then, cancels neither."""
        self._shut_until = max(self._shut_until, self._clock() + seconds)

    def room(self) -> Room:
        """How much is left now; what is reserved for cancels is part of it."""
        now = self._fill()
        return Room(max(self._tokens, 0.0), self._burst, max(self._shut_until - now, 0.0))

    def _fill(self) -> float:
        """Let in what has come since; the time."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return now
