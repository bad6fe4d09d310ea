"""Every key of every screen, panel and dialog is pressed, and does what it is there for.

The keys are those of the classes themselves: one that is bound anew fails here until `KEYS` says
what it does.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import pytest
from msgspec.structs import replace
from textual.binding import Binding
from textual.command import CommandPalette
from textual.dom import DOMNode
from textual.screen import Screen

import tui
from engine.control.standing import Standing
from engine.core.events import (
    AcknowledgeAlerts,
    AskOrder,
    Command,
    ControlFeed,
    ReloadStrategy,
    RequestCancel,
    RequestMode,
    ResumeSymbol,
    ToggleStrategy,
    TripKillSwitch,
)
from engine.core.model import KillAction, Mode
from engine.travel.messages import SHOWN, TOLD
from engine.travel.sessions import RecordedSession
from engine.view.snapshot import Snapshot
from tests.tui import reports, scripted
from tests.tui.scripted import TS, Desk, ScriptedTravel, desk, to
from tui.app import Console
from tui.commands import AUTHOR, FIRST_SCREEN, SCREENS
from tui.dialogs.alerts import AlertsDialog
from tui.dialogs.cash import CashDialog
from tui.dialogs.columns import ColumnsDialog
from tui.dialogs.detail import DetailDialog
from tui.dialogs.dialog import GRACE, Dialog
from tui.dialogs.go import GoDialog
from tui.dialogs.guide import GuideDialog
from tui.dialogs.help import HelpDialog
from tui.dialogs.kill import KillDialog, PartDialog
from tui.dialogs.limits import LimitDialog
from tui.dialogs.live import ModeDialog
from tui.dialogs.orders import CancelDialog, DoubtDialog, MarkDialog
from tui.dialogs.quit import DetachDialog, QuitDialog
from tui.dialogs.reload import ReloadDialog
from tui.dialogs.research import ResearchDialog
from tui.dialogs.resume import ResumeDialog
from tui.dialogs.safety import BreakerDialog, RearmDialog, RearmPartDialog
from tui.dialogs.sure import SureDialog, trip
from tui.dialogs.why import WhyDialog
from tui.journey import Journey
from tui.research import Request, Run
from tui.screens.panels import PanelScreen
from tui.screens.research import Research
from tui.widgets.chart import ChartPanel
from tui.widgets.column_list import ColumnList
from tui.widgets.connections import Connections
from tui.widgets.fills import Fills
from tui.widgets.line_table import LineTable
from tui.widgets.log import Log
from tui.widgets.orders import Orders
from tui.widgets.quotes import Quotes
from tui.widgets.risk import Risk
from tui.widgets.sessions import Sessions
from tui.widgets.strategies import Strategies

Does = Callable[[Desk], object]


class Key(NamedTuple):
    """`does` is false before the key is pressed, and true after. The keys before it are the `way`,
    in a console on `snapshot` that was made ready by `prepare`."""

    does: Does
    way: tuple[str, ...] = ()
    snapshot: Callable[[], Snapshot] = scripted.paper
    prepare: Callable[[Desk], object] = lambda it: it


# --- what a key does -----------------------------------------------------------------------------


def says(text: str) -> Does:
    return lambda it: text in it.screen


def sends(command: Command) -> Does:
    return lambda it: command in it.sent


def opens(kind: type[Screen[None]], text: str = "") -> Does:
    return lambda it: isinstance(it.app.screen, kind) and text in it.screen


def closes(it: Desk) -> bool:
    return it.app.screen is it.app.base


def goes_to(screen: str) -> Does:
    return lambda it: it.app.base.name == screen and it.app.base.panel


def focuses(panel: str) -> Does:
    return lambda it: it.app.base.panel == panel


def selects(symbol: str) -> Does:
    return lambda it: it.app.base.query_one(Quotes).selected == symbol


def charts(text: str) -> Does:
    return lambda it: text in str(it.app.base.query_one(ChartPanel).border_title)


def copies(text: str) -> Does:
    return lambda it: text in it.app.clipboard


def writes(pattern: str) -> Does:
    return lambda it: list(Path().glob(pattern))


def ends(ending: str) -> Does:
    return lambda it: not it.app.is_running and it.app.ending == ending


def steps(count: int, level: int) -> Does:
    return lambda it: travel(it).steps == [(count, level)]


def plays(it: Desk) -> bool:
    return journey(it).playing


def paces(speed: float) -> Does:
    return lambda it: journey(it).speed == speed


# --- what is made ready --------------------------------------------------------------------------


def exporting(it: Desk) -> None:
    it.app.exports = Path("exports")


def reporting(it: Desk) -> None:
    it.app.reports = Path("reports")
    reports.write_two(it.app.reports)


def recording(it: Desk) -> None:
    it.app.journals = OneSession()


def commanded(it: Desk) -> None:
    """Somebody else is in command."""
    it.client.stands = Standing(holder="ann", consoles=2)


def attached(it: Desk) -> None:
    """To an engine that another console started."""
    it.client.is_owned = False


def in_the_past(it: Desk) -> None:
    it.app._journey = Journey("paper", past(), it.app.clock)


def running(it: Desk) -> None:
    """A backtest that has not begun yet."""
    it.app.research = Run(Request())


def past() -> ScriptedTravel:
    return ScriptedTravel(replace(scripted.paper(), wall_ts=0, health=None))


def journey(it: Desk) -> Journey:
    assert it.app._journey is not None
    return it.app._journey


def travel(it: Desk) -> ScriptedTravel:
    return cast("ScriptedTravel", journey(it)._travel)


class OneSession:
    """The journals of a single session."""

    def sessions(self) -> Sequence[RecordedSession]:
        return [RecordedSession(Path("x.journal"), TS, TS, 1, Mode.PAPER)]

    def open(self, path: Path) -> ScriptedTravel:
        return past()


def speed(multiple: float) -> ControlFeed:
    return ControlFeed(action="speed", speed=multiple, author=AUTHOR)


KILL = TripKillSwitch(source="console", reason="kill key", author=AUTHOR)
ALERTS = tuple(row.name for row in scripted.ALERTS if not row.acknowledged_by)
FIRST_ORDER = (*to("orders"), "home")
DOUBTFUL = (*FIRST_ORDER, "down")
"""The way to the order in doubt."""
RESTING = (*FIRST_ORDER, "down", "down")

KEYS: dict[type[DOMNode], dict[str, Key]] = {
    Console: {
        "kill": Key(sends(KILL)),
        "kill-choices": Key(opens(KillDialog)),
        "rearm": Key(opens(RearmDialog), snapshot=scripted.killed),
        "breaker": Key(opens(BreakerDialog), snapshot=scripted.breaker_tripped),
        "mode": Key(opens(ModeDialog)),
        "strategies": Key(focuses("strategies")),
        "alerts": Key(opens(AlertsDialog), snapshot=scripted.alerting),
        "why": Key(opens(WhyDialog), (*to("signals"), "end")),
        "past-leave": Key(lambda it: it.app.frame.past is None, prepare=in_the_past),
        "past-before": Key(steps(-1, SHOWN), prepare=in_the_past),
        "past-next": Key(steps(1, SHOWN), prepare=in_the_past),
        "past-play": Key(plays, prepare=in_the_past),
        "past-go": Key(opens(GoDialog), prepare=in_the_past),
        "past-line-before": Key(steps(-1, TOLD), prepare=in_the_past),
        "past-line-next": Key(steps(1, TOLD), prepare=in_the_past),
        "past-slower": Key(paces(10.0), prepare=in_the_past),
        "past-faster": Key(paces(0.0), prepare=in_the_past),
        "pause": Key(sends(ControlFeed(action="pause", speed=10.0, author=AUTHOR))),
        "slower": Key(sends(speed(1.0))),
        "faster": Key(sends(speed(60.0))),
        **{
            f"screen-{name}": Key(goes_to(name), ("2",) if name == FIRST_SCREEN else ())
            for name in SCREENS
        },
        "palette": Key(lambda it: isinstance(it.app.screen, CommandPalette)),
        "freeze": Key(says("the panels stand still")),
        "picture": Key(writes("exports/*.svg"), prepare=exporting),
        "theme": Key(says("colours: ")),
        "help": Key(opens(HelpDialog)),
        "command": Key(lambda it: it.client.pressed == ["ask"], prepare=commanded),
        "detach": Key(ends("detach")),
        "quit": Key(opens(QuitDialog)),
        "no-quit": Key(says("ctrl+c does not quit: q does")),
        "suspend": Key(says("no shell could bring the console back")),
    },
    PanelScreen: {
        "next-panel": Key(focuses("risk")),
        "previous-panel": Key(focuses("log")),
        "zoom": Key(lambda it: it.app.base.zoomed == "quotes"),
        "back": Key(goes_to(FIRST_SCREEN), ("6",)),
    },
    LineTable: {
        "row-up": Key(selects("BTC-USD"), ("end",)),
        "row-down": Key(selects("SPY"), ("home",)),
        "page-up": Key(selects("AAPL"), ("end",)),
        "page-down": Key(selects("ETH-USD"), ("home",)),
        "row-first": Key(selects("AAPL"), ("end",)),
        "row-last": Key(selects("ETH-USD"), ("home",)),
        "filter": Key(says("quotes /▏ 4 of 4")),
        "clear": Key(lambda it: "quotes /" not in it.screen, ("slash", *"spy", "enter")),
        "open": Key(opens(DetailDialog), (*to("positions"), "home")),
        "copy": Key(copies("AAPL\t170.1"), ("home",)),
        "export": Key(writes("exports/*.csv"), prepare=exporting),
        "sort-next": Key(says("quotes by symbol ▲")),
        "sort-before": Key(says("quotes by ask size ▲")),
        "reverse": Key(says("quotes by symbol ▼"), ("greater_than_sign",)),
        "columns": Key(opens(ColumnsDialog)),
    },
    Orders: {
        "cancel": Key(opens(CancelDialog), RESTING),
        "doubt": Key(opens(DoubtDialog), DOUBTFUL),
        "part": Key(says("orders · open alone"), ("2",)),
        "fills": Key(focuses("fills"), ("2",)),
    },
    Fills: {"orders": Key(focuses("orders"), ("2", "t"))},
    Risk: {"limit": Key(opens(LimitDialog), (*to("risk"), "home"))},
    Quotes: {"resume": Key(opens(ResumeDialog), ("home", "down"), scripted.held_back)},
    Connections: {"cash": Key(opens(CashDialog), ("0", "home"), scripted.other_cash)},
    Strategies: {
        "toggle": Key(
            sends(ToggleStrategy(strategy="mean_reversion", enabled=True, author=AUTHOR)),
            ("s", "end"),
        ),
        "reload": Key(opens(ReloadDialog), ("s",)),
    },
    Log: {
        "level": Key(says("log · warnings and errors alone"), to("log")),
        "follow": Key(says("STOPPED"), to("log")),
    },
    ChartPanel: {
        "symbol-up": Key(charts("AAPL"), ("6", "down")),
        "symbol-down": Key(charts("SPY"), ("6",)),
        "nearer": Key(charts("1 min"), ("6", "right_curly_bracket")),
        "farther": Key(charts("5 min"), ("6",)),
    },
    Research: {
        "backtest": Key(opens(ResearchDialog, "Backtest: "), ("7",)),
        "search": Key(opens(ResearchDialog, "Search for parameters: "), ("7",)),
        "walk-forward": Key(opens(ResearchDialog, "Walk-forward: "), ("7",)),
        "compare": Key(says("it is shown beside this one"), ("7", "end"), prepare=reporting),
        "stop-run": Key(says("CANCELLED no report"), ("7",), prepare=running),
    },
    Sessions: {
        "travel": Key(lambda it: it.app.frame.past is not None, ("8",), prepare=recording),
    },
    ColumnList: {"column-hide": Key(says("1 column hidden"), ("C", "down"))},
    Dialog: {"close": Key(closes, ("question_mark",))},
    AlertsDialog: {
        "alert-read": Key(
            sends(AcknowledgeAlerts(names=ALERTS[:1], author=AUTHOR)), ("a",), scripted.alerting
        ),
        "alerts-read": Key(
            sends(AcknowledgeAlerts(names=ALERTS, author=AUTHOR)), ("a",), scripted.alerting
        ),
    },
    RearmPartDialog: {"next-part": Key(says("▸ symbol SPY"), ("R",), scripted.parts_killed)},
    DetailDialog: {
        "copy-details": Key(
            copies("\nposition quantity\t29\n"), (*to("positions"), "home", "enter")
        )
    },
    HelpDialog: {"guide": Key(opens(GuideDialog), ("question_mark",))},
    KillDialog: {
        "kill-stop": Key(sends(trip(KillAction.STOP)), ("K",)),
        "kill-keep_stops": Key(opens(SureDialog, "keep protective stops"), ("K",)),
        "kill-cancel": Key(opens(SureDialog, "cancel every order"), ("K",)),
        "kill-flatten": Key(opens(SureDialog, "cancel and flatten"), ("K",)),
        "kill-part": Key(opens(PartDialog), ("K",)),
    },
    ModeDialog: {
        "confirm": Key(sends(RequestMode(mode=Mode.PAPER, author=AUTHOR)), ("m",), scripted.live),
        "acknowledge": Key(
            sends(AcknowledgeAlerts(names=ALERTS[:1], author=AUTHOR)), ("m",), scripted.alerting
        ),
    },
    CancelDialog: {
        "confirm": Key(
            sends(RequestCancel(client_order_id="sma-eth-0005", author=AUTHOR)), (*RESTING, "x")
        )
    },
    DoubtDialog: {
        "confirm": Key(
            sends(AskOrder(client_order_id="sma-spy-0006", author=AUTHOR)), (*DOUBTFUL, "enter")
        ),
        **{
            f"mark-{state}": Key(opens(MarkDialog, f"marked as {state},"), (*DOUBTFUL, "enter"))
            for state in ("canceled", "rejected", "expired", "abandoned")
        },
    },
    DetachDialog: {"confirm": Key(ends("detach"), ("d",), prepare=running)},
    QuitDialog: {
        "confirm": Key(ends(""), ("q",)),
        "quit-no-entries": Key(
            sends(ToggleStrategy(strategy="sma_crossover", enabled=False, author=AUTHOR)), ("q",)
        ),
        "quit-kill": Key(opens(KillDialog), ("q",)),
        "quit-detach": Key(ends("detach"), ("q",)),
        "quit-stop": Key(ends("stop"), ("q",), prepare=attached),
    },
    ReloadDialog: {
        "confirm": Key(
            sends(ReloadStrategy(strategy="sma_crossover", author=AUTHOR)), ("s", "home", "l")
        )
    },
    ResumeDialog: {
        "confirm": Key(
            sends(ResumeSymbol(symbol="SPY", author=AUTHOR)),
            ("home", "down", "enter"),
            scripted.held_back,
        )
    },
}


# --- all that are bound --------------------------------------------------------------------------


def kinds(kind: type[DOMNode]) -> Iterator[type[DOMNode]]:
    """Those of ours below `kind` that bind keys."""
    for below in kind.__subclasses__():
        if below.__module__.startswith(f"{tui.__name__}.") and "BINDINGS" in vars(below):
            yield below
        yield from kinds(below)


def bound() -> dict[str, tuple[type[DOMNode], Binding]]:
    """Every key by its name: that of its class, of its action and its own."""
    for module in pkgutil.walk_packages(tui.__path__, f"{tui.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return {
        f"{kind.__name__}-{binding.id}-{binding.key}": (kind, binding)
        for kind in kinds(DOMNode)
        for binding in Binding.make_bindings(vars(kind)["BINDINGS"])
    }


BOUND = bound()
BEHIND_TEXTUAL = "no-quit"
"""Before its key is ours it copies what the mouse selected, if anything is."""


async def press(it: Desk, *keys: str) -> None:
    """One after the other as a person does, while the engine goes on."""
    for key in keys:
        it.client.change()
        it.clock.now += GRACE
        await it.pilot.press(key)
    await it.app.workers.wait_for_complete()
    await it.draw()


@pytest.mark.parametrize("name", BOUND)
async def test_each_key_does_what_it_is_there_for(name: str) -> None:
    kind, binding = BOUND[name]
    key = KEYS.get(kind, {}).get(binding.id or "")
    assert key is not None, "say in KEYS what it does"
    async with desk(key.snapshot(), size=(80, 24)) as it:
        key.prepare(it)
        await it.draw()
        await press(it, *key.way)
        assert not key.does(it)
        if binding.id != BEHIND_TEXTUAL:
            active = it.app.screen.active_bindings[binding.key]
            assert (isinstance(active.node, kind), active.binding.id) == (True, binding.id)
        await press(it, binding.key)
        assert key.does(it), it.screen


def test_there_is_no_key_here_that_is_not_bound() -> None:
    named = {(kind, id) for kind, keys in KEYS.items() for id in keys}
    assert named <= {(kind, binding.id) for kind, binding in BOUND.values()}
