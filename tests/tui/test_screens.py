"""Screens of panels: how one gets from one to the other, and what each is told."""

import sys

import pytest
from msgspec.structs import replace

from engine.view.snapshot import LogLine
from tests.tui import scripted
from tests.tui.scripted import PANELS, Desk, desk, to
from tui.commands import FIRST_SCREEN, SCREENS
from tui.frame import Frame, Past
from tui.widgets.quotes import Quotes
from tui.widgets.status_strip import StatusStrip


def here(it: Desk) -> str:
    return it.app.base.name or ""


async def test_the_palette_goes_to_a_screen() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("ctrl+p", *"logsscreen")
        await it.app.workers.wait_for_complete()
        await it.press("enter")
        assert here(it) == "logs"
        await it.press("ctrl+k")
        assert len(it.sent) == 1


async def test_a_screen_is_imported_when_it_is_first_opened() -> None:
    sys.modules.pop("tui.screens.logs", None)
    async with desk(scripted.paper()) as it:
        assert "tui.screens.logs" not in sys.modules
        await it.press("9")
        assert "tui.screens.logs" in sys.modules


async def test_a_hidden_screen_is_told_nothing_and_is_up_to_date_when_it_comes_back() -> None:
    line = LogLine(99, scripted.TS, "info", "the newest line")
    async with desk(scripted.paper()) as it:
        quotes = it.app.base.query_one(Quotes)
        await it.press("9")
        it.client.change(quotes=scripted.QUOTES[:1], log=(*scripted.LOG, line))
        assert line.text in await it.draw()
        assert quotes.border_subtitle == "4 symbols"
        await it.pilot.press("1")
        await it.pilot.pause()
        assert quotes.border_subtitle == "1 symbol"
        assert "the newest line" in it.screen


async def test_a_resize_reaches_a_hidden_screen() -> None:
    async with desk(scripted.paper(), size=(200, 50)) as it:
        await it.press("9")
        await it.pilot.resize_terminal(80, 24)
        await it.press("1")
        assert it.app.base.has_class("-narrow", "-short")
        assert not it.app.base.has_class("-wide")


@pytest.mark.parametrize(
    ("size", "line", "shown"),
    [((120, 40), 2, ("1 desk", "9 logs")), ((80, 24), 0, ("logs",)), ((200, 50), 2, ("1 desk",))],
)
async def test_where_one_is_is_seen(
    size: tuple[int, int], line: int, shown: tuple[str, ...]
) -> None:
    async with desk(scripted.paper(), size=size) as it:
        await it.press("9")
        assert all(text in it.screen.splitlines()[line] for text in shown)


@pytest.mark.parametrize("name", SCREENS)
async def test_the_smallest_terminal_says_that_digits_go_to_screens(name: str) -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        await it.press(SCREENS[name].key)
        footer = it.screen.splitlines()[-1]
        assert "1-0 screens" in footer
        assert "? help" in footer
        await it.press("question_mark")
        assert all(f"{place.key} {screen}" in it.screen for screen, place in SCREENS.items())


async def test_s_goes_to_the_strategies_from_a_screen_without_them() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("9", "s")
        assert (here(it), it.app.base.panel) == ("desk", "strategies")


async def test_the_kill_key_and_the_mode_are_on_every_screen() -> None:
    for name, place in SCREENS.items():
        async with desk(scripted.live(), size=(80, 24)) as it:
            await it.press(place.key, "ctrl+k")
            assert here(it) == name
            assert " LIVE " in it.screen.splitlines()[0]
            assert "KILL REQUESTED" in it.screen
            assert it.app.screen.has_class("-live")


async def test_the_keys_of_a_panel_are_shown_before_the_next_frame() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to("positions"))
        assert "on/off" not in it.screen.splitlines()[-1]
        await it.pilot.press("s")
        assert "on/off" in it.screen.splitlines()[-1]


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_z_makes_a_panel_the_whole_screen_and_back(panel: str, size: tuple[int, int]) -> None:
    async with desk(scripted.paper(), size=size) as it:
        await it.press(*to(panel), "z")
        assert shown(it) == [panel]
        assert it.app.base.query_one(f"#{panel}").region.height >= size[1] - 5
        await it.press("z")
        before = shown(it)
        assert len(before) > 1
        await it.press("z", "tab")
        (other,) = shown(it)
        assert other != panel
        await it.press("escape")
        assert other in shown(it)
        assert len(shown(it)) == len(before)
        assert here(it) == "desk"


def shown(it: Desk) -> list[str]:
    """The panels in sight."""
    return [name for name in PANELS if it.app.base.query_one(f"#{name}").region.height]


async def test_a_note_from_outside_is_no_markup() -> None:
    held = replace(scripted.POSITIONS[0], not_flat="[bold]x[/] closed")
    async with desk(replace(scripted.paper(), positions=(held,))) as it:
        assert "NOT FLAT: [bold]x[/] closed" in it.screen


async def test_keys_and_frames_that_come_before_a_screen_is_made_break_nothing() -> None:
    async with desk(scripted.paper()) as it:
        for name in [*SCREENS, FIRST_SCREEN]:
            it.app.action_screen(name)
            it.app.tick()
            it.app.action_help()
            it.app.tick()
        await it.press("escape")
        assert "Kill: stop trading now" in it.screen
        await it.press(*["escape"] * len(SCREENS))
        assert "quotes" in it.screen


async def test_screens_that_are_left_at_once_ask_nothing_of_one_that_is_not_made_yet() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(SCREENS["orders"].key, SCREENS[FIRST_SCREEN].key)
        it.app.action_screen("orders")
        it.app.action_screen("strategies")
        await it.press("home")
        assert it.app.base.name == "strategies"


async def test_the_numbers_of_the_engines_light_give_way_to_what_is_worth_more() -> None:
    health = replace(scripted.HEALTH, lateness_ms=33.6, queue=12_345)
    async with desk(replace(scripted.alerting(), health=health), size=(80, 24)) as it:
        second = it.screen.splitlines()[1]
        assert " equity 100,412.55 USD  day ▲+412.55" in second
        assert "2 alerts" in second
        assert "● engine " in second
        assert "33.6 ms" not in second
        it.client.snapshot = replace(scripted.alerting(), health=replace(health, lateness_ms=80.0))
        await it.draw()
        assert "● engine 80.0 ms" in it.screen.splitlines()[1], "it is late: that is said"


def test_what_one_has_comes_before_the_numbers_of_the_engine_and_the_count_of_events() -> None:
    now = Frame(scripted.alerting(), 0.0, dropped=12)
    then = now._replace(past=Past("s", 1_234_567, 12_345_678, "paused", "", now))
    for frame, ending in ((now, "● engine"), (then, "paused")):
        line = "".join(text for text, _ in StatusStrip()._second(frame, 80))
        assert " equity 100,412.55 USD  day ▲+412.55  +0.41%" in line
        assert line.rstrip().endswith(ending)
        wide = "".join(text for text, _ in StatusStrip()._second(frame, 200))
        assert "drop 12" in wide or "event 1,234,567 of 12,345,678 paused" in wide


def test_lost_frames_give_way_before_the_lateness_and_the_queue_of_the_engine() -> None:
    health = replace(scripted.HEALTH, lateness_ms=0.4, queue=0)
    frame = Frame(replace(scripted.paper(), health=health), 0.0, dropped=123)
    line = "".join(text for text, _ in StatusStrip()._second(frame, 80))
    assert line.rstrip().endswith("● engine 0.4 ms q 0")


async def test_how_old_prices_are_is_said_on_a_small_screen_too() -> None:
    async with desk(scripted.stale(), size=(80, 24)) as it:
        second = it.screen.splitlines()[1]
        assert " equity ~100,412.55 USD" in second
        assert "STALE 5m" in second
