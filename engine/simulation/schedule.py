"""Simulated time: what is to happen, in the order of its time."""

from collections.abc import Callable
from heapq import heappop, heappush


class Schedule:
    """A heap of (time, number, action); what falls on the same time happens in the order in which
    it was put here. Times in ns UTC."""

    def __init__(self, now: int) -> None:
        self.now = now
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0

    def after(self, delay: int, action: Callable[[], None]) -> None:
        self._number += 1
        heappush(self._heap, (self.now + delay, self._number, action))

    def run(self, until: int) -> None:
        """Let everything happen that is due before `until`, and what comes of it."""
        while self._heap and self._heap[0][0] < until:
            self.now, _, action = heappop(self._heap)
            action()
        self.now = until
