"""Keys on the desk: what each one sends, and what is refused and why."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread
from textual.events import CursorPosition
from textual.widgets import Input

from engine.core.events import ControlFeed, RequestCancel, ToggleStrategy, TripKillSwitch
from engine.core.model import NANOS, KillAction
from engine.view.snapshot import BrokerStatus, LogLine, Snapshot
from tests.tui import scripted
from tests.tui.scripted import CANCELLING, KILLED, PANELS, Clock, Desk, ScriptedClient, desk, to
from tui.app import Console
from tui.commands import SCREENS
from tui.driver import ASK, PENDING_WRITES, ConsoleDriver

KILL = TripKillSwitch(source="console", reason="kill key", author="console")


# --- kill ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["ctrl+k", "f12"])
async def test_one_key_kills_and_asks_nothing(key: str) -> None:
    async with desk(scripted.paper()) as it:
        await it.press(key)
        assert it.sent == [KILL]


PLACES = {
    "rearm": (scripted.killed, "R"),
    "word typed in half": (scripted.killed, "R", "R", "E"),
    "mode": (scripted.paper, "m"),
    "live word": (scripted.unconfirmed, "m", "L"),
    "kill choices": (scripted.paper, "K"),
    "order in doubt": (scripted.paper, *to("orders"), "home", "down", "enter"),
    "limit": (scripted.paper, *to("risk"), "home", "enter", "7"),
    "breaker": (scripted.breaker_tripped, "B", "R"),
    "quit": (scripted.paper, "q"),
    "help": (scripted.paper, "question_mark"),
    "cancel": (scripted.paper, *to("orders"), "home", "x"),
    "strategy on": (scripted.live, "s", "end", "space"),
    "palette": (scripted.paper, "ctrl+p"),
    "palette, searching": (scripted.paper, "ctrl+p", "r", "e"),
    "starting": (lambda: None,),
}


@pytest.mark.parametrize("place", PLACES)
async def test_the_kill_key_works_everywhere(place: str) -> None:
    snapshot, *keys = PLACES[place]
    async with desk(snapshot()) as it:
        await it.press(*keys, seconds=0.6)
        opened = it.app.screen
        assert (await it.draw()).splitlines()[-1].startswith(" ^k KILL")
        await it.press("ctrl+k")
        assert it.sent == [KILL]
        assert it.app.screen is opened


async def test_the_kill_key_works_in_a_terminal_that_is_too_small() -> None:
    async with desk(scripted.paper(), size=(40, 10)) as it:
        await it.press("ctrl+k")
        assert it.sent == [KILL]
        assert "KILL REQUESTED" in it.screen


async def test_a_held_kill_key_is_sent_once_and_again_when_it_stays_unanswered() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*["ctrl+k"] * 20, seconds=0.03)
        assert it.sent == [KILL]
        await it.press("ctrl+k", seconds=1.0)
        assert it.sent == [KILL, KILL]


async def test_the_kill_is_sent_even_to_an_engine_that_is_lost_or_killed() -> None:
    async with desk(scripted.killed()) as it:
        await it.draw(5.0)
        await it.press("ctrl+k")
        assert it.sent == [KILL]


async def test_the_phases_of_a_kill_are_on_the_screen() -> None:
    async with desk(scripted.paper(), size=(160, 40)) as it:
        assert "kill ready" in it.screen
        await it.press("ctrl+k")
        assert "KILL REQUESTED 0.0 s ago, not acknowledged yet" in it.screen
        assert "NO ANSWER" in await it.draw(2.5)
        it.client.change(kill=CANCELLING)
        screen = await it.draw(0.1)
        assert "KILLED 3 open" in screen
        assert "cancelling, 3 orders still open after 2.6 s · 0 of 4 orders cancelled" in screen
        assert "· acknowledged in 2.6 s" in screen
        it.client.change(kill=KILLED)
        assert "complete, no order open after 2.8 s · " in await it.draw(0.2)


@pytest.mark.parametrize("source", ["console", "dead-man's switch"])
async def test_how_a_kill_ended_is_whole_at_80_columns(source: str) -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        flat = replace(KILLED, action=KillAction.FLATTEN, source=source)
        it.client.change(kill=flat, orders=())
        screen = await it.draw(12.3)
        assert f"KILLED by {source} · complete, no order open, no position" in screen


async def test_how_the_kill_of_a_part_ended_is_whole_at_80_columns() -> None:
    _, row = scripted.parts_killed().killed_parts
    flat = replace(row, killed=replace(row.killed, action=KillAction.FLATTEN))
    async with desk(replace(scripted.paper(), killed_parts=(flat,)), size=(80, 24)) as it:
        assert "KILLED symbol SPY · complete, no order open, no position (R re-arms)" in it.screen


async def test_the_phases_of_a_kill_are_seen_over_a_dialog_too() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("q", "ctrl+k")
        it.client.change(kill=CANCELLING)
        assert "KILLED by console" in (await it.draw()).splitlines()[3]


# --- strategies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "enabled"),
    [("sma_crossover", False), ("mean_reversion", True), ("breakout", False)],
    ids=["on", "off", "paused"],
)
async def test_space_switches_the_selected_strategy(row: str, enabled: bool) -> None:
    names = [strategy.name for strategy in scripted.STRATEGIES]
    async with desk(scripted.paper()) as it:
        await it.press("s", *["down"] * names.index(row), "space")
        assert it.sent == [ToggleStrategy(strategy=row, enabled=enabled, author="console")]
        assert f"{row} {'on' if enabled else 'off'}: sent to the engine" in it.screen


async def test_a_failed_strategy_is_switched_on() -> None:
    failed = replace(scripted.STRATEGIES[0], state="failed", note="division by zero")
    async with desk(replace(scripted.paper(), strategies=(failed,))) as it:
        await it.press("s", "space")
        assert [command.enabled for command in toggles(it)] == [True]


async def test_a_held_space_switches_once() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("s", *["space"] * 12, seconds=0.03)
        assert len(it.sent) == 1


async def test_space_does_nothing_in_the_other_panels() -> None:
    async with desk(scripted.paper()) as it:
        for panel in PANELS:
            if panel != "strategies":
                await it.press(*to(panel), "space")
        assert it.sent == []


async def test_switching_off_in_live_asks_nothing() -> None:
    async with desk(scripted.live()) as it:
        await it.press("s", "space")
        assert [command.enabled for command in toggles(it)] == [False]


def toggles(it: Desk) -> list[ToggleStrategy]:
    return [command for command in it.sent if isinstance(command, ToggleStrategy)]


# --- the replay ----------------------------------------------------------------------------------


def with_feed(**fields: Any) -> Snapshot:
    snapshot = scripted.paper()
    return replace(snapshot, feed=replace(snapshot.feed, **fields))


@pytest.mark.parametrize(
    ("snapshot", "key", "action", "speed"),
    [
        (with_feed(), "p", "pause", 10.0),
        (with_feed(status="paused"), "p", "resume", 10.0),
        (with_feed(), "plus", "speed", 60.0),
        (with_feed(), "equals_sign", "speed", 60.0),
        (with_feed(), "minus", "speed", 1.0),
        (with_feed(speed=60.0), "plus", "speed", 0.0),
        (with_feed(speed=0.0), "minus", "speed", 60.0),
    ],
)
async def test_the_replay_is_steered(
    snapshot: Snapshot, key: str, action: str, speed: float
) -> None:
    async with desk(snapshot) as it:
        await it.press(key)
        assert it.sent == [ControlFeed(action=action, speed=speed, author="console")]


@pytest.mark.parametrize(
    ("snapshot", "key", "reason"),
    [
        (scripted.live(), "p", "only a replay of recorded data"),
        (with_feed(status="ended"), "plus", "the replay has ended"),
        (with_feed(speed=0.0), "plus", "this is the highest speed"),
        (with_feed(speed=1.0), "minus", "this is the lowest speed"),
        (scripted.paper(), "R", "there is nothing to re-arm"),
        (None, "m", "the engine is still starting"),
        (None, "p", "the engine is still starting"),
    ],
)
async def test_a_refusal_says_why_and_sends_nothing(
    snapshot: Snapshot | None, key: str, reason: str
) -> None:
    async with desk(snapshot) as it:
        await it.press(key)
        assert reason in it.screen.splitlines()[-1]
        assert it.sent == []
        assert it.app.screen is it.app.base


# --- panels, footer, palette ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (80, 40), (120, 24), (120, 40)])
async def test_tab_and_arrows_reach_every_panel(size: tuple[int, int]) -> None:
    async with desk(scripted.paper(), size=size) as it:
        assert it.app.base.panel == "quotes"
        for key in ("tab", "right"):
            for name in (*PANELS[1:], "quotes"):
                await it.press(key)
                assert it.app.base.panel == name
                assert it.app.screen.focused is not None
                assert it.app.screen.focused.region.height > 3
        for key, name in (("shift+tab", "log"), ("left", "signals")):
            await it.press(key)
            assert it.app.base.panel == name


async def test_the_footer_shows_only_keys_that_work_now() -> None:
    async with desk(scripted.paper()) as it:
        footer = it.screen.splitlines()[-1]
        assert "^k KILL" in footer
        assert "p pause" in footer
        assert "re-arm" not in footer
        assert "on/off" not in footer
        await it.press("s")
        assert "space on/off" in it.screen.splitlines()[-1]
        it.client.change(kill=KILLED, feed=replace(scripted.paper().feed, status="paused"))
        footer = (await it.draw()).splitlines()[-1]
        assert "R re-arm" in footer
        assert "p resume" in footer


@pytest.mark.parametrize("key", ["K", "question_mark", "m", "ctrl+p"])
async def test_under_a_dialog_the_footer_has_no_key_of_the_screen(key: str) -> None:
    async with desk(scripted.paper()) as it:
        await it.press(key)
        assert (await it.draw()).splitlines()[-1].strip().startswith("^k KILL  esc close")
        it.app.base.say("kill: sent")
        footer = (await it.draw()).splitlines()[-1].strip()
        assert footer.startswith("^k KILL  esc close")
        assert footer.endswith("  kill: sent")


async def test_while_a_filter_is_typed_the_footer_has_no_key_that_is_a_letter_then() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("2", "/", "q")
        footer = (await it.draw()).splitlines()[-1].strip()
        assert footer == "^k KILL  enter keeps the filter  esc shows all rows"


async def test_a_dialog_that_is_longer_than_the_screen_says_how_to_scroll() -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        await it.press("question_mark")
        assert (await it.draw()).splitlines()[-1].strip().endswith("esc close  pgup pgdn scroll")
        await it.press("escape", "m")
        assert (await it.draw()).splitlines()[-1].strip().endswith("esc close")


async def test_a_remapped_key_works_and_is_shown() -> None:
    async with desk(scripted.paper()) as it:
        it.app.set_keymap({"kill": "f9", "mode": "o"})
        await it.draw()
        footer = it.screen.splitlines()[-1]
        assert "f9 KILL" in footer
        assert "o mode" in footer
        await it.press("f9")
        assert it.sent == [KILL]
        await it.press("ctrl+k", seconds=2.0)
        assert it.sent == [KILL]


async def palette(it: Desk, search: str) -> None:
    await it.press("ctrl+p")
    it.app.screen.query_one(Input).value = search
    await it.app.workers.wait_for_complete()
    await it.pilot.pause()
    await it.press("enter")
    await it.pilot.pause()


@pytest.mark.parametrize(
    ("search", "command"),
    [
        ("Kill: stop", KILL),
        (
            "Switch mean_reversion on",
            ToggleStrategy(strategy="mean_reversion", enabled=True, author="console"),
        ),
        ("Pause or resume", ControlFeed(action="pause", speed=10.0, author="console")),
        ("Speed the replay up", ControlFeed(action="speed", speed=60.0, author="console")),
    ],
)
async def test_the_palette_does_what_the_keys_do(search: str, command: object) -> None:
    async with desk(scripted.paper()) as it:
        await palette(it, search)
        assert it.sent == [command]


async def test_the_palette_says_what_cannot_be_done_now_and_why() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("ctrl+p")
        await it.app.workers.wait_for_complete()
        await it.pilot.pause()
        assert "not now: the kill switch is ready" in await it.draw()
        await it.press("escape")
        await palette(it, "Re-arm")
        assert it.sent == []
        assert "there is nothing to re-arm" in it.screen


async def test_ctrl_c_says_how_to_quit_and_does_not() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("ctrl+c")
        assert "ctrl+c does not quit: q does" in it.screen
        assert it.app.is_running


async def test_colours_that_cannot_be_seen_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with desk(scripted.paper()) as it:
        await it.press("T")
        assert "colours: dark, not seen: NO_COLOR is set" in it.screen


# --- orders --------------------------------------------------------------------------------------


async def test_the_cancel_of_an_order_is_confirmed_with_a_letter() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to("orders"), "home", "x")
        assert "SELL 0.031 BTC-USD" in it.screen
        await it.press("enter", "space", "x", seconds=0.5)
        assert it.sent == []
        await it.press("y")
        assert it.sent == [RequestCancel(client_order_id="sma-btc-0007", author="console")]


async def test_a_position_that_is_not_safe_says_so_in_words() -> None:
    whole, small, bare = scripted.paper().positions
    positions = (
        replace(whole, not_flat="XNYS is closed: flatten again at the open"),
        replace(small, unprotected=Decimal("0.05")),
        replace(bare, stop_price=None, unprotected=bare.position.quantity),
    )
    async with desk(replace(scripted.paper(), positions=positions)) as it:
        assert "NOT FLAT: XNYS is closed" in it.screen
        assert "PART 36,849.4" in it.screen
        assert "NONE" in it.screen


async def test_what_is_too_little_to_sell_is_called_dust_and_no_open_position() -> None:
    whole, small, bare = scripted.paper().positions
    dust = replace(small, stop_price=None, dust=True)
    async with desk(replace(scripted.paper(), positions=(whole, dust, bare))) as it:
        assert "2 and 1 dust" in it.screen
        assert re.search(rf"{small.position.symbol}.* dust", it.screen)
        await it.press("q")
        assert "2 open, worth" in it.screen


async def test_to_cancel_a_protective_stop_is_warned_of() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to("orders"), "home", *["down"] * 3, "x")
        assert "PROTECTIVE STOP" in it.screen


async def test_an_order_that_is_final_cannot_be_cancelled() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to("orders"), "end", "x")
        assert "sma-aap-0001 is filled already" in it.screen
        assert it.app.screen is it.app.base


async def test_an_order_that_fills_under_the_dialog_is_not_cancelled() -> None:
    async with desk(scripted.paper()) as it:
        await it.press(*to("orders"), "home", "x")
        it.client.change(orders=scripted.ORDERS[:3])
        assert "sma-btc-0007 is no longer open" in await it.draw(1.0)
        await it.press("y")
        assert it.sent == []


# --- truth ---------------------------------------------------------------------------------------


async def test_a_lost_engine_is_seen_within_two_seconds_and_its_return_too() -> None:
    async with desk(scripted.paper()) as it:
        assert "ENGINE LOST" not in await it.draw(0.75)
        screen = await it.draw(0.5)
        assert "ENGINE LOST 1.2 s ago: all numbers are old" in screen
        assert "kill —" in screen
        assert "broker —  feed —" in screen
        it.client.change()
        assert "ENGINE LOST" not in await it.draw(0.25)


async def test_an_engine_that_ended_says_why_and_takes_no_command_but_the_kill() -> None:
    async with desk(scripted.paper()) as it:
        it.client.ended = "law I4 broken"
        assert "ENGINE ENDED: law I4 broken" in await it.draw(0.25)
        await it.press("p")
        assert "not sent: the engine has ended" in it.screen
        assert it.sent == []
        await it.press("ctrl+k")
        assert it.sent == [KILL]


async def test_an_engine_that_cannot_start_ends_the_console() -> None:
    client = ScriptedClient(None)
    client.ended = "another engine holds the database"
    app = Console(client, clock=Clock())
    async with app.run_test() as pilot:
        await pilot.pause()
        app.tick()
        await pilot.pause()
        assert not app.is_running


async def test_nothing_is_zero_before_it_is_known() -> None:
    for snapshot in (None, scripted.empty()):
        async with desk(snapshot) as it:
            head = it.screen.splitlines()[1]
            assert "equity —" in head
            assert "day —" in head
            assert "0.00" not in head


async def test_a_new_warning_of_the_engine_is_shown_at_the_bottom() -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        assert "KILL" in it.screen.splitlines()[-1]
        line = LogLine(10, scripted.TS, "warning", "refused ToggleStrategy: no such strategy")
        it.client.change(log=(*scripted.LOG, line))
        assert line.text in (await it.draw()).splitlines()[-1]
        assert line.text not in (await it.draw(7.0)).splitlines()[-1]


async def test_the_age_of_a_quote_is_in_market_time() -> None:
    async with desk(scripted.paper()) as it:
        it.client.change(ts=scripted.TS + 180 * NANOS)
        assert "3m" in await it.draw()


HOSTILE = (
    *((place.key,) for place in SCREENS.values()),
    *((place.key, "home", "enter") for place in SCREENS.values()),
    *((place.key, "home", "w") for place in SCREENS.values()),
    *((*to(panel), "home", key) for panel in ("signals", "orders", "positions") for key in "wx"),
    *(("K",), ("K", "p"), ("R",), ("B",), ("m",), ("a",), ("q",), ("C",), ("question_mark",)),
    *(("4", "home", "l"), ("s", "home", "space"), (*to("quotes"), "home", "enter"), ("ctrl+p",)),
)
"""Ways to every screen, and to what is asked and told there."""


@pytest.mark.parametrize("size", [(80, 24), (40, 10)], ids=str)
async def test_every_text_from_outside_is_harmless(size: tuple[int, int]) -> None:
    async with desk(scripted.hostile(), size=size) as it:
        for keys in HOSTILE:
            await it.press(*keys, seconds=0.6)
            await it.app.workers.wait_for_complete()
            screen = await it.draw()
            assert all(line.isprintable() for line in screen.split("\n")), keys
            await it.press("escape", "escape")


# --- the terminal --------------------------------------------------------------------------------


async def test_a_terminal_that_is_too_small_keeps_what_matters() -> None:
    async with desk(scripted.live(), size=(40, 10)) as it:
        for words in ("LIVE", "kill ready", "+412.55", "100,412.55", "needs 80x24, has 40x10"):
            assert words in it.screen


async def test_what_cannot_be_seen_cannot_be_steered() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("s")
        await it.pilot.resize_terminal(40, 10)
        await it.draw()
        await it.press("space", "s", "space", "p", "plus", "x", "m", seconds=0.6)
        assert it.sent == []
        assert it.app.screen is it.app.base


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (79, 24), (80, 23), (300, 90)])
async def test_no_size_ends_the_console(size: tuple[int, int]) -> None:
    async with desk(scripted.paper(), size=size) as it:
        await it.press("tab", "m", "escape", "ctrl+k", seconds=0.5)
        assert it.sent == [KILL]


async def test_a_resize_under_a_dialog_reaches_the_desk() -> None:
    async with desk(scripted.paper(), size=(120, 40)) as it:
        await it.press("m")
        await it.pilot.resize_terminal(40, 10)
        await it.draw()
        await it.press("escape")
        assert "needs 80x24" in it.screen
        await it.pilot.resize_terminal(200, 50)
        assert "log" in await it.draw()


async def test_a_frame_is_left_out_while_the_terminal_is_behind() -> None:
    async with desk(scripted.paper()) as it:
        driver: Any = it.app._driver
        driver.is_behind = True
        it.client.change(equity=None)
        assert "equity 100,412.55" in await it.draw()
        driver.is_behind = False
        screen = await it.draw()
        assert "equity —" in screen
        assert "drop 1" in screen


async def test_a_terminal_is_behind_while_writes_wait_or_it_has_not_answered() -> None:
    async with desk(scripted.paper()) as it:
        driver = ConsoleDriver(it.app)
        driver._writer_thread = WriterThread(None)  # pyright: ignore[reportArgumentType]
        queue = driver._writer_thread._queue
        driver.ask()
        assert not driver.is_behind, "it may be one that never answers"
        driver.process_message(CursorPosition(0, 0))
        driver.ask()
        assert driver.is_behind
        assert queue.get() == queue.get() == ASK
        driver.process_message(CursorPosition(0, 0))
        assert not driver.is_behind
        for _ in range(PENDING_WRITES + 1):
            driver.write("a frame")
        assert driver.is_behind
        await it.draw()


def test_textual_still_has_the_queue_that_is_watched() -> None:
    assert MAX_QUEUED_WRITES > PENDING_WRITES
    assert WriterThread(None)._queue.maxsize == MAX_QUEUED_WRITES  # pyright: ignore


class Failing(ScriptedClient):
    def latest(self) -> Snapshot | None:
        secret = "hunter2"
        raise ValueError(f"no {len(secret)}")


def test_a_crash_is_kept_for_the_log_and_prints_no_values(
    capfd: pytest.CaptureFixture[str],
) -> None:
    app = Console(Failing(None))
    asyncio.run(app.run_async(headless=True))
    assert isinstance(app.crash, ValueError)
    assert app.return_code == 1
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


@pytest.mark.parametrize(
    ("symbols", "shown", "hidden"),
    [
        (("alpaca:AAPL", "binance:BTC/USDT"), ("AAPL", "BTC/USDT"), ("alpaca:", "binance:")),
        (("alpaca:AAPL", "questrade:AAPL"), ("alpaca:AAPL", "questrade:AAPL"), ()),
    ],
)
async def test_symbols_are_short_where_that_says_enough(
    symbols: tuple[str, ...], shown: tuple[str, ...], hidden: tuple[str, ...]
) -> None:
    rows = zip(scripted.QUOTES, symbols, strict=False)
    quotes = tuple(replace(row, symbol=name) for row, name in rows)
    instruments = {name: replace(scripted.AAPL, symbol=name) for name in symbols}
    snapshot = replace(scripted.paper(), quotes=quotes, instruments=instruments)
    async with desk(snapshot) as it:
        assert all(text in it.screen for text in shown)
        assert not any(text in it.screen for text in hidden)


@pytest.mark.parametrize(
    ("down", "shown"),
    [
        ((), ("brokers ● 3 up", "feed ◐ PART DOWN")),
        (("binance",), ("binance ✗ DOWN", "feed ◐ PART DOWN")),
        (("alpaca", "binance", "questrade"), ("brokers ✗ 3 DOWN", "feed ◐ PART DOWN")),
    ],
)
async def test_what_is_down_of_several_is_seen_in_a_narrow_terminal(
    down: tuple[str, ...], shown: tuple[str, ...]
) -> None:
    names = ("alpaca", "binance", "questrade")
    brokers = tuple(BrokerStatus(name, name not in down, "") for name in names)
    snapshot = scripted.live()
    feed = replace(snapshot.feed, status="degraded", name="+".join(names))
    async with desk(replace(snapshot, brokers=brokers, feed=feed), (80, 24)) as it:
        first = it.screen.splitlines()[0]
        assert all(text in first for text in shown)
        assert " LIVE " in first


@pytest.mark.parametrize("snapshot", [scripted.paper, scripted.live])
async def test_at_the_smallest_size_the_account_is_seen_beside_the_mode(
    snapshot: Callable[[], Snapshot],
) -> None:
    async with desk(snapshot(), size=(80, 24)) as it:
        head = it.screen.splitlines()[0]
        assert snapshot().mode.upper() in head
        assert f" {snapshot().account} " in head
        assert " desk " in head


@pytest.mark.parametrize("size", [(120, 40), (200, 50)])
async def test_which_engine_it_is_stands_in_the_header(size: tuple[int, int]) -> None:
    async with desk(scripted.paper(), size=size) as it:
        head = it.screen.splitlines()[0]
        assert f" {scripted.HEALTH.host}:{scripted.HEALTH.pid} " in head
        assert " account main " in head
        assert " broker paper " in head
        assert (f" config {scripted.HEALTH.config} " in head) == (size[0] == 200)


async def test_the_age_of_the_newest_data_is_told_where_there_is_room() -> None:
    later = replace(scripted.paper(), ts=scripted.TS + 7 * NANOS)
    async with desk(later, size=(200, 50)) as it:
        assert "data 7s" in it.screen.splitlines()[0]


class Counting(scripted.ScriptedClient):
    """Each look shows another snapshot, in which every number is that of the look."""

    looks = 0

    def latest(self) -> Snapshot:
        self.looks += 1
        number = Decimal(self.looks)
        held = replace(scripted.POSITIONS[0].position, quantity=number, cost=100 * number)
        return replace(
            scripted.paper(),
            seq=self.looks,
            wall_ts=scripted.TS + self.looks,
            equity=number,
            positions=(replace(scripted.POSITIONS[0], position=held),),
            orders=(replace(scripted.ORDERS[3], quantity=number),),
            strategies=(replace(scripted.STRATEGIES[0], pnl=number),),
        )


async def test_all_panels_of_a_frame_are_of_one_snapshot() -> None:
    clock = scripted.Clock()
    app = Console(Counting(), clock=clock)
    async with app.run_test(size=(200, 50)) as pilot:
        it = Desk(app, scripted.ScriptedClient(), clock, pilot)
        for _ in range(3):
            screen = await it.draw(0.1)
            shown = re.search(r"equity (\d+)\.00 USD", screen)
            assert shown
            number = shown[1]
            rows = [" ".join(line.replace("│", " ").split()) for line in screen.splitlines()]
            assert any(row.startswith(f"AAPL {number} 100.00") for row in rows)
            assert any(f"sma_crossover ● on +{number}.00" in row for row in rows)
            assert any(f"AAPL SELL {number} stop" in row for row in rows)


# --- ctrl+z --------------------------------------------------------------------------------------

SUSPENDED = """
import asyncio
from tests.tui.scripted import desk, paper

async def main() -> None:
    async with desk(paper()) as it:
        await it.press("ctrl+z")
        assert "no shell could bring the console back: d detaches" in it.screen

asyncio.run(main())
"""


def test_ctrl_z_without_a_terminal_stops_nobody() -> None:
    """Not the group that it runs in, which is that of whoever started it, as a test's is."""
    console = subprocess.Popen([sys.executable, "-c", SUSPENDED], process_group=0)
    ended = os.waitid(os.P_PID, console.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
    console.kill()
    console.wait()
    assert ended is not None
    assert (ended.si_code, ended.si_status) == (os.CLD_EXITED, 0)
