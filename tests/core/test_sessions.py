"""The trading day is the market's, through daylight saving and year's end."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from engine.core.model import MINUTE, nanos
from engine.core.sessions import TradingDay

HOUR = 60 * MINUTE


def at(zone: str, *when: int) -> int:
    year, month, day, *rest = when
    return nanos(datetime(year, month, day, *rest, tzinfo=ZoneInfo(zone)))


def test_a_day_rolls_once_and_holds_until_the_markets_midnight() -> None:
    day = TradingDay("America/New_York")
    assert day.date == ""
    assert day.roll(at("America/New_York", 2024, 3, 4, 9, 30))
    assert day.date == "2024-03-04"
    assert not day.roll(at("America/New_York", 2024, 3, 4, 23, 59, 59))
    assert day.roll(at("America/New_York", 2024, 3, 5))
    assert day.date == "2024-03-05"


def test_the_day_is_not_the_computers() -> None:
    day = TradingDay("America/New_York")
    day.roll(nanos(datetime(2024, 3, 5, 3, tzinfo=UTC)))
    assert day.date == "2024-03-04"


@pytest.mark.parametrize(
    ("when", "hours"),
    [((2024, 3, 10), 23), ((2024, 11, 3), 25), ((2024, 2, 29), 24), ((2023, 12, 31), 24)],
)
def test_a_day_is_as_long_as_daylight_saving_makes_it(
    when: tuple[int, int, int], hours: int
) -> None:
    day = TradingDay("America/New_York")
    day.roll(at("America/New_York", *when, 12))
    assert day.start == at("America/New_York", *when)
    assert day.end - day.start == hours * HOUR


def test_an_earlier_time_does_not_roll_back() -> None:
    day = TradingDay("UTC")
    day.roll(at("UTC", 2024, 3, 5, 12))
    assert not day.roll(at("UTC", 2024, 3, 4, 12))
    assert day.date == "2024-03-05"
