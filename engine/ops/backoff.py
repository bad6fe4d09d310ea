"""How long to wait before a connection that was lost is made again."""

from random import Random

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
STABLE_S = 10.0
"""A connection that held for so long begins again with the first pause when it is lost: one that is
taken and ended at once is no success."""


class Backoff:
    """Pauses that double, from `FIRST_PAUSE_S` to `LONGEST_PAUSE_S`, each shortened by up to half:
    of many who lost a connection together not all come back together. `random` is what shortens
    them."""

    def __init__(self, random: Random | None = None) -> None:
        self._random = random or Random()
        self._pause_s = 0.0

    def after(self, held_s: float) -> float:
        """The pause (s) after a connection that held for `held_s` seconds: 0 where none was
        made."""
        former_s = 0.0 if held_s >= STABLE_S else self._pause_s
        self._pause_s = min(max(2 * former_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        return self._pause_s * self._random.uniform(0.5, 1)
