"""When markets trade, and the trading day: its boundaries are the market's, not the computer's."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from engine.core.model import nanos, utc

ALWAYS_OPEN = "24/7"
SATURDAY = 5
ONE_DAY = timedelta(days=1)


class TradingDay:
    """The calendar day of a time zone that holds the last time it was asked about.

    `roll(ts)` costs one comparison while the day lasts. Daylight saving is the zone's own: a day
    has 23 to 25 hours.
    """

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self.date = ""
        self.start = 0
        self.end = 0

    def roll(self, ts: int) -> bool:
        """Move to the day of `ts`; True where that is another day than before."""
        if ts < self.end:
            return False
        local = utc(ts).astimezone(self._zone).date()
        midnight = datetime.combine(local, time(), self._zone)
        self.date = local.isoformat()
        self.start = nanos(midnight)
        self.end = nanos(datetime.combine(local + timedelta(days=1), time(), self._zone))
        return True


class SessionTable(Struct, frozen=True):
    """The sessions of an exchange, as `engine.calendars` makes them.

    `opens` and `closes` (ns UTC, in time order) bound the regular hours of each session; a midday
    break counts as open. Extended hours begin `before` ns earlier and end `after` ns later. `zone`
    is the IANA time zone of the exchange.
    """

    name: str
    zone: str
    opens: tuple[int, ...]
    closes: tuple[int, ...]
    before: int = 0
    after: int = 0


class _Calendar:
    """A table, and what is looked up in it."""

    def __init__(self, table: SessionTable) -> None:
        self.opens, self.closes = table.opens, table.closes
        self.extended_opens = tuple(ts - table.before for ts in table.opens)
        self.extended_closes = tuple(ts + table.after for ts in table.closes)
        zone = ZoneInfo(table.zone)
        self.zone = zone
        self.dates = [utc(ts).astimezone(zone).date() for ts in table.opens]

    def session(self, ts: int) -> int | None:
        """The number of the session, extended hours included, that `ts` is in, or of the next one;
        None outside of the table."""
        number = bisect_right(self.extended_closes, ts)
        known = number < len(self.dates) and (number or ts >= self.extended_opens[0])
        return number if known else None


class _ExchangeDay(TradingDay):
    """The trade date of an exchange: a day is a session, extended hours and the closed hours before
    it included. Outside of the table it is the calendar day."""

    def __init__(self, calendar: _Calendar) -> None:
        super().__init__(calendar.zone.key)
        self._calendar = calendar

    def roll(self, ts: int) -> bool:
        if ts < self.end:
            return False
        known, number = self._calendar, self._calendar.session(ts)
        if number is None:
            return super().roll(ts)
        closes = known.extended_closes
        self.date = known.dates[number].isoformat()
        self.start = closes[number - 1] if number else known.extended_opens[0]
        self.end = closes[number]
        return True


class Calendars:
    """The calendars of all instruments, by name.

    `24/7` is always open and needs no table. Of a calendar without a table, and of a time outside
    of its table, nothing is known: it is closed, and no session follows.
    """

    def __init__(self, tables: Iterable[SessionTable] = ()) -> None:
        self._calendars = {table.name: _Calendar(table) for table in tables}

    def zone(self, calendar: str) -> str:
        """The IANA time zone of the exchange; UTC of a calendar that never closes or has no
        table."""
        known = self._calendars.get(calendar)
        return "UTC" if known is None else known.zone.key

    def is_open(self, calendar: str, ts: int, extended: bool = False) -> bool:
        """Whether the market trades at `ts`; at its close it does not any more."""
        if calendar == ALWAYS_OPEN:
            return True
        known = self._calendars.get(calendar)
        if known is None:
            return False
        opens = known.extended_opens if extended else known.opens
        closes = known.extended_closes if extended else known.closes
        number = bisect_right(opens, ts) - 1
        return number >= 0 and ts < closes[number]

    def session_end(self, calendar: str, ts: int, extended: bool = False) -> int:
        """The close of the session that `ts` is in, or of the next one; 0 for never."""
        known = self._calendars.get(calendar)
        if known is None:
            return 0
        return _first_after(known.extended_closes if extended else known.closes, ts)

    def next_open(self, calendar: str, ts: int, extended: bool = False) -> int:
        """The first open after `ts`; 0 where there is none, or none is known."""
        known = self._calendars.get(calendar)
        if known is None:
            return 0
        return _first_after(known.extended_opens if extended else known.opens, ts)

    def session_date(self, calendar: str, ts: int) -> str:
        """ISO date of the session, extended hours included, that `ts` is in, or of the next one:
        the trade date. Of a calendar that never closes, and outside of a table, it is the date of
        the zone (UTC without a table)."""
        known = self._calendars.get(calendar)
        if known is None:
            return utc(ts).date().isoformat()
        number = known.session(ts)
        if number is None:
            return utc(ts).astimezone(known.zone).date().isoformat()
        return known.dates[number].isoformat()

    def trading_day(self, calendar: str) -> TradingDay:
        """The days of a calendar, which `session_date` names, one after the other."""
        known = self._calendars.get(calendar)
        return TradingDay("UTC") if known is None else _ExchangeDay(known)

    def business_day(self, calendar: str, day: date, n: int) -> date:
        """The date of the `n`-th session after `day`; with 0 `day` itself, or the next session's.

        A calendar that never closes has a session every day. Without a table, and past its end,
        every Monday to Friday is one.
        """
        if calendar == ALWAYS_OPEN:
            return day + n * ONE_DAY
        known = self._calendars.get(calendar)
        dates = known.dates if known is not None else []
        if dates and day >= dates[0]:
            number = bisect_left(dates, day) if n == 0 else bisect_right(dates, day) + n - 1
            if number < len(dates):
                return dates[number]
            n, day = min(n, number - len(dates) + 1), max(day, dates[-1])
        return _weekday(day, n)


def _weekday(day: date, n: int) -> date:
    """The `n`-th Monday to Friday after `day`; with 0 `day` itself, or the next."""
    while n > 0 or day.weekday() >= SATURDAY:
        day += ONE_DAY
        if day.weekday() < SATURDAY:
            n -= 1
    return day


def _first_after(times: Sequence[int], ts: int) -> int:
    """The first of sorted `times` after `ts`; 0 where there is none."""
    number = bisect_right(times, ts)
    return times[number] if number < len(times) else 0
