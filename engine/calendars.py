"""The sessions of the exchanges, from exchange_calendars: holidays and early closes included."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from engine.core.model import MINUTE, Instrument, utc
from engine.core.sessions import ALWAYS_OPEN, SessionTable
from engine.core.text import clean
from engine.ops.errors import UserError

# Trading before the open from 04:00 and after the close for four hours (to 17:00 where it closes
# early), New York time: NYSE Arca and Nasdaq, which is XNYS too. exchange_calendars has regular
# hours alone.
EXTENDED = {"XNYS": (330 * MINUTE, 240 * MINUTE)}


def session_tables(
    instruments: Iterable[Instrument], first: int, last: int
) -> tuple[SessionTable, ...]:
    """The tables of all calendars of `instruments`, from the year before `first` to the year after
    `last` (ns UTC), so that what was held before and what settles later is known too.

    Takes about two seconds where one of them ever closes: pandas is imported. Raises UserError for
    a calendar that does not exist.
    """
    names = sorted({i.calendar for i in instruments} - {ALWAYS_OPEN})
    return tuple(_table(name, utc(first).year - 1, utc(last).year + 1) for name in names)


@lru_cache(maxsize=32)
def _table(name: str, first_year: int, last_year: int) -> SessionTable:
    # Here and not above, for it imports pandas. It has no type stubs.
    import exchange_calendars  # pyright: ignore[reportMissingTypeStubs]
    from exchange_calendars import errors  # pyright: ignore[reportMissingTypeStubs]

    try:
        calendar: Any = exchange_calendars.get_calendar(
            name, start=f"{first_year}-01-01", end=f"{last_year}-12-31"
        )
    except (errors.CalendarError, ValueError) as error:
        raise UserError(
            f"there are no sessions of calendar {clean(name)} from {first_year} to {last_year} "
            f"({clean(str(error))})",
            "name a calendar of exchange_calendars, such as XNYS, or 24/7",
        ) from error
    before, after = EXTENDED.get(calendar.name, (0, 0))
    return SessionTable(
        name, str(calendar.tz), _nanos(calendar.opens), _nanos(calendar.closes), before, after
    )


def _nanos(times: Any) -> tuple[int, ...]:
    """A pandas series of times as integer nanoseconds UTC."""
    return tuple(int(ts.value) for ts in times)
