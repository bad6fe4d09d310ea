"""What a measurement is, and how one is taken."""

import gc
import time
from collections.abc import Callable, Iterable
from math import ceil, isfinite
from typing import Any

from msgspec import Struct


class Figure(Struct, frozen=True):
    """One line of the table.

    `peer` is what `peer_value` was measured on, in the same run and the same unit. `goal` is the
    design's figure, empty where it names none, and `met` whether this run reached it.
    """

    what: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    goal: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of the peer's."""
        return self.value / self.peer_value if self.peer_value else None


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest of `values` that `percent` of them do not exceed; NaN where there are none."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)] if ordered else float("nan")


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time that `work` takes in this process: neighbours on the machine do not count."""
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def least_cpu_seconds(rounds: int, *works: Callable[[], object]) -> list[float]:
    """The least CPU time of each of `works`, which take turns for `rounds` rounds."""
    taken = [[cpu_seconds(work) for work in works] for _ in range(rounds)]
    return [min(times) for times in zip(*taken, strict=True)]


def as_json(figure: Figure) -> dict[str, Any]:
    """The fields and the ratio; what is not finite is None."""
    fields = {name: getattr(figure, name) for name in figure.__struct_fields__}
    fields["ratio"] = figure.ratio
    return {
        name: None if isinstance(value, float) and not isfinite(value) else value
        for name, value in fields.items()
    }
