"""The dialogs: what they say, what confirms them, and all that must not."""

import gc
from decimal import Decimal

import pytest
from msgspec.structs import replace
from textual import events
from textual._styles_cache import StylesCache
from textual.widgets import Input

from engine.control.standing import Standing
from engine.core.events import (
    AcknowledgeAlerts,
    ConfirmLive,
    RearmKillSwitch,
    RequestMode,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.core.model import Mode
from engine.view.snapshot import SessionTotals
from tests.tui import scripted
from tests.tui.scripted import ARMED, Desk, desk, to
from tui.dialogs.dialog import EXPIRES_AFTER, Dialog
from tui.frame import STUCK_AFTER
from tui.research import Request, Run

REARM = RearmKillSwitch(word="REARM", author="console")


def is_open(it: Desk) -> bool:
    return isinstance(it.app.screen, Dialog)


async def test_every_dialog_shows_mode_and_kill_switch() -> None:
    for snapshot, key, mode in (
        (scripted.killed(), "R", "PAPER"),
        (scripted.live(), "m", "LIVE"),
        (scripted.live(), "q", "LIVE"),
        (scripted.live(), "question_mark", "LIVE"),
    ):
        async with desk(snapshot, size=(80, 24)) as it:
            await it.press(key)
            assert is_open(it)
            head = it.screen.splitlines()[:2]
            assert mode in head[0]
            assert "KILLED" in head[1] or "kill ready" in head[1]


@pytest.mark.parametrize("key", ["R", "m", "q", "question_mark"])
async def test_escape_closes_and_sends_nothing(key: str) -> None:
    async with desk(scripted.killed()) as it:
        await it.press(key)
        assert is_open(it)
        await it.press("escape")
        assert not is_open(it)
        assert it.sent == []


# --- re-arm --------------------------------------------------------------------------------------


async def test_the_typed_word_re_arms() -> None:
    async with desk(scripted.killed()) as it:
        await it.press("R")
        assert "Tripped by console at 2022-01-31 14:30:" in it.screen
        assert "Re-armed, these strategies trade again: sma_crossover, breakout" in it.screen
        assert "(paused)." in it.screen
        await it.press("R", "E", "A", "R", "M", "enter", seconds=0.5)
        assert it.sent == [REARM]
        assert not is_open(it)


async def test_enter_without_a_word_says_that_nothing_was_done() -> None:
    async with desk(scripted.killed()) as it:
        await it.press("R")
        await it.press("enter", seconds=0.1)
        assert "too early" in it.screen
        await it.press("enter", seconds=0.6)
        assert "nothing was typed: nothing was done" in it.screen
        assert it.sent == []
        assert is_open(it)


@pytest.mark.parametrize("word", ["", "rearm", "REAR", "REARMM", "LIVE", " "])
async def test_no_other_word_re_arms(word: str) -> None:
    async with desk(scripted.killed()) as it:
        await it.press("R")
        keys = ["space" if character == " " else character for character in word]
        await it.press(*keys, "enter", seconds=0.5)
        assert it.sent == []
        assert is_open(it)


async def test_a_held_opener_and_enter_confirm_nothing() -> None:
    async with desk(scripted.killed()) as it:
        await it.press(*["R"] * 40, *["enter"] * 10, seconds=0.03)
        assert it.sent == []


async def test_what_is_typed_ahead_is_not_taken() -> None:
    async with desk(scripted.killed()) as it:
        await it.press("R")
        await it.press("R", "E", "A", "R", "M", "enter", seconds=0.05)
        assert it.sent == []
        assert it.app.screen.query_one(Input).value == ""


async def test_a_word_that_comes_faster_than_a_hand_is_a_paste() -> None:
    async with desk(scripted.killed()) as it:
        await it.press("R")
        await it.draw(1.0)
        await it.press("R", "E", "A", "R", "M", "enter", seconds=0.005)
        assert it.sent == []
        assert "too fast for a hand" in it.screen


async def test_going_live_says_which_strategies_trade_from_then_on() -> None:
    async with desk(scripted.unconfirmed(), size=(80, 24)) as it:
        await it.press("m")
        text = " ".join(it.screen.replace("║", " ").split())
        assert "Confirmed, these strategies trade there: sma_crossover" in text
        it.client.change(strategies=())
        await it.draw()
        assert "No strategy is on: confirmed, nothing trades" in it.screen
        assert "Type LIVE and press enter" in it.screen


async def test_a_pasted_word_that_a_busy_console_takes_slowly_is_a_paste() -> None:
    async with desk(scripted.killed()) as it:
        await it.press("R")
        await it.draw(1.0)
        for number, letter in enumerate("REARM", 1):
            key = events.Key(letter, letter)
            key.time -= number * 0.2
            it.app.post_message(key)
            await it.draw(0.2)
        await it.press("enter", seconds=1.0)
        assert it.sent == []
        assert "too fast for a hand" in it.screen


async def test_a_paste_confirms_nothing() -> None:
    async with desk(scripted.killed()) as it:
        await it.press("R")
        await it.draw(1.0)
        it.app.post_message(events.Paste("REARM"))
        await it.draw()
        it.app.copy_to_clipboard("REARM")
        await it.press("ctrl+v", seconds=1.0)
        assert "a paste confirms nothing" in it.screen
        await it.press("enter", seconds=1.0)
        assert it.sent == []
        assert it.app.screen.query_one(Input).value == ""


async def test_a_switch_that_was_re_armed_meanwhile_is_not_re_armed_again() -> None:
    async with desk(scripted.killed()) as it:
        await it.press("R")
        it.client.change(kill=ARMED)
        await it.draw(1.0)
        await it.press("R", "E", "A", "R", "M", "enter", seconds=0.5)
        assert it.sent == []
        assert "it is ready already" in it.screen


async def test_orders_that_wait_for_their_cancel_are_told() -> None:
    async with desk(scripted.cancelling()) as it:
        await it.press("R")
        assert "3 orders still waiting for the cancel:" in it.screen
        assert "SELL 29 AAPL  protective stop, worth 4,830.82, sma-aap-0004" in it.screen


async def test_a_kill_is_followed_from_the_key_to_its_end() -> None:
    async with desk(scripted.paper(), size=(160, 40)) as it:
        await it.press("ctrl+k")
        assert "KILL REQUESTED" in it.screen
        it.client.change(kill=scripted.CANCELLING)
        assert "cancelling, 3 orders still open after 0.3 s" in await it.draw(0.3)
        it.client.change()
        screen = await it.draw(STUCK_AFTER)
        assert "KILL FAILED 3 left" in screen
        assert "FAILED: cancelling, 3 orders still open after 5.3 s, nothing moved" in screen
        it.client.change(kill=scripted.KILLED)
        screen = await it.draw(0.7)
        assert "complete, no order open after 6.0 s" in screen
        assert "FAILED" not in screen


async def test_a_dialog_expires() -> None:
    async with desk(scripted.killed()) as it:
        await it.press("R")
        it.client.change()
        await it.draw(EXPIRES_AFTER - 1)
        assert is_open(it)
        await it.draw(2)
        assert not is_open(it)
        await it.draw()
        assert "closed after 60 s without an answer" in it.screen.splitlines()[-1]


async def test_a_dialog_does_not_close_under_a_hand_that_types() -> None:
    async with desk(scripted.killed()) as it:
        await it.press("R")
        it.client.change()
        await it.draw(EXPIRES_AFTER - 1)
        await it.press("R", "E")
        await it.draw(EXPIRES_AFTER - 1)
        await it.press("A", "R", "M", "enter")
        assert it.sent == [REARM]


async def test_a_word_confirms_nothing_that_cannot_be_read() -> None:
    async with desk(scripted.killed(), size=(80, 24)) as it:
        await it.press("R")
        await it.pilot.resize_terminal(40, 10)
        await it.press("R", "E", "A", "R", "M", "enter", seconds=0.6)
        assert it.sent == []
        await it.pilot.resize_terminal(80, 24)
        assert "nothing was done: what is asked needs 80x24 to be read" in await it.draw()
        await it.press("R", "E", "A", "R", "M", "enter", seconds=0.6)
        assert it.sent == [REARM]


async def test_help_does_not_expire() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("question_mark")
        await it.draw(EXPIRES_AFTER * 10)
        assert is_open(it)


# --- paper and live ------------------------------------------------------------------------------


async def test_live_is_refused_with_what_is_missing_and_the_remedies() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("m")
        for gate in scripted.GATE:
            assert gate.condition in it.screen
            assert gate.met or gate.remedy[:40] in it.screen
        assert "LIVE REFUSED" in it.screen
        assert "3 conditions missing" in it.screen
        await it.press(*"LIVE", "enter", "space", "y", "p", "m", seconds=0.5)
        assert it.sent == []
        assert is_open(it)


async def test_a_killed_part_and_a_paused_symbol_have_their_day() -> None:
    async with desk(scripted.parts_killed(), (120, 40)) as it:
        await it.press("R")
        assert " at 2022-01-31 14:" in it.screen
    held = scripted.held_back()
    paused = tuple(replace(row, until=scripted.TS) for row in held.paused)
    async with desk(replace(held, paused=paused), (120, 40)) as it:
        await it.press(*to("quotes"), "home", "down", "enter")
        assert "By itself at 2022-01-31 14:30:07 UTC." in it.screen


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_live_that_lacks_more_than_a_word_is_not_said_to_wait_for_it(
    size: tuple[int, int],
) -> None:
    gate = (replace(scripted.GATE[2], met=False), scripted.GATE[-1])
    async with desk(replace(scripted.live(), live_gate=gate), size) as it:
        assert "LIVE REFUSED, no order leaves (m says why): missing a live broker" in it.screen
        assert "confirms" not in it.screen
        await it.press("m")
        assert gate[0].remedy in it.screen


async def test_live_is_confirmed_by_a_typed_word_before_all_that_is_at_stake() -> None:
    async with desk(scripted.unconfirmed()) as it:
        assert "LIVE IS NOT CONFIRMED: no order leaves" in it.screen
        await it.press("m")
        assert it.screen.count("LIVE IS NOT CONFIRMED: no order leaves") == 1
        for text in ("U1234567, LIVE", "100,412.55 USD", "4 open, worth", "daily loss $212/$1,000"):
            assert text in it.screen
        await it.press("enter", "y", "p", "enter", seconds=0.5)
        assert it.sent == []
        await it.press("ctrl+u", *"LIVE", "enter", seconds=0.5)
        assert it.sent == [ConfirmLive(word="LIVE", author="console")]


async def test_alerts_are_read_and_acknowledged_with_a_letter() -> None:
    async with desk(replace(scripted.paper(), alerts=scripted.ALERTS)) as it:
        await it.press("m")
        assert "circuit-breaker: it was tripped: 5 in a row" in it.screen
        assert "limit entry rejected" not in it.screen
        await it.press("a", seconds=0.5)
        assert it.sent == [AcknowledgeAlerts(names=("circuit-breaker",), author="console")]


async def test_no_letter_confirms_live() -> None:
    async with desk(scripted.unconfirmed()) as it:
        await it.press("m")
        it.app.screen.set_focus(None)
        await it.press("p", "y", "enter", "space", seconds=0.5)
        assert it.sent == []


async def test_a_gate_that_closes_under_the_dialog_refuses() -> None:
    async with desk(scripted.unconfirmed()) as it:
        await it.press("m")
        it.client.change(live_gate=scripted.GATE)
        await it.draw()
        await it.press(*"LIVE", "enter", seconds=0.5)
        assert it.sent == []
        assert "a condition is no longer met" in it.screen


async def test_a_letter_goes_back_to_paper() -> None:
    async with desk(scripted.live()) as it:
        await it.press("m")
        await it.press("enter", "space", "m", seconds=0.5)
        assert it.sent == []
        await it.press("p")
        assert it.sent == [RequestMode(mode=Mode.PAPER, author="console")]


async def test_switching_on_in_live_is_confirmed_by_a_typed_word() -> None:
    async with desk(scripted.live()) as it:
        await it.press("s", "end", "space")
        assert is_open(it)
        assert "mean_reversion will send orders to this account" in it.screen
        await it.press("enter", "space", "y", "enter", seconds=0.5)
        it.app.screen.set_focus(None)
        await it.press("y", seconds=0.5)
        assert it.sent == []
        it.app.screen.query_one(Input).focus()
        await it.press("ctrl+u", *"ON", "enter", seconds=0.5)
        assert it.sent == [
            ToggleStrategy(strategy="mean_reversion", enabled=True, author="console")
        ]


# --- quit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["q", "ctrl+q"])
async def test_a_letter_quits_and_enter_and_space_do_not(key: str) -> None:
    async with desk(scripted.paper()) as it:
        await it.press(key)
        await it.press("enter", "space", "q", "ctrl+q", seconds=0.5)
        assert is_open(it)
        assert it.app.is_running
        await it.press("y")
        assert not it.app.is_running


async def test_a_held_key_or_one_typed_ahead_does_not_quit() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("q", "y", seconds=0.05)
        assert it.app.is_running
        assert is_open(it)


async def test_quit_says_what_happens_to_orders_and_positions() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("q")
        assert "4 open, worth 13,916.82 USD" in it.screen
        assert "3 open, worth — USD" in it.screen
        assert "Open orders stay in the database and go on at the next start" in it.screen
        assert "At the next start these strategies are on: sma_crossover, breakout" in it.screen
        assert "(paused)." in it.screen


async def test_quit_says_nothing_of_orders_and_positions_that_there_are_not() -> None:
    snapshot = replace(scripted.paper(), orders=(), positions=())
    async with desk(snapshot) as it:
        await it.press("q")
        assert "The engine stops with this console" in it.screen
        for said in ("Open orders", "Positions stay", "first cancels orders"):
            assert said not in it.screen
    async with desk(replace(snapshot, positions=scripted.paper().positions)) as it:
        await it.press("q")
        assert "Positions stay as they are" in it.screen
        assert "first cancels orders" in it.screen
        assert "Open orders" not in it.screen


async def test_quit_offers_to_detach_from_an_engine_of_its_own() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("q")
        assert "d detaches: the engine goes on" in it.screen
        await it.press("s", seconds=0.5)
        assert it.app.is_running
        await it.press("d")
        assert not it.app.is_running
        assert it.app.ending == "detach"


async def test_quit_offers_to_switch_every_strategy_off_and_stays() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("q")
        assert "n no new entries: switches every strategy off" in it.screen
        await it.press("n", seconds=0.6)
        assert it.sent == [
            ToggleStrategy(strategy=name, enabled=False, author="console")
            for name in ("sma_crossover", "breakout")
        ]
        assert it.app.is_running
        assert "switched off: sma_crossover, breakout" in it.screen
        await it.press("y", seconds=0.6)
        assert not it.app.is_running


async def test_quit_leads_to_what_cancels_and_closes() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("q")
        await it.press("K", seconds=0.6)
        assert "Kill: what is to happen" in it.screen
        await it.press("f", *"FLATTEN", "enter", seconds=0.6)
        (command,) = it.sent
        assert isinstance(command, TripKillSwitch)
        assert it.app.is_running


async def test_quit_leaves_an_engine_that_another_started_unless_it_is_told_to_stop_it() -> None:
    async with desk(scripted.paper()) as it:
        it.client.is_owned = False
        await it.draw()
        await it.press("q")
        assert "The engine goes on: this console did not start it." in it.screen
        await it.press("s", seconds=0.5)
        assert not it.app.is_running
        assert it.app.ending == "stop"


async def test_only_the_console_in_command_is_offered_to_stop_the_engine() -> None:
    async with desk(scripted.paper()) as it:
        it.client.is_owned = False
        it.client.stands = Standing(holder="another", consoles=2)
        await it.draw()
        await it.press("q")
        assert "stops the engine" not in it.screen
        await it.press("s", seconds=0.5)
        assert it.app.is_running
        await it.press("y")
        assert not it.app.is_running
        assert it.app.ending == ""


async def test_quit_speaks_of_now() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("q")
        it.client.change(orders=scripted.ORDERS[:4], positions=scripted.POSITIONS[:2])
        screen = await it.draw()
        assert "1 open, worth 4,830.82 USD" in screen
        assert "2 open, worth 9,900.27 USD" in screen


@pytest.mark.parametrize("owned", [True, False])
async def test_quit_says_what_the_session_came_to(owned: bool) -> None:
    session = SessionTotals(7, 6, 1, (("USD", Decimal("384.21")),))
    async with desk(replace(scripted.paper(), session=session), (80, 24)) as it:
        it.client.is_owned = owned
        await it.draw()
        await it.press("q")
        assert "session    orders 7, 6 executions, 1 rejected" in it.screen
        assert "closed positions +384.21 USD; open —, day +412.55 USD" in it.screen
        assert "quits" in it.screen


async def test_quit_in_live_warns_that_orders_stay_alive() -> None:
    async with desk(scripted.live()) as it:
        await it.press("q")
        assert "Open orders STAY ALIVE at the broker" in it.screen


async def test_with_the_engine_gone_quit_asks_nothing() -> None:
    async with desk(scripted.paper()) as it:
        it.client.ended = "ended"
        await it.draw()
        await it.press("q")
        assert not it.app.is_running


# --- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("panel", "here", "not_here"),
    [
        ("strategies", "Switch the selected strategy on or off", "Cancel the selected order"),
        ("orders", "Cancel the selected order", "Switch the selected strategy"),
    ],
)
async def test_help_shows_the_keys_of_where_one_is(panel: str, here: str, not_here: str) -> None:
    async with desk(scripted.paper(), size=(120, 50)) as it:
        await it.press(*to(panel), "question_mark")
        assert here in it.screen
        assert not_here not in it.screen
        assert "^k f12" in it.screen


async def test_help_has_each_heading_once_and_cuts_no_text() -> None:
    async with desk(scripted.paper(), size=(120, 120)) as it:
        await it.press(*to("quotes"), "question_mark")
        for heading in ("Safety", "Console", "Replay"):
            assert it.screen.count(f"  {heading}  ") == 1
        assert "else all fields" in it.screen


async def test_help_scrolls_where_there_is_no_room() -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        await it.press("question_mark")
        assert "events waiting" not in it.screen
        await it.press("end")
        await it.draw()
        assert "events waiting" in it.screen


async def test_a_position_without_a_price_makes_the_worth_unknown() -> None:
    flat = replace(scripted.paper(), positions=())
    async with desk(flat) as it:
        await it.press("q")
        assert "positions  none" in it.screen


async def test_keys_in_one_go_over_the_first_steps_do_what_they_do_on_the_desk() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("question_mark", "g")
        assert "First steps" in it.screen
        it.app.simulate_key("s")
        it.app.simulate_key("s")
        await it.pilot.pause(0.1)
        assert "First steps" not in await it.draw()
        assert it.app.base.panel == "strategies"
        await it.press("K")
        assert "what is to happen" in it.screen


async def test_what_stops_is_offered_to_a_console_that_is_not_in_command() -> None:
    async with desk(scripted.paper()) as it:
        it.client.stands = Standing(holder="another", consoles=2)
        await it.draw()
        await it.press("K")
        await it.press("s", seconds=0.5)
        assert [type(each) for each in it.sent_but_life] == [TripKillSwitch]


async def test_of_dialogs_that_closed_nothing_is_kept() -> None:
    def drawn() -> int:
        gc.collect()
        return sum(isinstance(each, StylesCache) for each in gc.get_objects())

    async with desk(scripted.paper()) as it:
        await it.press("question_mark", "escape", "K", "escape")
        known = drawn()
        await it.press(*("question_mark", "escape", "K", "escape") * 4)
        for _ in range(20):  # the last one may be about to go
            if drawn() <= known:
                break
            await it.draw()
        assert drawn() <= known


async def test_quit_asks_nothing_where_nothing_is_at_stake() -> None:
    idle = tuple(replace(row, state="off") for row in scripted.paper().strategies)
    async with desk(replace(scripted.paper(), orders=(), positions=(), strategies=idle)) as it:
        await it.press("q")
        assert not it.app.is_running


@pytest.mark.parametrize("is_owned", [True, False])
@pytest.mark.parametrize(("key", "yes"), [("q", "y quits"), ("d", "y detaches")])
async def test_a_run_of_research_is_not_ended_unasked(key: str, yes: str, is_owned: bool) -> None:
    idle = tuple(replace(row, state="off") for row in scripted.paper().strategies)
    snapshot = replace(scripted.paper(), orders=(), positions=(), strategies=idle)
    async with desk(snapshot, size=(80, 24)) as it:
        it.client.is_owned = is_owned
        it.app.research = run = Run(Request(kind="search"))
        await it.press(key)
        assert "The running search ends with this console, without a report." in it.screen
        assert yes in it.screen
        await it.press("escape")
        run.cancel()
        await it.press("d")
        assert not it.app.is_running


async def test_who_detaches_amid_a_run_does_not_stop_the_engine_with_a_yes() -> None:
    async with desk(scripted.paper(), size=(80, 24)) as it:
        it.app.research = run = Run(Request(kind="search"))
        await it.press("d", "y", seconds=1.0)
        assert not it.app.is_running
        assert it.app.ending == "detach"
        run.cancel()


@pytest.mark.parametrize(("lost", "says"), [("detach", "go on"), ("stop", "stop as well")])
async def test_quit_says_what_a_lost_terminal_would_do(lost: str, says: str) -> None:
    async with desk(scripted.paper()) as it:
        it.app.on_terminal_lost = lost
        await it.press("q")
        assert f"Were the terminal lost instead, the engine would {says}." in it.screen


@pytest.mark.parametrize(("key", "shown"), [("f1", "Help"), ("f2", "Search for commands")])
async def test_function_keys_do_where_tmux_takes_the_others(key: str, shown: str) -> None:
    async with desk(scripted.paper()) as it:
        await it.press(key)
        assert shown in it.screen
