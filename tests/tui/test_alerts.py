"""Alerts are counted on every screen, and stay until somebody has acknowledged them."""

from msgspec.structs import replace

from engine.control.standing import Standing
from engine.core.events import AcknowledgeAlerts
from engine.view.snapshot import AlertRow
from tests.tui import scripted
from tests.tui.scripted import Desk, desk
from tui.commands import SCREENS


def is_open(it: Desk) -> bool:
    return "to acknowledge" in it.screen


async def test_the_count_is_on_every_screen_and_over_dialogs() -> None:
    async with desk(scripted.alerting(), (80, 24)) as it:
        for place in SCREENS.values():
            await it.press(place.key, seconds=0.02)
            assert "2 alerts" in it.screen
            assert "kill ready" in it.screen
            assert "equity 100,412.55" in it.screen
        await it.press("m")
        assert "2 alerts" in it.screen
        it.client.change(alerts=scripted.ALERTS[2:])
        await it.draw()
        assert "2 alerts" not in await it.draw()


async def test_the_list_shows_when_what_how_often_and_who_has_read_it() -> None:
    async with desk(scripted.alerting(), (80, 24)) as it:
        await it.press("a")
        assert "2 to acknowledge" in it.screen
        assert "×12" in it.screen
        assert "01-31 14:25:07" in it.screen
        await it.press("down")
        assert "12 times since 2022-01-31 13:30:07 UTC. Its" in it.screen
        await it.press("down")
        assert "Its cause lasts. Acknowledged by ann." in it.screen
        await it.press("escape")
        assert not is_open(it)


async def test_one_is_acknowledged_or_all_and_enter_and_space_do_not() -> None:
    async with desk(scripted.alerting()) as it:
        await it.press("a", "space", "down", seconds=0.5)
        await it.press("o", seconds=0.5)
        await it.press("down", "o", seconds=0.5)
        assert it.sent == [AcknowledgeAlerts(names=("rejected SPY",), author="console")]
        await it.press("O", seconds=0.5)
        names = ("circuit-breaker", "rejected SPY")
        assert it.sent[1:] == [AcknowledgeAlerts(names=names, author="console")]
        assert is_open(it)


async def test_a_key_that_is_held_acknowledges_nothing_that_was_not_read() -> None:
    async with desk(scripted.alerting()) as it:
        await it.press("a", *"ooO", seconds=0.1)
        assert it.sent == []


async def test_who_looks_on_reads_and_is_told_why_it_is_not_acknowledged() -> None:
    async with desk(scripted.alerting()) as it:
        it.client.stands = Standing(holder="bob", consoles=2)
        await it.press("a")
        await it.press("O", seconds=0.5)
        assert it.sent == []
        assert "READ-ONLY: c asks bob for the command" in it.screen


async def test_the_list_follows_the_engine_and_opens_only_where_there_is_one() -> None:
    async with desk(scripted.paper()) as it:
        assert "a alerts" not in it.screen
        await it.press("a")
        assert "there is no alert" in it.screen
        it.client.change(alerts=scripted.ALERTS[2:])
        await it.press("a")
        it.client.change(alerts=scripted.ALERTS)
        assert "no buying power" in await it.draw()
        it.client.change(alerts=())
        assert "nothing went wrong" in await it.draw()


# --- an engine that is lost ----------------------------------------------------------------------


async def test_an_engine_that_was_lost_is_an_alert_until_a_person_acknowledges_it() -> None:
    async with desk(scripted.alerting()) as it:
        assert "3 alerts" in await it.draw(12.0)
        await it.press("a")
        assert "engine not heard of for 12 s" in it.screen
        assert "Its cause lasts." in it.screen
        it.client.change()
        await it.draw()
        assert "engine not heard of for 12 s" in it.screen
        assert "Its cause is over." in it.screen
        assert "3 to acknowledge" in it.screen
        await it.press("home", "o", seconds=0.3)
        it.client.change()
        assert "not heard of" not in await it.draw()
        assert "2 to acknowledge" in it.screen
        assert it.sent == []


async def test_all_are_acknowledged_with_those_of_the_engine() -> None:
    async with desk(scripted.alerting()) as it:
        await it.draw(12.0)
        it.client.change()
        await it.press("a", "O", seconds=0.5)
        names = ("circuit-breaker", "rejected SPY")
        assert it.sent == [AcknowledgeAlerts(names=names, author="console")]
        it.client.change()
        assert "2 to acknowledge" in await it.draw()


async def test_one_that_is_acknowledged_while_it_lasts_ends_with_its_cause_and_comes_anew() -> None:
    async with desk(scripted.paper()) as it:
        await it.draw(3.0)
        await it.press("a", "o", seconds=0.5)
        assert "Acknowledged by this console." in it.screen
        assert "0 to acknowledge" in it.screen
        it.client.change()
        assert "nothing went wrong" in await it.draw()
        assert "1 to acknowledge" in await it.draw(3.0)
        it.client.change()
        await it.draw()
        assert "×2" in await it.draw(3.0)


async def test_who_looks_on_acknowledges_what_its_own_console_says() -> None:
    async with desk(scripted.paper()) as it:
        it.client.stands = Standing(holder="bob", consoles=2)
        await it.draw(3.0)
        await it.press("a", "o", seconds=0.5)
        it.client.change()
        assert "nothing went wrong" in await it.draw()


async def test_an_engine_that_has_ended_is_an_alert_too() -> None:
    async with desk(scripted.paper()) as it:
        it.client.ended = "law I4 broken"
        await it.draw()
        await it.press("a")
        assert "engine ended: law I4 broken" in it.screen


async def test_of_what_waits_for_a_person_nobody_says_that_it_is_over() -> None:
    text = "alert strategy-file-mine.py: it is broken: SyntaxError"
    row = AlertRow("strategy-file-mine.py", "error", text, 0, 0, 1, lasts=False, holds=True)
    async with desk(replace(scripted.paper(), alerts=(row,))) as it:
        await it.press("a")
        assert "unread" in it.screen
        assert "Live trading makes no entry before it is acknowledged." in it.screen
        assert "  over  " not in it.screen
        assert "cause is over" not in it.screen
