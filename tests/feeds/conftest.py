"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting for it."""

import asyncio
import gzip
import selectors
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest


class _JumpingSelector(selectors.DefaultSelector):
    """Says at once that the time to wait has passed, unless something is ready before."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def nanoseconds(self) -> int:
        """The loop's time as a clock for a feed."""
        return round(self._jumping.now * 1e9)

    def spend(self, seconds: float) -> None:
        """Let time pass inside of a callback, as slow code does."""
        self._jumping.now += seconds


class VirtualTime:
    """Runs coroutines on a loop of its own, in no real time."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(main)
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()


@pytest.fixture
def virtual() -> VirtualTime:
    return VirtualTime()


Write = Callable[[str, Sequence[str]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the lines of a CSV file into the test's folder, packed where its name says so."""

    def write_lines(name: str, lines: Sequence[str]) -> Path:
        path = tmp_path / name
        data = "".join(f"{line}\n" for line in lines).encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write_lines
