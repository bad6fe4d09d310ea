"""The log: levels, and lines that stand still."""

import pytest
from msgspec.structs import replace

from engine.view.snapshot import LogLine
from tests.tui import scripted
from tests.tui.scripted import TS, Desk, desk
from tui.widgets.log import Log

NEW = LogLine(11, TS, "error", "the newest line")


def lines(it: Desk) -> list[str]:
    return [row.text for row in it.app.base.query_one(Log)._rows]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_l_shows_levels_alone(size: tuple[int, int]) -> None:
    async with desk(scripted.paper(), size=size) as it:
        await it.press("9", "l")
        assert "warnings and errors alone" in it.screen
        levels = {line.text: line.level for line in scripted.LOG}
        assert [levels[text] for text in lines(it)] == ["warning", "warning", "error"]
        await it.press("l")
        assert [levels[text] for text in lines(it)] == ["error"]
        await it.press("l")
        assert len(lines(it)) == len(scripted.LOG)


async def test_a_level_that_is_not_known_is_never_left_out() -> None:
    odd = replace(NEW, level="disaster")
    async with desk(replace(scripted.paper(), log=(*scripted.LOG, odd))) as it:
        await it.press("9", "l", "l")
        assert lines(it)[-1] == NEW.text


async def test_levels_and_words_are_chosen_together() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("9", "l", "slash", *"spy", "enter")
        assert len(lines(it)) == 2
        assert all("SPY" in text for text in lines(it))


async def test_f_stops_the_lines_and_follows_them_again() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("9", "f")
        assert "STOPPED · 0 new lines · f follows" in it.screen
        it.client.change(log=(*scripted.LOG, NEW))
        screen = await it.draw()
        assert "STOPPED · 1 new line · f follows" in screen
        assert NEW.text not in lines(it)
        await it.press("f")
        assert lines(it)[-1] == NEW.text
        assert "STOPPED" not in it.screen


async def test_after_fewer_lines_as_in_the_past_it_is_at_the_end_again() -> None:
    many = tuple(LogLine(n, scripted.TS + n, "info", f"line {n}") for n in range(40))
    async with desk(scripted.paper()) as it:
        for log in (many[:3], many):
            it.client.change(log=log)
            await it.draw()
        assert many[-1].text in it.screen
