"""The screen of the strategies."""

import pytest
from msgspec.structs import replace

from engine.core.events import ReloadStrategy, ToggleStrategy
from tests.tui import scripted
from tests.tui.scripted import Desk, desk
from tests.tui.test_risk_screen import line
from tui.widgets.signals import Signals

OTHER = replace(
    scripted.SIGNALS[0],
    seq=20,
    signal=replace(scripted.SIGNALS[0].signal, strategy="breakout", reason="a new high"),
)


def signals(it: Desk) -> set[str]:
    return {row.signal.strategy for row in it.app.base.query_one(Signals)._rows}


async def test_the_signals_are_those_of_the_selected_strategy() -> None:
    snapshot = replace(scripted.paper(), signals=(*scripted.SIGNALS, OTHER))
    async with desk(snapshot) as it:
        await it.press("4")
        assert signals(it) == {"sma_crossover"}
        assert "signals of sma_crossover" in it.screen
        await it.pilot.press("down")
        await it.pilot.pause()
        assert signals(it) == {"breakout"}
        assert "a new high" in it.screen
        assert "signals of breakout" in it.screen


async def test_each_is_shown_with_parameters_state_and_p_and_l() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("4")
        line = next(line for line in it.screen.splitlines() if "│breakout" in line)
        for text in ("‖ PAUSED", "-171.81", "55/55", "SELL", "BTC-USD", "3 consecutive losses"):
            assert text in line
        assert "fast=10 slow=30" in it.screen


async def test_long_names_that_begin_alike_can_be_told_apart() -> None:
    names = ["mean_reversion_hourly", *(f"mean_reversion_hourly_btc_{x}" for x in ("fast", "slow"))]
    rows = [replace(scripted.STRATEGIES[0], name=name) for name in names]
    async with desk(replace(scripted.paper(), strategies=tuple(rows)), (80, 24)) as it:
        for keys in (("s",), ("4",)):
            await it.press(*keys)
            shown = [line for line in it.screen.splitlines() if line.startswith("│mean_reversi")]
            told = ["mean_reversion_hourly", "mean_reversi…ly_btc_fast", "mean_reversi…ly_btc_slow"]
            assert [line[1:].split()[0] for line in shown] == told
            assert all("● on" in line and "384.21" in line for line in shown)


async def test_space_switches_here_too() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("4", "space")
        off = ToggleStrategy(strategy="sma_crossover", enabled=False, author="console")
        assert it.sent == [off]


async def test_l_loads_a_strategy_anew_after_it_said_what_that_does() -> None:
    async with desk(scripted.paper()) as it:
        await it.press("4", "l")
        for text in ("sma_crossover is made anew", "fast=10 slow=30: kept", "switched OFF"):
            assert text in it.screen
        await it.press("enter", "space", seconds=1.0)
        assert it.sent_but_life == []
        await it.press("y")
        assert it.sent_but_life == [ReloadStrategy(strategy="sma_crossover", author="console")]


async def test_a_file_that_makes_no_strategy_is_not_reloaded_and_says_why() -> None:
    rows = scripted.paper().strategies
    broken = replace(rows[0], name="mine.py", state="broken", note="SyntaxError: line 3")
    async with desk(replace(scripted.paper(), strategies=(broken,))) as it:
        await it.press("4", "l")
        assert "mend mine.py first: it makes no strategy (SyntaxError: line 3)" in it.screen
        assert it.sent_but_life == []


async def test_those_that_trade_or_did_come_first() -> None:
    quiet, busy = (replace(scripted.STRATEGIES[0], name=name) for name in ("a_quiet", "b_busy"))
    rows = (replace(quiet, state="off"), busy)
    async with desk(replace(scripted.paper(), strategies=rows)) as it:
        await it.press("4")
        assert names(it) == ["b_busy", "a_quiet"]
        it.client.change(strategies=(rows[0], replace(busy, state="off")))
        await it.draw()
        assert names(it) == ["b_busy", "a_quiet"], "it is where it was"
        it.client.change(strategies=(quiet, replace(busy, state="off")))
        await it.draw()
        assert names(it) == ["b_busy", "a_quiet"], "it began after the other"


async def test_the_next_row_is_the_next_one_however_many_are_switched_on() -> None:
    off = replace(scripted.STRATEGIES[0], state="off")
    rows = [replace(off, name=name) for name in ("a_quiet", "b_busy", "c_quiet")]
    rows.append(replace(off, name="d_runs", state="on"))
    async with desk(replace(scripted.paper(), strategies=tuple(rows))) as it:
        await it.press("4")
        assert names(it) == ["d_runs", "a_quiet", "b_busy", "c_quiet"]
        rows[1] = replace(rows[1], state="on")
        it.client.change(strategies=tuple(rows))
        await it.draw()
        assert names(it) == ["d_runs", "b_busy", "a_quiet", "c_quiet"]
        rows[0] = replace(rows[0], state="on")
        it.client.change(strategies=tuple(rows))
        await it.draw()
        assert names(it) == ["d_runs", "b_busy", "a_quiet", "c_quiet"]


def names(it: Desk) -> list[str]:
    """The strategies as they stand on the screen."""
    known = ("a_quiet", "b_busy", "c_quiet", "d_runs")
    lines = it.screen.splitlines()
    return [name for line in lines for name in known if line[1:].startswith(name)]


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_losses_are_said_to_be_in_a_row_and_hide_not_why_one_is_paused(
    size: tuple[int, int],
) -> None:
    paused = replace(
        scripted.paper().strategies[0],
        name="stochastic_oscillator",
        state="paused",
        consecutive_losses=3,
        warm=1_440,
        required=1_441,
        note="3 consecutive losses",
    )
    async with desk(replace(scripted.paper(), strategies=(paused,)), size=size) as it:
        await it.press("4")
        assert "losing run" in line(it.screen, "parameters")
        assert "3 conse" in line(it.screen, "PAUSED")
        await it.press("enter")
        assert " 3 " in line(it.screen, "consecutive losses")


async def test_entries_are_said_to_be_those_of_today() -> None:
    async with desk(scripted.paper(), size=(200, 50)) as it:
        for key in ("4", "3"):
            await it.press(key)
            line(it.screen, "P&L", "entries today")
        await it.press("4", "enter")
        line(it.screen, "entries today", " 16 ")
