"""How late the engine's loop is, and what keeps it in time."""

import asyncio
import gc
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager

PULSE_S = 0.02
PULSES_KEPT = 500
SETTLED_S = 5.0
"""From then on a start makes nothing any more."""
BEHIND_S = 0.05
"""A loop that is later than this does not follow."""


@contextmanager
def apart_from_start() -> Generator[None]:
    """Keep Python's garbage collector from what a start makes and the engine keeps to its end: to
    look through that would stop the loop, and a kill, for a tenth of a second. What comes later is
    looked through in a few milliseconds, as the engine's values are none of its concern."""
    gc.collect()
    gc.freeze()
    settled = asyncio.get_running_loop().call_later(SETTLED_S, gc.freeze)
    try:
        yield
    finally:
        settled.cancel()
        gc.unfreeze()


class Pulse:
    """Measures by a timer how late the loop is: the delay of its last turns. `is_behind` says that
    the last one was too late."""

    def __init__(self) -> None:
        self.is_behind = False
        self._late: deque[float] = deque(maxlen=PULSES_KEPT)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PULSE_S
            await asyncio.sleep(PULSE_S)
            late = loop.time() - due
            self._late.append(late)
            self.is_behind = late > BEHIND_S

    @property
    def lateness_ms(self) -> float:
        """The 99th percentile of the delays of the last seconds, 0 before the first."""
        late = sorted(self._late)
        return late[int(len(late) * 0.99)] * 1000 if late else 0.0
