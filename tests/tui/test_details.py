"""All fields of a row, for a person and for another program."""

from datetime import timedelta, timezone
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from engine.core.model import NANOS
from engine.ops.settings import load_settings
from tests.tui import scripted, whys
from tests.tui.scripted import TS, desk, to
from tui import details, format
from tui.preferences import Choices, Preferences

HOUR = 3_600 * NANOS
EST = timezone(timedelta(hours=-5), "EST")


def test_a_row_is_told_with_all_that_is_in_it() -> None:
    about = details.all_fields(scripted.POSITIONS[0], scripted.INSTRUMENTS)
    names = [name for name, _ in about]
    assert {"position.symbol", "position.quantity", "instrument.tick", "mark"} <= set(names)
    assert len(names) == len(set(names))
    signal = dict(details.fields_of(scripted.SIGNALS[0]))
    assert signal["signal.indicators.fast"] == 169.98 * 1.0004


def test_times_are_in_utc_and_in_the_zone_of_the_operator() -> None:
    assert details.moment(TS + 123_456_789, [EST]) == (
        "2022-01-31 14:30:07.123456 UTC, 09:30:07 EST"
    )
    assert details.moment(TS + 12 * HOUR, [EST]) == (
        "2022-02-01 02:30:07.000000 UTC, 2022-01-31 21:30:07 EST"
    )
    assert details.moment(TS, [timezone.utc]) == "2022-01-31 14:30:07.000000 UTC"  # noqa: UP017
    assert details.told("created_ts", TS, [EST]).endswith("09:30:07 EST")
    assert details.told("until", 0) == "—"


def test_values_keep_their_precision_and_the_unknown_is_a_dash() -> None:
    told = [
        details.told("quantity", Decimal("0.13100000")),
        details.told("notional", Decimal("1234567.10")),
        details.told("strength", 0.1 + 0.2),
        details.told("mark", None),
        details.told("reason", ""),
        details.told("stale", False),
        details.told("state", scripted.ORDERS[5].state),
    ]
    assert told == [
        "0.13100000",
        "1,234,567.10",
        "0.30000000000000004",
        "—",
        "—",
        "no",
        "in doubt",
    ]


def test_another_program_reads_plain_values() -> None:
    names, rows = details.table((scripted.QUOTES[0], scripted.QUOTES[1]), scripted.INSTRUMENTS)
    assert (names[0], names[-1]) == ("symbol", "instrument.min_quantity")
    assert rows[0]["quote.bid"] == "170.12"
    assert rows[0]["ts"] == "2022-01-31T14:30:07+00:00"
    assert details.plain("mark", None) == ""
    assert details.plain("tick", Decimal("1E-8")) == "0.00000001"


def test_a_time_that_reads_alike_in_two_zones_is_told_once() -> None:
    zones = [ZoneInfo("America/New_York"), ZoneInfo("America/Toronto"), ZoneInfo("Asia/Tokyo")]
    assert details.elsewhere(TS, zones) == ["09:30:07 EST", "23:30:07 JST"]


async def test_the_zone_of_the_operator_is_a_setting() -> None:
    preferences = Preferences(Path("console.json"), Choices(guided=True))
    async with desk(scripted.paper()) as it:
        it.app.configure(load_settings(time_zone="Asia/Tokyo"), preferences)
        await it.press(*to("orders"), "home", "enter")
        assert " UTC, 23:1" in it.screen
        assert " JST" in it.screen


AT_NEW_YORK = tuple(replace(row, zone="America/New_York") for row in scripted.QUOTES)


@pytest.mark.parametrize("panel", ["quotes", "positions", "orders", "signals"])
async def test_details_tell_the_time_at_the_market_too(panel: str) -> None:
    preferences = Preferences(Path("console.json"), Choices(guided=True))
    async with desk(replace(scripted.paper(), quotes=AT_NEW_YORK), (120, 60)) as it:
        it.app.configure(load_settings(time_zone="Asia/Tokyo"), preferences)
        await it.press(*to(panel), "home", "enter")
        assert " UTC, 09:" in it.screen
        assert " EST, 23:" in it.screen


async def test_why_tells_the_time_at_the_market_too() -> None:
    async with desk(replace(scripted.paper(), quotes=AT_NEW_YORK)) as it:
        it.client.answers |= whys.ANSWERS
        await it.press(*to("orders"), "end", "w")
        first = whys.FILLED.steps[0].ts
        (there,) = details.elsewhere(first, [ZoneInfo("America/New_York")])
        assert f"2022-01-31 UTC; {format.clock(first)} is {there}" in it.screen
