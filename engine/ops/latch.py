"""The kill switch's files: a latch that needs no database, and ways to trip it from outside."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from engine.core.model import KillAction, Part
from engine.ops.files import write_private

T = TypeVar("T")

REFUSED = ".refused"
LONGEST_REQUEST = 4096
REFUSAL_KEPT_S = 60.0
"""Seconds that a refusal is there for whoever asked. One who waits reads it at once: it is still
there then because nobody does, as where no engine ran."""


class KillRequest(Struct, frozen=True):
    """What another program asks of the engine; `action` None is the default of the settings, `part`
    None is to kill everything."""

    author: str = ""
    reason: str = ""
    action: KillAction | None = None
    part: Part | None = None


class KillFiles(NamedTuple):
    """Where they are. `latch` is there while the kill switch of this mode is tripped. `by_hand`
    trips that of every mode, for as long as it is there. `requests` is the folder in which another
    program leaves a request, as a file that ends in `suffix`.
    """

    latch: Path
    by_hand: Path
    requests: Path
    suffix: str


class Seen(NamedTuple):
    latched: bool
    by_hand: bool
    requests: dict[Path, KillRequest]


class KillLatch:
    """Reads, writes and removes the files in order, on a thread of its own, so that a hanging disk
    delays no cancel."""

    def __init__(self, files: KillFiles) -> None:
        self.files = files
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="latch")

    def look_now(self) -> Seen:
        latch, by_hand, folder, suffix = self.files
        found = sorted(folder.glob(f"*{suffix}"))
        _remove_unread(folder)
        return Seen(latch.exists(), by_hand.exists(), {path: read_request(path) for path in found})

    def look(self) -> "asyncio.Future[Seen]":
        return self._run(self.look_now)

    def set(self, reason: str) -> "asyncio.Future[None]":
        return self._run(partial(write_private, self.files.latch, f"{reason}\n".encode()))

    def clear(self) -> "asyncio.Future[None]":
        return self._run(partial(self.files.latch.unlink, missing_ok=True))

    def answer(self, request: Path) -> "asyncio.Future[None]":
        """Remove `request`, after what was asked before: whoever made it sees that it was taken."""
        return self._run(partial(request.unlink, missing_ok=True))

    def refuse(self, request: Path, reason: str) -> "asyncio.Future[None]":
        """As `answer`, and leave the reason where whoever made it looks."""
        return self._run(partial(_refuse, request, reason))

    def close(self) -> None:
        self._executor.shutdown(wait=False)

    def _run(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._executor, work)


def refusal_of(request: Path) -> Path:
    """The file that says why `request` was refused."""
    return request.with_suffix(REFUSED)


def _refuse(request: Path, reason: str) -> None:
    write_private(refusal_of(request), reason.encode())
    request.unlink(missing_ok=True)


def _remove_unread(folder: Path) -> None:
    for path in folder.glob(f"*{REFUSED}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > REFUSAL_KEPT_S:
                path.unlink()


def read_request(path: Path) -> KillRequest:
    """What is asked; the default action where it cannot be read, for it asks to stop."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(LONGEST_REQUEST), type=KillRequest)
    except (OSError, msgspec.MsgspecError):
        return KillRequest(reason="a request that cannot be read")
