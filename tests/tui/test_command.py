"""Which console is in command: what is shown of it, and the keys that take and keep it."""

import pytest
from msgspec.structs import replace

from engine.control.standing import Standing
from engine.core.events import ChangeLimit, ToggleStrategy, TripKillSwitch
from engine.view.snapshot import StoreStatus
from tests.tui import scripted
from tests.tui.scripted import desk
from tui.widgets.footer import Footer

WHO = "ann on pts/1 from 203.0.113.177 (pid 19740)"
OTHER = f"console of {WHO}"
READ_ONLY = Standing(holder=OTHER, consoles=2)


async def test_the_only_console_says_nothing_of_it() -> None:
    async with desk(scripted.paper()) as it:
        assert "READ-ONLY" not in it.screen
        assert "in command" not in it.screen


async def test_the_one_in_command_of_several_says_so() -> None:
    async with desk(scripted.paper()) as it:
        it.client.stands = Standing(holder="me", mine=True, consoles=3)
        assert "in command of 3 consoles" in await it.draw()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_one_that_only_looks_on_says_who_commands(size: tuple[int, int]) -> None:
    async with desk(scripted.paper(), size) as it:
        it.client.stands = READ_ONLY
        screen = await it.draw()
        assert " READ-ONLY " in screen.splitlines()[0]
        assert f"READ-ONLY: c asks {WHO} for the" in screen


async def test_a_long_alert_leaves_room_for_how_many_more_there_are() -> None:
    lost = replace(scripted.paper(), store=StoreStatus(available=False, note="no space left " * 9))
    async with desk(lost) as it:
        it.client.stands = READ_ONLY
        (line,) = (row for row in (await it.draw()).splitlines() if "DATABASE" in row)
        assert line.rstrip().endswith("\u2026  (+1)")


async def test_it_is_told_why_it_cannot_do_what_it_may_not() -> None:
    async with desk(scripted.killed()) as it:
        it.client.stands = READ_ONLY
        await it.draw()
        for key in ("R", "m", "p"):
            await it.press(key)
            assert f"READ-ONLY: c asks {WHO} for the" in it.screen.splitlines()[-1]
        await it.press("s", "end", "space")
        assert it.sent == []


async def test_it_may_tighten_a_limit_and_not_loosen_one() -> None:
    async with desk(scripted.paper()) as it:
        it.client.stands = READ_ONLY
        await it.press("5", "home", "enter", seconds=0.6)
        await it.press(*"2000", "enter", seconds=0.6)
        assert "only a tighter value is taken here. READ-ONLY" in it.screen
        await it.press(*"500", "enter", seconds=0.6)
        assert it.sent_but_life == [
            ChangeLimit(name="max_daily_loss", value="500", author="console")
        ]


async def test_the_footer_greys_what_it_may_not_and_names_the_key_of_the_command() -> None:
    async with desk(scripted.killed(), (140, 24)) as it:

        def styles() -> dict[str, str]:
            (line,) = it.app.base.query_one(Footer)._lines
            return {text.strip(): style for text, style in line if text.strip()}

        assert styles()["mode"] == styles()["re-arm"] == "text"
        assert "command" not in styles()
        it.client.stands = READ_ONLY
        await it.draw()
        assert styles()["mode"] == styles()["re-arm"] == "dim"
        assert styles()["KILL"] == styles()["command"] == "text"


async def test_it_can_stop_without_the_command() -> None:
    async with desk(scripted.paper()) as it:
        it.client.stands = READ_ONLY
        await it.draw()
        await it.press("ctrl+k", "s", "home", "space")
        assert [type(command) for command in it.sent] == [TripKillSwitch, ToggleStrategy]


async def test_c_asks_for_the_command() -> None:
    async with desk(scripted.paper()) as it:
        it.client.stands = READ_ONLY
        await it.draw()
        await it.press("c")
        assert it.client.pressed == ["ask"]
        assert f"asked {OTHER} for the command" in it.screen


@pytest.mark.parametrize("holder", ["", OTHER])
async def test_one_that_may_never_command_is_not_offered_to_ask(holder: str) -> None:
    async with desk(scripted.paper(), (140, 24)) as it:
        it.client.stands = Standing(holder, may_ask=False, consoles=2)
        who = WHO if holder else "no console"
        assert f"READ-ONLY: {who} is in command" in await it.draw()
        (line,) = it.app.base.query_one(Footer)._lines
        assert "command" not in [text.strip() for text, _ in line]
        await it.press("c")
        assert f"READ-ONLY: {who} is in command" in it.screen.splitlines()[-1]
        assert it.client.pressed == []


async def test_c_takes_what_nobody_has() -> None:
    async with desk(scripted.paper()) as it:
        it.client.stands = Standing(consoles=1)
        assert "READ-ONLY: no console is in command (c takes it)" in await it.draw()
        await it.press("c")
        assert it.client.pressed == ["ask"]


async def test_c_keeps_the_command_where_another_asks() -> None:
    async with desk(scripted.paper()) as it:
        it.client.stands = Standing("me", mine=True, asks=OTHER, passes_in=12.0, consoles=2)
        assert f"c keeps the command, else in 12 s {WHO}" in await it.draw()
        await it.press("c")
        assert it.client.pressed == ["keep"]
        it.client.stands = Standing("me", mine=True, consoles=2)
        await it.draw()
        await it.press("c")
        assert it.client.pressed == ["keep"]
        assert "this console is in command" in it.screen


async def test_those_who_are_not_in_command_see_who_gets_it_and_when() -> None:
    """On a narrow screen the end of a long name is what is cut off."""
    for size, who in (((120, 40), WHO), ((80, 24), WHO[:20])):
        async with desk(scripted.paper(), size=size) as it:
            it.client.stands = Standing("me", asks=OTHER, passes_in=12.0, consoles=2)
            told = f"READ-ONLY: unless it is kept, in 12 s command goes to {who}"
            assert told in await it.draw()


async def test_what_the_engine_says_to_this_console_is_shown() -> None:
    async with desk(scripted.paper()) as it:
        it.client.says = ["not done: another is in command"]
        assert "not done: another is in command" in await it.draw()


async def test_d_detaches_once_there_is_an_engine() -> None:
    async with desk(None) as it:
        await it.press("d")
        assert it.app.is_running
        it.client.snapshot = scripted.paper()
        await it.draw()
        await it.press("d")
        assert not it.app.is_running
        assert it.app.ending == "detach"
