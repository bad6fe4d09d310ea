"""The health screen: brokers and feed, engine, database, console."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.core.events import AdjustCash
from engine.view.snapshot import Health
from tests.tui import scripted
from tests.tui.scripted import TS, desk
from tests.tui.test_risk_screen import line, note
from tui.dialogs.detail import DetailDialog

FACTS = {
    "uptime": ("engine up", "2h", "2022-01-31 12:29:02 UTC"),
    "lateness": ("lateness", "0.4 ms", "worst 2.1 ms"),
    "events": ("events", "318/s", "12,345 in all"),
    "queue": ("queue", "0", "0 intents and requests"),
    "conflated": ("conflated", "0"),
    "clock": ("clock", "—", "replay"),
    "database": ("database", "● in reach"),
    "writer": ("writer", "0", "not on disk yet"),
    "journal": ("journal", "12.3/1,024 MB", "4242.journal"),
    "data": ("newest data", "0s ago", "0 of 4 STALE"),
    "console": ("console", "0 dropped"),
    "broker": ("broker", "paper", "● up", "13:30:07", "0.2", "1.9"),
    "feed": ("feed", "replay", "● up", "14:23:07"),
}
TROUBLE = {
    "slow": ("alpaca", "● up, LIVE", "3", "1,240.5", "4,980.2", "12/120", "+3ms"),
    "gone": ("kraken", "✗ DOWN", "14:29:58", "SHUT 12 s", "-1.5s", "its stream has ended"),
    "feed": ("feed", "live", "PART DOWN", "kraken: silent"),
    "late": ("lateness", "84.2 ms", "912.0 ms"),
    "queue": ("queue", "2,431", "31 intents and requests"),
    "writer": ("writer", "2,400"),
    "clock": ("clock", "-2.4s", "ahead of market time"),
    "database": ("database", "✗ OUT OF REACH", "disk full"),
    "journal": ("journal", "3.0/1,024 MB", "No space left"),
}


@pytest.mark.parametrize("fact", FACTS)
async def test_a_well_engine_shows_its_measures(fact: str) -> None:
    async with desk(scripted.paper(), size=(120, 40)) as it:
        await it.press("0")
        line(it.screen, *FACTS[fact])


async def test_the_measures_are_those_of_the_newest_frame() -> None:
    async with desk(scripted.paper(), size=(120, 40)) as it:
        await it.press("0")
        line(it.screen, *FACTS["events"])
        health = replace(scripted.HEALTH, events_per_s=1_204.4, events=13_549, lateness_ms=12.5)
        it.client.change(health=health)
        await it.draw()
        line(it.screen, "events", "1,204/s", "13,549 in all")
        line(it.screen, "lateness", "12.5 ms")


@pytest.mark.parametrize("fact", TROUBLE)
async def test_what_is_wrong_is_told_in_words(fact: str) -> None:
    async with desk(scripted.unwell(), size=(200, 50)) as it:
        await it.press("0")
        line(it.screen, *TROUBLE[fact])


async def test_what_was_not_measured_is_a_dash() -> None:
    health = Health(0.0, 0, 0, 0, TS, 1)
    async with desk(replace(scripted.paper(), health=health), size=(120, 40)) as it:
        await it.press("0")
        assert line(it.screen, "broker", "paper", "13:30:07").count("—") == 4
        line(it.screen, "events", "—", "0 in all")
        assert "│journal" not in it.screen


async def test_of_the_past_no_health_is_shown() -> None:
    snapshot = replace(scripted.paper(), health=None)
    async with desk(snapshot, size=(120, 40)) as it:
        await it.press("0")
        assert "lateness" not in it.screen
        line(it.screen, "database", "● in reach")
        assert "pid" not in note(it, "engine")


async def test_cash_that_differs_is_told_and_taken_over_with_a_typed_word() -> None:
    async with desk(scripted.other_cash(), size=(120, 40)) as it:
        await it.press("0")
        line(it.screen, "broker", "alpaca", "● up", "cash there -12.34 USD: enter adjusts")
        await it.press("home", "enter")
        line(it.screen, "here", "61,234.56 USD")
        line(it.screen, "alpaca", "61,222.22 USD", "12.34 USD less")
        line(it.screen, "account", "main, PAPER")
        assert "It is neither" in it.screen
        await it.press("y", "enter", seconds=0.5)
        assert it.sent == []
        await it.press("ctrl+u", *"ADJUST", "enter", seconds=0.5)
        amount = Decimal("-12.34")
        assert it.sent == [
            AdjustCash(broker="alpaca", amount=amount, word="ADJUST", author="console")
        ]


async def test_a_difference_in_cash_that_changed_while_it_was_asked_about_is_not_taken_over() -> (
    None
):
    async with desk(scripted.other_cash(), size=(120, 40)) as it:
        await it.press("0", "home", "enter")
        (broker,) = scripted.other_cash().brokers
        it.client.change(brokers=(replace(broker, cash_difference=Decimal(-40)),))
        assert "is another one now" in await it.draw()
        await it.press(*"ADJUST", "enter", seconds=0.5)
        assert it.sent == []


async def test_where_cash_agrees_enter_shows_all_fields() -> None:
    async with desk(scripted.paper(), size=(120, 40)) as it:
        await it.press("0", "home", "enter")
        assert "ADJUST" not in it.screen
        assert isinstance(it.app.screen, DetailDialog)


async def test_the_process_and_the_brokers_are_told_at_the_border() -> None:
    async with desk(scripted.unwell()) as it:
        await it.press("0")
        assert note(it, "engine") == "pid 4242 on desk-1"
        assert note(it, "connections") == "1 of 2 brokers up"


async def test_the_console_tells_how_long_it_heard_nothing() -> None:
    async with desk(scripted.paper(), size=(120, 40)) as it:
        await it.press("0")
        await it.draw(30)
        line(it.screen, "console", "last heard of the engine 30 s ago")


async def test_enter_shows_all_of_a_connection() -> None:
    async with desk(scripted.unwell(), size=(120, 40)) as it:
        await it.press("0", "home", "enter")
        assert "slowest ms" in it.screen
        assert "2022-01-31 14:29:07.000000 UTC" in it.screen


async def test_tab_goes_to_the_engine_and_back() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("0")
        assert it.app.base.panel == "connections"
        await it.press("tab")
        assert it.app.base.panel == "engine"
        await it.press("end", "tab")
        assert it.app.base.panel == "connections"
