"""A watch on the engine's loop, from another thread: it names the strategy that blocks it."""

import logging
import sys
import threading
from time import monotonic
from types import FrameType
from typing import Self

from engine.core.strategy import Strategy
from engine.core.text import clean

BLOCKED_S = 5.0
LOOKS_IN_TIME = 10

log = logging.getLogger(__name__)


class Watchdog:
    """Watches the thread that enters it, until it is left. What blocks a loop cannot be ended from
    outside; it is named in the log, and `beat` tells it once the loop turns again."""

    def __init__(self) -> None:
        self._beat = monotonic()
        self._blocked = ""
        self._told = False
        self._thread_id = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread_id = threading.get_ident()
        self._beat = monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def beat(self) -> str:
        """The loop turns. Answers the strategy that blocked it, empty text where none did."""
        self._beat = monotonic()
        blocked, self._blocked, self._told = self._blocked, "", False
        return blocked

    def _watch(self) -> None:
        while not self._end.wait(BLOCKED_S / LOOKS_IN_TIME):
            if monotonic() - self._beat < BLOCKED_S or self._told:
                continue
            self._told = True
            # Underscored, and documented: the frames of all threads.
            frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]
            strategy = _strategy_in(frames.get(self._thread_id))
            if strategy is None:
                log.critical("the engine's loop does not turn, and no strategy runs")
            else:
                self._blocked = strategy.name
                log.critical(
                    "the engine's loop is blocked by the strategy %s on %s",
                    clean(strategy.name),
                    clean(strategy.symbol),
                )


class Unwatched:
    """No watchdog, and no thread: for a loop whose time is its own."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def beat(self) -> str:
        return ""


def _strategy_in(frame: FrameType | None) -> Strategy | None:
    """The strategy whose method a thread is in."""
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Strategy):
            return owner
        frame = frame.f_back
    return None
