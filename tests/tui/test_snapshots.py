"""What the console looks like: every screen and dialog, in every size and state that matters."""

import asyncio
import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.app import App
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input

import tui.dialogs
from engine.core.model import DAY
from engine.view.questions import Equity
from engine.view.snapshot import Snapshot
from tests.tui import reports, scripted, whys
from tests.tui.scripted import Clock, ScriptedClient, to
from tui import themes
from tui.app import Console
from tui.commands import SCREENS
from tui.dialogs.alerts import AlertsDialog
from tui.dialogs.cash import CashDialog
from tui.dialogs.columns import ColumnsDialog
from tui.dialogs.detail import DetailDialog
from tui.dialogs.dialog import Dialog
from tui.dialogs.go import GoDialog
from tui.dialogs.guide import GuideDialog
from tui.dialogs.help import HelpDialog
from tui.dialogs.kill import KillDialog, PartDialog
from tui.dialogs.limits import LimitDialog, LoosenDialog
from tui.dialogs.live import ModeDialog
from tui.dialogs.orders import CancelDialog, DoubtDialog, MarkDialog
from tui.dialogs.quit import DetachDialog, QuitDialog
from tui.dialogs.reload import ReloadDialog
from tui.dialogs.research import ResearchDialog
from tui.dialogs.resume import ResumeDialog
from tui.dialogs.safety import BreakerDialog, RearmDialog, RearmPartDialog, StrategyOnDialog
from tui.dialogs.sure import SureDialog
from tui.dialogs.why import WhyDialog
from tui.journey import Journey
from tui.research import Request, Run
from tui.screens.panels import PanelScreen
from tui.widgets.equity import POINTS

SMALL, MIDDLE, LARGE = (80, 24), (120, 40), (200, 50)
SIZES = [pytest.param(size, id="{}x{}".format(*size)) for size in (SMALL, MIDDLE, LARGE)]

Compare = Callable[..., bool]
Act = Callable[[Pilot[None]], Awaitable[None]]


ASCII = "ascii"
LOOKS = (themes.DARK, themes.HIGH_CONTRAST, ASCII)
"""A terminal that has ASCII alone has 16 colours too."""


def console(
    snapshot: Snapshot | None, *, ended: str | None = None, look: str = themes.DARK
) -> Console:
    client = ScriptedClient(snapshot)
    client.ended = ended
    client.answers |= whys.ANSWERS
    client.answers[Equity(POINTS)] = scripted.CURVE
    app = Console(client, clock=Clock())
    wear(app, look)
    return app


def wear(app: Console, look: str) -> None:
    app.ascii = look == ASCII
    app.theme = themes.TERMINAL if app.ascii else look


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
        await settled(pilot)

    return act


async def settled(pilot: Pilot[None]) -> str:
    """The picture, once it stays: a new line at the top moves all below it, which moves what is in
    it."""
    drawn = ""
    while drawn != (drawn := pilot.app.export_screenshot()):
        await pilot.pause(0.05)
    return drawn


@dataclass(frozen=True)
class Subject:
    """What there is to see: a screen of the class `kind`, after `keys` over a snapshot, or where
    it takes a past to get there, opened by `opens`."""

    kind: type[Screen[None]]
    snapshot: Callable[[], Snapshot | None]
    keys: tuple[str, ...] = ()
    seconds: float = 0.1
    opens: Callable[[Console], object] | None = None


def _go(app: Console) -> None:
    app.push_screen(GoDialog(lambda _: None, app.frame, app.clock, app.send))


def _detach(app: Console) -> None:
    """While research runs: else one is not asked."""
    app.research = Run(Request())
    app.push_screen(DetachDialog(app.frame, app.clock, app.send))


def _travel(app: Console) -> None:
    """To a session of the day before yesterday, while a live engine runs."""
    then = replace(scripted.paper(), ts=scripted.TS - 2 * DAY, wall_ts=0, health=None)
    travel = scripted.ScriptedTravel(then)
    app._journey = Journey("paper 2022-01-29 09:30", travel, app.clock)
    app.tick()


SUBJECTS: dict[str, Subject] = {
    **{name: Subject(PanelScreen, scripted.paper, (place.key,)) for name, place in SCREENS.items()},
    "past": Subject(PanelScreen, scripted.live, ("1",), opens=_travel),
    "past-journal": Subject(PanelScreen, scripted.live, ("8",), opens=_travel),
    "rearm": Subject(RearmDialog, scripted.killed, ("R",)),
    "rearm-part": Subject(RearmPartDialog, scripted.parts_killed, ("R",)),
    "breaker": Subject(BreakerDialog, scripted.held_back, ("B",)),
    "alerts": Subject(AlertsDialog, scripted.alerting, ("a", "down")),
    "mode": Subject(ModeDialog, scripted.paper, ("m",)),
    "mode-live": Subject(ModeDialog, scripted.live, ("m",)),
    "quit": Subject(QuitDialog, scripted.paper, ("q",)),
    "detach": Subject(DetachDialog, scripted.paper, opens=_detach),
    "help": Subject(HelpDialog, scripted.paper, ("question_mark",)),
    "first-steps": Subject(GuideDialog, scripted.paper, ("question_mark", "g")),
    "palette": Subject(CommandPalette, scripted.paper, ("ctrl+p",)),
    "backtest": Subject(ResearchDialog, scripted.paper, ("7", "n")),
    "search": Subject(ResearchDialog, scripted.paper, ("7", "S")),
    "walk-forward": Subject(ResearchDialog, scripted.paper, ("7", "W")),
    "reload": Subject(ReloadDialog, scripted.paper, ("4", "l")),
    "kill": Subject(KillDialog, scripted.paper, ("K",)),
    "kill-part": Subject(PartDialog, scripted.paper, ("K", "p"), 0.5),
    "kill-one": Subject(KillDialog, scripted.paper, ("K", "p", *"sma", "enter"), 0.5),
    "kill-cancel": Subject(SureDialog, scripted.live, ("K", "c"), 0.5),
    "flatten": Subject(SureDialog, scripted.live, ("K", "f"), 0.5),
    "fills": Subject(PanelScreen, scripted.paper, ("2", "t", "end")),
    "why-fill": Subject(WhyDialog, scripted.paper, ("2", "t", "end", "w")),
    "columns": Subject(ColumnsDialog, scripted.paper, ("2", "C", "space", "down", "space")),
    "why": Subject(WhyDialog, scripted.paper, (*to("orders"), "end", "w")),
    "why-blocked": Subject(WhyDialog, scripted.paper, (*to("signals"), "home", "w")),
    "detail": Subject(DetailDialog, scripted.paper, (*to("positions"), "home", "enter")),
    "doubt": Subject(DoubtDialog, scripted.paper, (*to("orders"), "home", "down", "enter")),
    "mark": Subject(MarkDialog, scripted.paper, (*to("orders"), "home", "down", "enter", "b"), 0.5),
    "cancel": Subject(
        CancelDialog, scripted.paper, (*to("orders"), "end", "home", *["down"] * 3, "x")
    ),
    "limit": Subject(LimitDialog, scripted.paper, (*to("risk"), "home", "enter")),
    "loosen": Subject(
        LoosenDialog,
        scripted.paper,
        (*to("risk"), "home", "enter", *"1500", "enter"),
        0.5,
    ),
    "resume": Subject(ResumeDialog, scripted.held_back, (*to("quotes"), "home", "down", "enter")),
    "cash": Subject(CashDialog, scripted.other_cash, ("0", "home", "enter")),
    "go": Subject(GoDialog, scripted.paper, opens=_go),
    "strategy-on-live": Subject(StrategyOnDialog, scripted.live, ("s", "end", "space")),
}
LESS_SEEN = {
    "mode-unconfirmed": (scripted.unconfirmed, "m"),
    "why-waiting": (scripted.paper, *to("orders"), "home", "w"),
    "quit-live": (scripted.live, "q"),
    "quit-starting": (lambda: None, "q"),
}


@cache
def pictures(subject: str, size: tuple[int, int]) -> dict[str, str]:
    """One picture by look, all of one console."""
    what = SUBJECTS[subject]
    taken: dict[str, str] = {}

    async def take() -> None:
        snapshot = what.snapshot()
        app = console(snapshot)
        async with app.run_test(size=size) as pilot:
            if what.opens is not None:
                what.opens(app)
            await after(*what.keys, seconds=what.seconds)(pilot)
            assert isinstance(app.screen, what.kind)
            if snapshot is not None:
                app.client.change()  # pyright: ignore[reportAttributeAccessIssue]
                app.tick()
            for look in LOOKS:
                wear(app, look)
                app.refresh_css(animate=False)
                app.tick()  # or whether the footer is in this look already is chance
                taken[look] = await settled(pilot)

    asyncio.run(take())
    return taken


class Picture(App[None]):
    """One that was taken before."""

    def __init__(self, drawn: str) -> None:
        super().__init__()
        self._drawn = drawn

    def export_screenshot(self, **_: object) -> str:
        return self._drawn


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_picture(snap_compare: Compare, subject: str, size: tuple[int, int], look: str) -> None:
    assert snap_compare(Picture(pictures(subject, size)[look]))


def test_every_dialog_has_its_pictures() -> None:
    for module in pkgutil.iter_modules(tui.dialogs.__path__, "tui.dialogs."):
        importlib.import_module(module.name)
    named = {subject.kind for subject in SUBJECTS.values()}
    assert [each.__name__ for each in _leaves(Dialog) if each not in named] == []


def _leaves(kind: type) -> list[type]:
    below = [leaf for each in kind.__subclasses__() for leaf in _leaves(each)]
    return below or [kind]


@pytest.mark.parametrize("look", [themes.LIGHT, themes.COLOUR_BLIND, *LOOKS[1:]])
def test_live_in_other_looks(snap_compare: Compare, look: str) -> None:
    app = console(scripted.live(), look=look)
    assert snap_compare(app, terminal_size=SMALL, run_before=after())


@pytest.mark.parametrize("look", LOOKS[1:])
def test_killed_in_other_looks(snap_compare: Compare, look: str) -> None:
    app = console(scripted.killed(), look=look)
    assert snap_compare(app, terminal_size=SMALL, run_before=after())


@pytest.mark.parametrize("dialog", LESS_SEEN)
def test_less_seen_dialog(snap_compare: Compare, dialog: str) -> None:
    snapshot, *keys = LESS_SEEN[dialog]
    app = console(snapshot())
    assert snap_compare(app, terminal_size=SMALL, run_before=after(*keys, seconds=0.1))


@pytest.mark.parametrize("size", SIZES)
def test_two_reports(snap_compare: Compare, size: tuple[int, int], tmp_path: Path) -> None:
    reports.write_two(tmp_path)
    app = console(scripted.paper())
    app.reports = tmp_path
    keys = after("7", "end", "v", "home", seconds=0.1)
    assert snap_compare(app, terminal_size=size, run_before=keys)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["search", "walk-forward"])
def test_tried(snap_compare: Compare, size: tuple[int, int], kind: str, tmp_path: Path) -> None:
    reports.write_two(tmp_path)
    (reports.write_search if kind == "search" else reports.write_walk_forward)(tmp_path)
    app = console(scripted.paper())
    app.reports = tmp_path
    keys = after("7", "end", "v", "home", "tab", "tab", "home", seconds=0.1)
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
