"""What options of several commands have in common: their values, read and refused alike."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

import click

from engine.core.model import nanos, utc
from engine.core.text import clean

Instant = Callable[[click.Context, click.Parameter, str | None], int | None]
"""Reads an option: ns UTC, None where it is not given."""


def first_instant(_: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """A time, or a date's midnight, in ns UTC."""
    return None if text is None else _moment(option, text, timedelta(0))


def last_instant(_: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """A time, or the midnight after a date, in ns UTC."""
    return None if text is None else _moment(option, text, timedelta(days=1))


def _in_order(instant: Instant) -> Instant:
    """As `instant`, and a span is refused that ends before it begins, by the option that is looked
    at second."""

    def checked(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
        ts = instant(context, option, text)
        span = {**context.params, str(option.name): ts}
        start, end = span.get("start"), span.get("end")
        if start is not None and end is not None and start > end:
            begins, ends = (f"{utc(moment):%Y-%m-%d %H:%M:%S}" for moment in (start, end))
            raise click.BadParameter(f"{begins} UTC, --start, is later than {ends} UTC, --end")
        return ts

    return checked


START = click.option(
    "--start",
    callback=_in_order(first_instant),
    metavar="DATE",
    help="First day or time, UTC.",
)
END = click.option(
    "--end",
    callback=_in_order(last_instant),
    metavar="DATE",
    help="Last day or time, UTC.",
)
"""The span of what a command writes, as its arguments `start` and `end`, ns UTC or None."""


def _moment(option: click.Parameter, text: str, after_date: timedelta) -> int:
    """Nanoseconds UTC of a time, or of a date's midnight plus `after_date`."""
    try:
        try:
            midnight = datetime.combine(date.fromisoformat(text), time(), UTC)
        except ValueError:
            moment = datetime.fromisoformat(text)
            return nanos(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        return nanos(midnight + after_date)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{clean(text)!r} is neither a date such as 2022-01-31 "
            "nor a time such as 2022-01-31T14:30 (UTC unless it says otherwise).",
            param=option,
        ) from None
