"""A watch on the engine's loop, from another thread: it names the strategy that holds it up."""

import logging
import sys
import threading
from collections import Counter
from time import monotonic
from types import FrameType
from typing import Self

from engine.core.strategy import Strategy
from engine.core.text import clean

BLOCKED_S = 5.0
SLOW_S = 0.5
"""A loop that has not turned for this long is held up."""
SLOW_TIMES = 5
"""How often a strategy may hold it up in a session."""
LOOK_EVERY_S = 0.1

log = logging.getLogger(__name__)


class Watchdog:
    """Watches the thread that enters it, until it is left. What blocks a loop cannot be ended from
    outside; it is named in the log. Once the loop turns again `beat` tells a strategy that blocked
    it for BLOCKED_S, or that held it up for SLOW_S for the SLOW_TIMES-th time."""

    def __init__(self) -> None:
        self._beat = monotonic()
        self._blocked = ""
        self._told = False
        self._counted = False
        self._slow: Counter[str] = Counter()
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
        blocked, self._blocked = self._blocked, ""
        self._told = self._counted = False
        return blocked

    def _watch(self) -> None:
        while not self._end.wait(LOOK_EVERY_S):
            late = monotonic() - self._beat
            if late >= SLOW_S and not self._counted:
                self._count(self._running())
            if late < BLOCKED_S or self._told:
                continue
            self._told = True
            strategy = self._running()
            if strategy is None:
                log.critical("the engine's loop does not turn, and no strategy runs")
            else:
                self._blocked = strategy.name
                log.critical(
                    "the engine's loop is blocked by the strategy %s on %s",
                    clean(strategy.name),
                    clean(strategy.symbol),
                )

    def _count(self, strategy: Strategy | None) -> None:
        """Once for each time that the loop is held up; looked at until a strategy is seen."""
        if strategy is None:
            return
        self._counted = True
        name = strategy.name
        self._slow[name] += 1
        log.warning(
            "the strategy %s holds the engine up: %d of %d", clean(name), self._slow[name],
            SLOW_TIMES,
        )  # fmt: skip
        if self._slow[name] >= SLOW_TIMES:
            self._blocked = name
            del self._slow[name]

    def _running(self) -> Strategy | None:
        # Underscored, and documented: the frames of all threads.
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]
        return _strategy_in(frames.get(self._thread_id))


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
