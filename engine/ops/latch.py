"""The kill switch's file: a latch that needs no database, and a way to trip it from outside."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from engine.ops.files import make_private_folder, open_private

T = TypeVar("T")


class KillLatch:
    """While the file exists, the kill switch is tripped.

    The file is written and removed in order on a thread of its own, so that a hanging disk delays
    no cancel.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="latch")

    def is_set(self) -> bool:
        return self.path.exists()

    def look(self) -> "asyncio.Future[bool]":
        return self._run(self.is_set)

    def set(self, reason: str) -> "asyncio.Future[None]":
        return self._run(partial(self._write, reason))

    def clear(self) -> "asyncio.Future[None]":
        return self._run(partial(self.path.unlink, missing_ok=True))

    def close(self) -> None:
        self._executor.shutdown(wait=False)

    def _run(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _write(self, reason: str) -> None:
        make_private_folder(self.path.parent)
        descriptor = open_private(self.path, os.O_WRONLY | os.O_CREAT)
        try:
            os.write(descriptor, f"{reason}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
