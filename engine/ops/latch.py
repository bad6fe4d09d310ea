"""The kill switch's file: a latch that needs no database, and a way to trip it from outside."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from engine.ops.files import make_private_folder, open_private


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

    def look(self) -> Future[bool]:
        return self._executor.submit(self.is_set)

    def set(self, reason: str) -> Future[None]:
        return self._executor.submit(self._write, reason)

    def clear(self) -> Future[None]:
        return self._executor.submit(self.path.unlink, missing_ok=True)

    def close(self) -> None:
        self._executor.shutdown(wait=False)

    def _write(self, reason: str) -> None:
        make_private_folder(self.path.parent)
        descriptor = open_private(self.path, os.O_WRONLY | os.O_CREAT)
        try:
            os.write(descriptor, f"{reason}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
