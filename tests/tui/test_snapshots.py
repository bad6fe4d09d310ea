"""What the console looks like: every screen and dialog, in every size and state that matters."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.questions import Equity
from engine.snapshot import Snapshot
from tests.tui import reports, scripted, whys
from tests.tui.scripted import Clock, ScriptedClient, to
from tui import themes
from tui.app import Console
from tui.commands import FIRST_SCREEN, SCREENS
from tui.widgets.equity import POINTS

SMALL, MIDDLE, LARGE = (80, 24), (120, 40), (200, 50)
SIZES = [pytest.param(size, id="{}x{}".format(*size)) for size in (SMALL, MIDDLE, LARGE)]

Compare = Callable[..., bool]
Act = Callable[[Pilot[None]], Awaitable[None]]


ASCII = "ascii"
LOOKS = (themes.HIGH_CONTRAST, ASCII)
"""Besides the dark theme with all signs. A terminal that has ASCII alone has 16 colours too."""


def console(
    snapshot: Snapshot | None, *, ended: str | None = None, look: str = themes.DARK
) -> Console:
    client = ScriptedClient(snapshot)
    client.ended = ended
    client.answers |= whys.ANSWERS
    client.answers[Equity(POINTS)] = scripted.CURVE
    app = Console(client, clock=Clock())
    app.ascii = look == ASCII
    app.theme = themes.TERMINAL if app.ascii else look
    return app


def after(*keys: str, seconds: float = 1.0) -> Act:
    """Press `keys` with `seconds` between them; the cursor does not blink."""

    async def act(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, Console)
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
            app.clock.now += seconds  # pyright: ignore[reportFunctionMemberAccess]
            await pilot.pause()
        for field in app.screen.query(Input):
            field.cursor_blink = False
        app.tick()
        # A new line at the top moves all below it, which moves what is in it.
        drawn = ""
        while drawn != (drawn := app.export_screenshot()):
            await pilot.pause(0.1)

    return act


@pytest.mark.parametrize("size", SIZES)
def test_desk(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(console(scripted.paper()), terminal_size=size, run_before=after())


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("size", SIZES)
def test_desk_in_other_looks(snap_compare: Compare, look: str, size: tuple[int, int]) -> None:
    app = console(scripted.paper(), look=look)
    assert snap_compare(app, terminal_size=size, run_before=after())


@pytest.mark.parametrize("look", [themes.LIGHT, themes.COLOUR_BLIND, *LOOKS])
def test_live_in_other_looks(snap_compare: Compare, look: str) -> None:
    app = console(scripted.live(), look=look)
    assert snap_compare(app, terminal_size=SMALL, run_before=after())


@pytest.mark.parametrize("look", LOOKS)
def test_killed_in_other_looks(snap_compare: Compare, look: str) -> None:
    app = console(scripted.killed(), look=look)
    assert snap_compare(app, terminal_size=SMALL, run_before=after())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("screen", [name for name in SCREENS if name != FIRST_SCREEN])
def test_screen(snap_compare: Compare, screen: str, size: tuple[int, int]) -> None:
    app = console(scripted.paper())
    keys = after(SCREENS[screen].key, seconds=0.1)
    assert snap_compare(app, terminal_size=size, run_before=keys)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("screen", [name for name in SCREENS if name != FIRST_SCREEN])
def test_screen_in_other_looks(snap_compare: Compare, screen: str, look: str) -> None:
    app = console(scripted.paper(), look=look)
    keys = after(SCREENS[screen].key, seconds=0.1)
    assert snap_compare(app, terminal_size=SMALL, run_before=keys)


@pytest.mark.parametrize("size", SIZES)
def test_two_reports(snap_compare: Compare, size: tuple[int, int], tmp_path: Path) -> None:
    reports.write_two(tmp_path)
    app = console(scripted.paper())
    app.reports = tmp_path
    keys = after("7", "end", "v", "home", seconds=0.1)
    assert snap_compare(app, terminal_size=size, run_before=keys)


def test_zoomed(snap_compare: Compare) -> None:
    keys = after(*to("risk"), "z", seconds=0.1)
    assert snap_compare(console(scripted.paper()), terminal_size=SMALL, run_before=keys)


TROUBLED = {
    "risk": scripted.held_back,
    "positions": scripted.stale,
    "health": scripted.unwell,
}


@pytest.mark.parametrize("screen", TROUBLED)
def test_troubled_screen(snap_compare: Compare, screen: str) -> None:
    app = console(TROUBLED[screen]())
    keys = after(SCREENS[screen].key, seconds=0.1)
    assert snap_compare(app, terminal_size=SMALL, run_before=keys)


DIALOGS = {
    "rearm": (scripted.killed, "R"),
    "mode": (scripted.paper, "m"),
    "quit": (scripted.paper, "q"),
    "help": (scripted.paper, "question_mark"),
    "first-steps": (scripted.paper, "question_mark", "g"),
    "palette": (scripted.paper, "ctrl+p"),
    "backtest": (scripted.paper, "7", "n"),
    "kill": (scripted.paper, "K"),
    "why": (scripted.paper, *to("orders"), "end", "w"),
    "why-blocked": (scripted.paper, *to("signals"), "home", "w"),
    "doubt": (scripted.paper, *to("orders"), "home", "down", "enter"),
    "cancel": (scripted.paper, *to("orders"), "end", "home", "down", "down", "down", "x"),
}
LESS_SEEN = {
    "mode-unconfirmed": (scripted.unconfirmed, "m"),
    "breaker": (scripted.held_back, "B"),
    "why-waiting": (scripted.paper, *to("orders"), "home", "w"),
    "resume": (scripted.held_back, *to("quotes"), "home", "down", "enter"),
    "limit": (scripted.paper, *to("risk"), "home", "down", "down", "down", "enter"),
    "mode-live": (scripted.live, "m"),
    "quit-live": (scripted.live, "q"),
    "quit-starting": (lambda: None, "q"),
    "rearm-part": (scripted.parts_killed, "R"),
    "strategy-on-live": (scripted.live, "s", "down", "space"),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dialog", DIALOGS)
def test_dialog(snap_compare: Compare, dialog: str, size: tuple[int, int]) -> None:
    snapshot, *keys = DIALOGS[dialog]
    app = console(snapshot())
    assert snap_compare(app, terminal_size=size, run_before=after(*keys, seconds=0.1))


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("dialog", DIALOGS)
def test_dialog_in_other_looks(snap_compare: Compare, dialog: str, look: str) -> None:
    snapshot, *keys = DIALOGS[dialog]
    app = console(snapshot(), look=look)
    assert snap_compare(app, terminal_size=SMALL, run_before=after(*keys, seconds=0.1))


@pytest.mark.parametrize("dialog", LESS_SEEN)
def test_less_seen_dialog(snap_compare: Compare, dialog: str) -> None:
    snapshot, *keys = LESS_SEEN[dialog]
    app = console(snapshot())
    assert snap_compare(app, terminal_size=SMALL, run_before=after(*keys, seconds=0.1))


SECOND = {
    "kill-part": (scripted.paper, "K", "p"),
    "kill-one": (scripted.paper, "K", "p", *"sma", "enter"),
    "flatten": (scripted.live, "K", "f"),
    "mark": (scripted.paper, *to("orders"), "home", "down", "enter", "b"),
    "loosen": (
        scripted.paper,
        *to("risk"),
        "home",
        "down",
        "down",
        "down",
        "enter",
        *"1500",
        "enter",
    ),
}


@pytest.mark.parametrize("dialog", SECOND)
def test_second_dialog(snap_compare: Compare, dialog: str) -> None:
    """A dialog that follows on another."""
    snapshot, *keys = SECOND[dialog]
    app = console(snapshot())
    assert snap_compare(app, terminal_size=SMALL, run_before=after(*keys, seconds=0.5))


STATES = {
    "unconfirmed": scripted.unconfirmed,
    "held-back": scripted.held_back,
    "flattening": scripted.flattening,
    "parts-killed": scripted.parts_killed,
    "live": scripted.live,
    "cancelling": scripted.cancelling,
    "killed": scripted.killed,
    "stale": scripted.stale,
    "empty": scripted.empty,
}


@pytest.mark.parametrize("state", STATES)
def test_state(snap_compare: Compare, state: str) -> None:
    app = console(STATES[state]())
    assert snap_compare(app, terminal_size=MIDDLE, run_before=after())


def test_engine_lost(snap_compare: Compare) -> None:
    app = console(scripted.paper())
    assert snap_compare(app, terminal_size=MIDDLE, run_before=after("tab", seconds=3))


def test_engine_starting(snap_compare: Compare) -> None:
    assert snap_compare(console(None), terminal_size=SMALL, run_before=after())


def test_kill_asked(snap_compare: Compare) -> None:
    app = console(scripted.paper())
    assert snap_compare(app, terminal_size=SMALL, run_before=after("ctrl+k", seconds=0.3))


@pytest.mark.parametrize("panel", ["signals", "strategies", "log"])
def test_panels_take_turns_where_there_is_no_room(snap_compare: Compare, panel: str) -> None:
    app = console(scripted.paper())
    assert snap_compare(app, terminal_size=SMALL, run_before=after(*to(panel), seconds=0.1))


@pytest.mark.parametrize("size", [(80, 40), (120, 24)], ids=["80x40", "120x24"])
def test_odd_sizes(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(console(scripted.paper()), terminal_size=size, run_before=after())


@pytest.mark.parametrize("state", ["live", "killed"])
def test_too_small(snap_compare: Compare, state: str) -> None:
    app = console(STATES[state]())
    assert snap_compare(app, terminal_size=(40, 10), run_before=after())


def test_sixteen_colours(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLORTERM")
    app = console(scripted.stale())
    assert snap_compare(app, terminal_size=SMALL, run_before=after(*to("orders"), seconds=0.1))


def test_no_colour(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = console(scripted.cancelling())
    assert snap_compare(app, terminal_size=SMALL, run_before=after(*to("orders"), seconds=0.1))
