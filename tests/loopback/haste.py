"""Time that does not wait: where nothing happens, clock and loop go on to what is due next.

A server on loopback has answered before the loop looks again, so what is waited for then is a
time-out, a pause or a deadline. Work on threads, the database's too, takes the time that it takes.
"""

import asyncio
import selectors
import ssl
import time
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from queue import SimpleQueue
from typing import Any, TypeVar
from unittest.mock import patch

import aiosqlite.core

T = TypeVar("T")

create_context = cache(ssl.create_default_context)
"""Nothing is encrypted here: the certificates of the world are read once, and not for each
client."""

SKIP_S = 0.05
"""The most that is skipped at once: who is late is given many chances before a time-out."""
IDLE_S = 0.0002
"""So long it is waited in truth before every `TENTH` skip: for what the kernel has still to do."""
TENTH = 10


class Haste:
    """How far the clock is ahead (`skipped_s`), and what is at work on threads."""

    def __init__(self) -> None:
        self.skipped_s = 0.0
        self._work: list[Future[Any] | asyncio.Future[Any]] = []

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
            future = submit(executor, work, *given, **named)
            self._work.append(future)
            return future

        class Counted(SimpleQueue[Any]):
            """What the thread of a database is to do: a future, and the work."""

            def put_nowait(_, item: tuple[asyncio.Future[Any] | None, object]) -> None:  # noqa: N805
                if item[0] is not None:
                    self._work.append(item[0])
                super().put_nowait(item)

        with (
            patch.object(time, "time", lambda: real() + self.skipped_s),
            patch.object(time, "time_ns", lambda: real_ns() + round(self.skipped_s * 1e9)),
            patch.object(time, "monotonic", lambda: monotonic() + self.skipped_s),
            patch.object(
                time, "monotonic_ns", lambda: monotonic_ns() + round(self.skipped_s * 1e9)
            ),
            patch.object(ThreadPoolExecutor, "submit", counted),
            patch.object(aiosqlite.core, "SimpleQueue", Counted),
            patch.object(ssl, "create_default_context", create_context),
        ):
            yield


class _Selector(selectors.SelectSelector):
    """Of the selectors the one that does not round a wait up to a millisecond."""

    def __init__(self, haste: Haste) -> None:
        super().__init__()
        self._haste = haste
        self._skips = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= IDLE_S or self._haste.is_working:
            return super().select(timeout)
        ready = super().select(0 if self._skips % TENTH else IDLE_S)
        if not ready and not self._haste.is_working:
            self._skips += 1
            self._haste.skipped_s += min(timeout, SKIP_S)
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
