"""Numbers from outside, guarded once."""

from math import nan
from typing import Any


def number(value: Any) -> float:
    """`value` as a float; NaN for what is no number: nothing, true, a text with anything but plain
    ASCII digits."""
    if isinstance(value, bool):
        return nan
    if isinstance(value, int | float):
        return float(value)
    if not (isinstance(value, str) and value.isascii()) or "_" in value:
        return nan
    try:
        return float(value)
    except ValueError:
        return nan
