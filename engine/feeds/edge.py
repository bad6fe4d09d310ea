"""Numbers, times and quotes from outside, guarded once."""

from datetime import datetime
from math import nan
from typing import Any

from engine.core.model import NANOS, Quote


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


def as_asked(quote: Quote, known: Quote | None) -> Quote:
    """What is to be told of a quote that was asked for where the venue tells no time of it: the one
    that is `known` keeps its time while its prices stay, as it is no news."""
    if known is not None and (known.bid, known.ask) == (quote.bid, quote.ask):
        return known
    return quote


def nanos_of(text: str) -> int:
    """Nanoseconds UTC of an RFC 3339 time with up to nine decimals, which ends in Z."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * NANOS + int(fraction.ljust(9, "0")[:9])
