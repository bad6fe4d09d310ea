"""Time that does not wait: where nothing happens, clock and loop go on to what is due next.

A server on loopback has answered before the loop looks again, so what is waited for then is a
time-out, a pause or a deadline. Work on threads takes the time that it takes.
"""

import asyncio
import selectors
import time
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

T = TypeVar("T")

IDLE_S = 0.0002
"""So long nothing has to happen for time to be skipped."""
SKIP_S = 0.05
"""The most that is skipped at once: who is late is given many chances before a time-out."""


class Haste:
    """How far the clock is ahead (`skipped_s`), and what is at work on threads."""

    def __init__(self) -> None:
        self.skipped_s = 0.0
        self._work: list[Future[Any]] = []

    @property
    def is_working(self) -> bool:
        self._work = [work for work in self._work if not work.done()]
        return bool(self._work)

    @contextmanager
    def everywhere(self) -> Generator[None]:
        """Within the block this is what the computer's clocks say."""
        real, real_ns = time.time, time.time_ns
        monotonic, monotonic_ns = time.monotonic, time.monotonic_ns
        submit = ThreadPoolExecutor.submit

        def counted(
            executor: ThreadPoolExecutor, work: Callable[..., Any], *given: Any, **named: Any
        ) -> Future[Any]:
            self._work.append(submit(executor, work, *given, **named))
            return self._work[-1]

        with (
            patch.object(time, "time", lambda: real() + self.skipped_s),
            patch.object(time, "time_ns", lambda: real_ns() + round(self.skipped_s * 1e9)),
            patch.object(time, "monotonic", lambda: monotonic() + self.skipped_s),
            patch.object(
                time, "monotonic_ns", lambda: monotonic_ns() + round(self.skipped_s * 1e9)
            ),
            patch.object(ThreadPoolExecutor, "submit", counted),
        ):
            yield


class _Selector(selectors.DefaultSelector):
    def __init__(self, haste: Haste) -> None:
        super().__init__()
        self._haste = haste

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= IDLE_S or self._haste.is_working:
            return super().select(timeout)
        ready = super().select(IDLE_S)
        if not ready and not self._haste.is_working:
            self._haste.skipped_s += min(timeout - IDLE_S, SKIP_S)
        return ready


def run_in_haste(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` comes to, on a loop of its own, and in little time."""
    haste = Haste()

    async def runs() -> T:
        return await work()

    with (
        haste.everywhere(),
        asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_Selector(haste))) as runner,
    ):
        return runner.run(runs())


class HastePolicy(asyncio.DefaultEventLoopPolicy):
    """All loops are in `haste`."""

    def __init__(self, haste: Haste) -> None:
        super().__init__()
        self._haste = haste

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(_Selector(self._haste))


@contextmanager
def hasty() -> Generator[HastePolicy]:
    """For the tests of a module: a fixture of pytest-asyncio's name `event_loop_policy` that yields
    this."""
    haste = Haste()
    with haste.everywhere():
        yield HastePolicy(haste)
