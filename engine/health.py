"""How late the engine's loop is."""

import asyncio
from collections import deque

PULSE_S = 0.02
PULSES_KEPT = 500


class Pulse:
    """Measures by a timer how late the loop is: the delay of its last turns."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=PULSES_KEPT)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PULSE_S
            await asyncio.sleep(PULSE_S)
            self._late.append(loop.time() - due)

    @property
    def lateness_ms(self) -> float:
        """The 99th percentile of the delays of the last seconds, 0 before the first."""
        late = sorted(self._late)
        return late[int(len(late) * 0.99)] * 1000 if late else 0.0
