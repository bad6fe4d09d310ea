"""The sessions of exchanges equal those of exchange_calendars, minute for minute."""

from bisect import bisect_right
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest

from engine.calendars import session_tables
from engine.core.model import MINUTE, AssetClass, Instrument, nanos
from engine.core.sessions import Calendars, SessionTable
from engine.ops.errors import UserError

NEW_YORK = ZoneInfo("America/New_York")
LONDON = ZoneInfo("Europe/London")
HALF_HOUR = 30 * MINUTE
EXCHANGES = ["XNYS", "XNAS", "XLON", "XTSE"]


def at(zone: ZoneInfo, *when: int) -> int:
    year, month, day, *rest = when
    return nanos(datetime(year, month, day, *rest, tzinfo=zone))


def tables(first: int, last: int, *names: str) -> tuple[SessionTable, ...]:
    stocks = [
        Instrument(name, AssetClass.STOCK, Decimal("0.01"), Decimal(1), calendar=name)
        for name in names
    ]
    return session_tables(stocks, at(NEW_YORK, first, 7, 1), at(NEW_YORK, last, 7, 1))


@pytest.fixture(scope="module")
def calendars() -> Calendars:
    return Calendars(tables(2024, 2027, *EXCHANGES))


@pytest.mark.parametrize("name", EXCHANGES)
def test_2024_to_2027_is_open_and_closed_when_exchange_calendars_says(
    calendars: Calendars, name: str
) -> None:
    theirs = exchange_calendars.get_calendar(name, start="2023-12-01", end="2028-02-01")
    opens = [int(ts.value) for ts in theirs.opens]
    closes = [int(ts.value) for ts in theirs.closes]
    dates = [day.date() for day in theirs.sessions]
    ts, end = at(NEW_YORK, 2024, 1, 1), at(NEW_YORK, 2028, 1, 1)
    open_times = 0
    while ts < end:  # every half hour, its first and its last nanosecond
        for moment in (ts - 1, ts):
            number = bisect_right(opens, moment) - 1
            expected = moment < closes[number]
            assert calendars.is_open(name, moment) == expected, moment
            assert calendars.next_open(name, moment) == opens[number + 1]
            assert calendars.session_end(name, moment) == closes[number + (not expected)]
            open_times += expected
        ts += HALF_HOUR
    assert open_times > 4 * 250 * 6 * 2
    for number, day in enumerate(dates):
        if 2024 <= day.year <= 2027:
            assert calendars.session_date(name, opens[number]) == day.isoformat()
            assert calendars.session_date(name, closes[number] - 1) == day.isoformat()
            assert calendars.business_day(name, day, 1) == dates[number + 1]
            after_last = dates[number - 1] + timedelta(days=1)
            assert calendars.business_day(name, after_last, 0) == day


@pytest.mark.parametrize(
    ("when", "is_open", "extended"),
    [
        ((2024, 3, 8, 9, 29), False, True),
        ((2024, 3, 8, 9, 30), True, True),
        ((2024, 3, 11, 9, 30), True, True),  # daylight saving began in the night to the 10th
        ((2024, 3, 11, 15, 59), True, True),
        ((2024, 3, 11, 16, 0), False, True),
        ((2024, 3, 11, 19, 59), False, True),
        ((2024, 3, 11, 20, 0), False, False),
        ((2024, 3, 11, 3, 59), False, False),
        ((2024, 3, 11, 4, 0), False, True),
        ((2024, 2, 29, 12, 0), True, True),
        ((2024, 7, 3, 12, 59), True, True),  # closes at 13:00, extended hours at 17:00
        ((2024, 7, 3, 13, 0), False, True),
        ((2024, 7, 3, 17, 0), False, False),
        ((2024, 7, 4, 12, 0), False, False),
        ((2024, 12, 31, 15, 59), True, True),
        ((2025, 1, 1, 12, 0), False, False),
        ((2025, 1, 9, 12, 0), False, False),  # an unscheduled day of mourning
        ((2024, 3, 9, 12, 0), False, False),
    ],
)
def test_new_york_by_the_clock(
    calendars: Calendars, when: tuple[int, ...], is_open: bool, extended: bool
) -> None:
    ts = at(NEW_YORK, *when)
    assert calendars.is_open("XNYS", ts) is is_open
    assert calendars.is_open("XNYS", ts, extended=True) is extended


def test_in_the_weeks_between_the_clock_changes_of_new_york_and_london(
    calendars: Calendars,
) -> None:
    """From 10 to 31 March 2024 New York opens at 13:30 in London, otherwise at 14:30."""
    assert calendars.is_open("XNYS", at(LONDON, 2024, 3, 12, 13, 30))
    assert not calendars.is_open("XNYS", at(LONDON, 2024, 4, 2, 13, 30))
    assert calendars.is_open("XLON", at(LONDON, 2024, 4, 2, 8, 0))


def test_trade_dates_hold_through_extended_hours_and_weekends(calendars: Calendars) -> None:
    assert calendars.session_date("XNYS", at(NEW_YORK, 2024, 3, 8, 19, 59)) == "2024-03-08"
    assert calendars.session_date("XNYS", at(NEW_YORK, 2024, 3, 8, 20, 0)) == "2024-03-11"
    assert calendars.session_date("XNYS", at(NEW_YORK, 2024, 3, 10, 12)) == "2024-03-11"
    assert calendars.session_date("24/7", at(NEW_YORK, 2024, 3, 8, 20)) == "2024-03-09"


def test_trading_days_are_the_sessions_with_their_extended_hours(calendars: Calendars) -> None:
    day = calendars.trading_day("XNYS")
    assert day.roll(at(NEW_YORK, 2024, 3, 8, 4, 1))
    assert not day.roll(at(NEW_YORK, 2024, 3, 8, 19, 59))
    assert (day.date, day.end) == ("2024-03-08", at(NEW_YORK, 2024, 3, 8, 20))
    assert day.start == at(NEW_YORK, 2024, 3, 7, 20)
    assert day.roll(at(NEW_YORK, 2024, 3, 8, 20)), "the weekend is Monday's"
    assert not day.roll(at(NEW_YORK, 2024, 3, 11, 9, 30))
    assert day.date == "2024-03-11"
    assert day.roll(at(NEW_YORK, 2024, 3, 11, 20))
    late = calendars.trading_day("XNYS")
    late.roll(at(NEW_YORK, 2031, 3, 5, 23, 59))
    assert late.date == "2031-03-05", "past the table it is the calendar day"


def test_trading_days_of_what_never_closes_are_those_of_utc(calendars: Calendars) -> None:
    day = calendars.trading_day("24/7")
    assert day.roll(at(NEW_YORK, 2024, 3, 8, 20))
    assert day.date == "2024-03-09"
    assert not day.roll(at(NEW_YORK, 2024, 3, 9, 18, 59))
    assert day.roll(at(NEW_YORK, 2024, 3, 9, 19))


def test_business_days_pass_weekends_and_holidays(calendars: Calendars) -> None:
    friday = date(2024, 5, 24)  # before Memorial Day
    assert calendars.business_day("XNYS", friday, 1) == date(2024, 5, 28)
    assert calendars.business_day("XTSE", friday, 1) == date(2024, 5, 27)
    assert calendars.business_day("XNYS", date(2024, 5, 25), 0) == date(2024, 5, 28)
    assert calendars.business_day("24/7", friday, 2) == date(2024, 5, 26)


def test_past_the_end_of_a_table_every_weekday_counts_and_nothing_is_open() -> None:
    calendars = Calendars(tables(2013, 2013, "XNYS"))
    assert calendars.is_open("XNYS", at(NEW_YORK, 2013, 10, 7, 12))
    assert calendars.business_day("XNYS", date(2014, 12, 31), 2) == date(2015, 1, 2)
    assert calendars.business_day("XNYS", date(2016, 1, 2), 0) == date(2016, 1, 4)
    assert calendars.business_day("XNYS", date(2016, 1, 2), 2) == date(2016, 1, 5)
    late = at(NEW_YORK, 2016, 1, 5, 12)
    assert not calendars.is_open("XNYS", late)
    assert not calendars.is_open("XNYS", at(NEW_YORK, 2010, 1, 5, 12))
    assert (calendars.next_open("XNYS", late), calendars.session_end("XNYS", late)) == (0, 0)
    assert calendars.session_date("XNYS", late) == "2016-01-05"


def test_crypto_is_always_open_and_needs_no_table() -> None:
    bitcoin = Instrument("BTC-USD", AssetClass.CRYPTO, Decimal("0.01"), Decimal("0.0001"))
    assert session_tables([bitcoin], 0, 0) == ()
    calendars = Calendars()
    assert calendars.is_open("24/7", at(NEW_YORK, 2024, 12, 25))
    assert calendars.session_end("24/7", 0) == 0
    assert not calendars.is_open("XNYS", at(NEW_YORK, 2024, 3, 8, 12)), "unknown is closed"


def test_a_calendar_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match="calendar XXXX"):
        tables(2024, 2024, "XXXX")
