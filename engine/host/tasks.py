"""Tasks that nobody waits for: none is lost, and none fails unheard."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """Runs coroutines side by side; one that fails ends no other.

    `failed` is told of each that ends with an error, or is cancelled by anyone but `close`: what it
    was to do may not be done.
    """

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self._running: set[asyncio.Task[None]] = set()
        self._closing = False

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """Cancel what still runs, and wait for its end."""
        self._closing = True
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            if error := task.exception():
                self._failed(error)
        elif not self._closing:
            name = getattr(task.get_coro(), "__qualname__", "a task")
            self._failed(RuntimeError(f"{name} was cancelled"))
