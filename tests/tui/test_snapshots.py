"""What the console looks like: every screen and dialog, in every size and state that matters."""

from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.snapshot import Snapshot
from tests.tui import scripted
from tests.tui.scripted import Clock, ScriptedClient
from tui.app import Console

SMALL, MIDDLE, LARGE = (80, 24), (120, 40), (200, 50)
SIZES = [pytest.param(size, id="{}x{}".format(*size)) for size in (SMALL, MIDDLE, LARGE)]

Compare = Callable[..., bool]
Act = Callable[[Pilot[None]], Awaitable[None]]


def console(snapshot: Snapshot | None, *, ended: str | None = None) -> Console:
    client = ScriptedClient(snapshot)
    client.ended = ended
    return Console(client, clock=Clock())


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


DIALOGS = {
    "rearm": (scripted.killed, "R"),
    "mode": (scripted.paper, "m"),
    "quit": (scripted.paper, "q"),
    "help": (scripted.paper, "question_mark"),
    "palette": (scripted.paper, "ctrl+p"),
    "kill": (scripted.paper, "K"),
    "doubt": (scripted.paper, "3", "home", "down", "enter"),
    "cancel": (scripted.paper, "3", "end", "home", "down", "down", "down", "x"),
}
LESS_SEEN = {
    "mode-unconfirmed": (scripted.unconfirmed, "m"),
    "breaker": (scripted.held_back, "B"),
    "resume": (scripted.held_back, "1", "home", "down", "enter"),
    "limit": (scripted.paper, "5", "home", "down", "down", "down", "enter"),
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


@pytest.mark.parametrize("dialog", LESS_SEEN)
def test_less_seen_dialog(snap_compare: Compare, dialog: str) -> None:
    snapshot, *keys = LESS_SEEN[dialog]
    app = console(snapshot())
    assert snap_compare(app, terminal_size=SMALL, run_before=after(*keys, seconds=0.1))


SECOND = {
    "kill-part": (scripted.paper, "K", "p"),
    "kill-one": (scripted.paper, "K", "p", *"sma", "enter"),
    "flatten": (scripted.live, "K", "f"),
    "mark": (scripted.paper, "3", "home", "down", "enter", "b"),
    "loosen": (scripted.paper, "5", "home", "down", "down", "down", "enter", *"1500", "enter"),
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
    key = {"signals": "2", "strategies": "6", "log": "7"}[panel]
    app = console(scripted.paper())
    assert snap_compare(app, terminal_size=SMALL, run_before=after(key, seconds=0.1))


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
    assert snap_compare(app, terminal_size=SMALL, run_before=after("3", seconds=0.1))


def test_no_colour(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = console(scripted.cancelling())
    assert snap_compare(app, terminal_size=SMALL, run_before=after("3", seconds=0.1))
