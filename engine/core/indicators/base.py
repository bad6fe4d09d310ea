"""What all indicators share, and how one that goes bar by bar is applied to arrays."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from math import ceil, isclose, log
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import ArrayLike, NDArray

# numpy is imported by the functions over arrays alone: the console needs `update` only, and starts
# sooner without it.


class Indicator(ABC):
    """Each has `update`, which takes in the numbers of the next bar and answers the indicator after
    it (NaN until warm), and `of`, which takes columns of them (one dimension each, all of one
    length, oldest first) and answers the indicator after each row. What `update` has seen plays no
    part in `of`, and is kept.

    `warm_up` is how many bars the first number needs. One that remembers without end agrees with
    another that began elsewhere only after more: `settled` is after how many bars what came before
    them weighs less than a millionth. A strategy that is to decide alike after a restart asks for
    that many.

    Raises ValueError where a period is not a whole number of at least 1, and `of` where columns
    have more than one dimension or different lengths.
    """

    __slots__ = ("settled", "warm_up")

    def __init__(self, warm_up: int, settled: int = 0) -> None:
        self.warm_up = warm_up
        self.settled = max(warm_up, settled)
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Forget all values."""

    def _fresh(self) -> Self:
        fresh = copy(self)
        fresh.reset()
        return fresh


def whole(indicator: Indicator, name: str, value: int) -> int:
    """`value` where it is a length in bars. Raises ValueError where it is none."""
    if not isinstance(value, int) or value < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(
            f"{type(indicator).__name__}: the {name} must be a whole number of at least 1, "
            f"not {value!r}"
        )
    return value


def forgotten(kept: float) -> int:
    """After how many values what came before them weighs less than a millionth, where each leaves
    it the share `kept` of its weight."""
    return ceil(log(1e-6) / log(kept)) if kept else 1


def spread(one: float, other: float) -> float:
    """`one` - `other`; 0 where they differ by less than 1e-12 of themselves, which is rounding.

    The last bits of an average depend on where it began. A rule that asks whether one line crossed
    another would answer by them where the two are equal, and another way after a restart.
    """
    return 0.0 if isclose(one, other, rel_tol=1e-12) else one - other


def line(update: Callable[..., float], *columns: "ArrayLike") -> "NDArray[float64]":
    """What `update` answers to each row of `columns`."""
    import numpy as np

    rows = _rows(columns)
    return np.fromiter(map(update, *rows), np.float64, len(rows[0]))


def lines(
    update: Callable[..., tuple[float, ...]], count: int, *columns: "ArrayLike"
) -> "tuple[NDArray[float64], ...]":
    """The `count` numbers that `update` answers to each row of `columns`, an array each."""
    import numpy as np

    answers = list(map(update, *_rows(columns)))
    return tuple(np.array(answers, np.float64).reshape(-1, count).T.copy())


def column(values: "ArrayLike") -> "NDArray[float64]":
    """`values` as float64. Raises ValueError where they have more than one dimension."""
    import numpy as np

    array = np.asarray(values, np.float64)
    if array.ndim != 1:
        raise ValueError(
            f"an indicator takes columns of values, one dimension each, not {array.ndim}"
        )
    return array


def _rows(columns: "tuple[ArrayLike, ...]") -> list[list[float]]:
    rows: list[list[float]] = [column(values).tolist() for values in columns]
    if len({len(values) for values in rows}) > 1:
        lengths = ", ".join(str(len(values)) for values in rows)
        raise ValueError(f"an indicator takes columns of one length, not of {lengths}")
    return rows
