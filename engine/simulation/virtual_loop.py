"""An event loop on which time passes by itself and chance decides who runs next.

The clock goes straight to the next timer; of what is ready, the seed picks one at a time; what
would run on a thread runs at once. So the same seed gives the same order, and where nothing is
scheduled any more everybody waits for everybody: Deadlock is raised.
"""

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from random import Random
from typing import Any, cast


class Deadlock(Exception):
    """Nothing is ready, and no timer is set."""


class Crash(BaseException):
    """The process dies here."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """`steps` counts what has run; at the step `crash_at` it raises Crash instead."""

    def __init__(self, random: Random, crash_at: int = 0) -> None:
        self._virtual = 0.0
        self._random = random
        self._idle = _Idle(self)
        self.steps = 0
        self.crash_at = crash_at
        super().__init__(self._idle)

    def time(self) -> float:
        return self._virtual

    def time_ns(self) -> int:
        return round(self._virtual * 1e9)

    def crash(self) -> None:
        """Die before the next step."""
        self.crash_at = self.steps + 1

    def pass_time(self, seconds: float) -> None:
        self._virtual += seconds

    def _run_once(self) -> None:
        """One of those that are ready runs; the others wait for the next turn."""
        self.steps += 1
        if self.steps == self.crash_at:
            raise Crash
        # asyncio offers no other way to choose who is next.
        ready = cast("deque[asyncio.Handle]", vars(self)["_ready"])
        chosen = self._random.randrange(len(ready)) if ready else 0
        ready.rotate(-chosen)
        others = [ready.pop() for _ in range(len(ready) - 1)]
        super()._run_once()  # type: ignore[misc]
        ready.extend(reversed(others))

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class _Idle(selectors.BaseSelector):
    """Waits for no file: it lets the time pass for which it is asked to wait."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, 0, events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("nothing is scheduled any more")
        self._loop.pass_time(max(timeout, 0.0))
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys
