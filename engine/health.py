"""How late the engine's loop is, and what keeps it in time."""

import asyncio
import gc
from collections import deque

PULSE_S = 0.02
PULSES_KEPT = 500
TIDY_S = 5.0
BEHIND_S = 0.05
"""A loop that is later than this does not follow."""


async def tidy() -> None:
    """Have Python's garbage collector look at what is new, and never again at what is still there:
    to look through all that lives would stop the loop, and a kill, for a tenth of a second."""
    while True:
        gc.collect()
        gc.freeze()
        await asyncio.sleep(TIDY_S)


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
