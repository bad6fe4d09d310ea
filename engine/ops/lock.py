"""One engine a database: two would send the same orders twice."""

import fcntl
import os
import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.files import make_private_folder, open_private

_HOLDER = re.compile(rb"(\d+) (\S+)\n")

LOOKERS, LOOK_S = 10, 0.01
"""How often, and how far apart, a lock that is taken is tried again."""


class EngineLocked(UserError):
    """Another engine holds the lock."""


class EngineLock:
    """Holds `path` locked (flock) from enter to exit; its text is the holder's pid and start (UTC).

    The system lets go of the lock when the process ends, however it ends. The file stays: removing
    it would let a second engine lock a new file of the same name while the first still runs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        """Raises EngineLocked where another engine runs, UserError where no lock can be had."""
        make_private_folder(self.path.parent)
        try:
            self._descriptor = open_private(self.path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._take()
            os.ftruncate(self._descriptor, 0)
            started = datetime.now(UTC).isoformat(timespec="seconds")
            os.write(self._descriptor, f"{os.getpid()} {started}\n".encode())
        except BlockingIOError as error:
            locked = self._locked()
            os.close(self._descriptor)
            raise locked from error
        except OSError as error:
            os.close(self._descriptor)
            raise self._unusable(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def _take(self) -> None:
        """Raises BlockingIOError where another engine has it. Who only looks (`holder`) has it too,
        for a moment."""
        for _ in range(LOOKERS):
            with suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(LOOK_S)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _locked(self) -> EngineLocked:
        known = _HOLDER.match(os.pread(self._descriptor, 100, 0))
        pid = known[1].decode() if known else "unknown"
        since = f", since {clean(known[2].decode(errors='replace'))}" if known else ""
        return EngineLocked(
            f"another engine (pid {pid}{since}) holds {clean(str(self.path))}",
            "quit that one first, or give this one a folder of its own in DATA_DIR",
        )

    def _unusable(self, error: OSError) -> UserError:
        return UserError(
            f"cannot lock {clean(str(self.path))} ({error.strerror})",
            "give a folder on a local disk that can be written in DATA_DIR",
        )


def holder(path: Path) -> int | None:
    """The pid of the engine that holds `path` locked; None where none does, 0 where it has not said
    yet which it is."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        known = _HOLDER.match(os.pread(descriptor, 100, 0))
        return int(known[1]) if known else 0
    finally:
        os.close(descriptor)
    return None
