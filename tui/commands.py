"""Every action of the console, once: key bindings, footer, palette and help are made from it."""

from collections.abc import Mapping
from typing import NamedTuple

from textual.binding import Binding, BindingType

from engine.view.snapshot import Snapshot


class Place(NamedTuple):
    """A screen: its key, what it shows, and the class that draws it, by its dotted name: it is
    imported when the screen is first opened."""

    key: str
    title: str
    kind: str


SCREENS = {
    "desk": Place("1", "all panels", "tui.screens.desk.Desk"),
    "orders": Place(
        "2", "all orders and fills, and their history", "tui.screens.orders.OrdersScreen"
    ),
    "positions": Place(
        "3", "positions, equity curve, P&L by strategy", "tui.screens.positions.PositionsScreen"
    ),
    "strategies": Place(
        "4", "parameters, state, signals of each", "tui.screens.strategies.StrategiesScreen"
    ),
    "risk": Place("5", "daily loss, every limit, what blocked what", "tui.screens.risk.RiskScreen"),
    "market": Place("6", "one symbol: bars, quote, orders", "tui.screens.market.Market"),
    "research": Place(
        "7", "backtests, searches, walk-forwards, reports", "tui.screens.research.Research"
    ),
    "journal": Place("8", "sessions of the past, to go through", "tui.screens.journal.Journal"),
    "logs": Place("9", "the log, and its file with all that is kept", "tui.screens.logs.Logs"),
    "health": Place("0", "brokers, feed, engine, database", "tui.screens.health.HealthScreen"),
}
"""The screens by name, in the order of their keys."""

FIRST_SCREEN = "desk"

ON_SCREEN = {"fills": "orders", "connections": "health"}
"""The screen of a panel that the first screen has not, and that is not its screen's namesake."""

KEYS_OF = {"report": "research", "tried": "research", "run": "research"}
"""The panels that have the keys of another one, beside which they are."""

ASKED_WHY = ("signals", "orders", "fills", "positions")
"""The panels whose rows have a chain of causes."""

AUTHOR = "console"
"""Who the engine is told that a command is from."""

SPEEDS = (1.0, 10.0, 60.0, 0.0)
"""The steps of the replay's speed; 0 is as fast as possible."""


class Action(NamedTuple):
    """`call` is Textual's action, the `id` where it is empty. `scope` is where the keys work: `app`
    and `screen` on every screen, `table` in every table, `always` over dialogs and inputs too,
    `past` before all others while a session of the past is shown, else the panel of that name.
    `label` is the word in the footer, those of a high `rank` are left out first; without one it is
    not there."""

    id: str
    keys: str
    title: str
    group: str
    label: str = ""
    rank: int = 0
    scope: str = "app"
    call: str = ""


ACTIONS = (
    Action(
        "kill",
        "ctrl+k,f12",
        "Kill: stop trading now and cancel every order",
        "Safety",
        "KILL",
        scope="always",
    ),
    Action(
        "kill-choices",
        "K",
        "Kill with a choice: all or a part; what is cancelled, kept, closed",
        "Safety",
        call="kill_choices",
    ),
    Action("rearm", "R", "Re-arm the kill switch, or a part", "Safety", "re-arm", 1),
    Action("breaker", "B", "Reset the circuit breaker", "Safety"),
    Action("mode", "m", "Paper or live; confirm live", "Safety", "mode", 7),
    Action("cancel", "x", "Cancel the selected order", "Safety", "cancel", 1, scope="orders"),
    Action(
        "doubt",
        "enter",
        "An order in doubt: ask after it, or mark it by hand; of others all fields",
        "Safety",
        "open",
        1,
        scope="orders",
        call="open",
    ),
    Action(
        "part",
        "f",
        "All orders, or the open, doubtful, filled or unfilled alone",
        "Safety",
        "part",
        6,
        scope="orders",
    ),
    Action(
        "fills",
        "t",
        "Go to the fills: every execution, its price and commission",
        "Console",
        "fills",
        3,
        scope="orders",
        call="app.panel('fills')",
    ),
    Action(
        "orders",
        "t",
        "Go back to the orders",
        "Console",
        "orders",
        3,
        scope="fills",
        call="app.panel('orders')",
    ),
    Action(
        "limit",
        "enter",
        "Change the selected limit; of one that cannot be changed all fields",
        "Safety",
        "change",
        1,
        scope="risk",
        call="open",
    ),
    Action(
        "resume",
        "enter",
        "Trade the selected symbol again where it is paused; else all fields",
        "Safety",
        "open",
        7,
        scope="quotes",
        call="open",
    ),
    Action(
        "cash",
        "enter",
        "Take over the cash that the selected broker tells; of others all fields",
        "Safety",
        "open",
        1,
        scope="connections",
        call="open",
    ),
    Action(
        "toggle",
        "space",
        "Switch the selected strategy on or off",
        "Strategies",
        "on/off",
        1,
        scope="strategies",
        call="switch",
    ),
    Action(
        "reload",
        "l",
        "Load the selected strategy anew from its file, switched off",
        "Strategies",
        "reload",
        7,
        scope="strategies",
    ),
    Action(
        "strategies",
        "s",
        "Go to the strategies",
        "Strategies",
        "strategies",
        4,
        call="panel('strategies')",
    ),
    Action(
        "level", "l", "All lines, warnings and errors, or errors alone", "Log", "level", 6, "log"
    ),
    Action(
        "follow",
        "f",
        "Stop at the lines that are there, or follow new ones",
        "Log",
        "follow",
        5,
        "log",
    ),
    Action("alerts", "a", "Alerts: read and acknowledge them", "Safety", "alerts", 1),
    Action(
        "why",
        "w",
        "Why: what led to the selected order, fill, position or signal",
        "Console",
        "why",
        2,
    ),
    Action(
        "nearer", "left_curly_bracket", "Fewer bars, each larger", "Chart", "nearer", 3, "market"
    ),
    Action(
        "farther",
        "right_curly_bracket",
        "More bars, each smaller",
        "Chart",
        "farther",
        3,
        "market",
    ),
    *(
        Action(id, key, title, "Research", label, 1, "research", f"run('{id}')")
        for id, key, title, label in (
            ("backtest", "n", "Start a backtest", "new"),
            ("search", "S", "Start a search for parameters", "search"),
            ("walk-forward", "W", "Start a walk-forward", "walk-forward"),
        )
    ),
    Action("compare", "v", "Compare others with this report", "Research", "compare", 3, "research"),
    Action("stop-run", "x", "Cancel the run", "Research", "cancel", 3, "research", "stop_run"),
    Action(
        "travel",
        "enter",
        "Look at the selected session as it was, at any moment of it",
        "The past",
        "open",
        1,
        scope="journal",
        call="open",
    ),
    *(
        Action(f"past-{id}", keys, title, "The past", label, rank, "past", f"past_{call}")
        for id, keys, title, label, rank, call in (
            ("leave", "escape", "Go back to live", "back to live", 0, "leave"),
            ("before", "left_square_bracket", "Go to the event before", "before", 1, "step(-1)"),
            ("next", "right_square_bracket", "Go to the next event", "next", 1, "step(1)"),
            ("play", "space", "Play the past, or stop it", "play", 2, "play"),
            ("go", "g", "Go to an event or a time", "go to", 2, "go"),
            (
                "line-before",
                "left_curly_bracket",
                "Go to the line of the log before",
                "",
                0,
                "leap(-1)",
            ),
            (
                "line-next",
                "right_curly_bracket",
                "Go to the next line of the log",
                "",
                0,
                "leap(1)",
            ),
            ("slower", "minus", "Play the past slower", "slower", 4, "speed(-1)"),
            ("faster", "plus,equals_sign", "Play the past faster", "faster", 4, "speed(1)"),
        )
    ),
    Action("pause", "p", "Pause or resume the replay", "Replay", "pause", 6),
    Action("slower", "minus", "Slow the replay down", "Replay", "slower", 8),
    Action("faster", "plus,equals_sign", "Speed the replay up", "Replay", "faster", 7),
    *(
        Action(
            f"screen-{name}",
            place.key,
            f"Go to the {name} screen: {place.title}",
            "Screens",
            "screens" if name == FIRST_SCREEN else "",
            2,
            call=f"screen('{name}')",
        )
        for name, place in SCREENS.items()
    ),
    Action(
        "next-panel",
        "tab,right",
        "Go to the next panel",
        "Panels",
        "panels",
        5,
        "screen",
        "step(1)",
    ),
    Action(
        "previous-panel",
        "shift+tab,left",
        "Go to the panel before",
        "Panels",
        scope="screen",
        call="step(-1)",
    ),
    Action(
        "zoom",
        "z",
        "Make the panel the whole screen, or all as it was",
        "Panels",
        "zoom",
        7,
        "screen",
    ),
    Action("back", "escape", "Go back", "Panels", scope="screen"),
    *(
        Action(id, keys, title, "Table", label, 6, scope="table", call=call)
        for id, keys, title, label, call in (
            ("filter", "slash", "Show the rows that have all words typed", "filter", ""),
            ("clear", "escape", "Show all rows again", "", ""),
            ("open", "enter", "Show all fields of the selected row", "open", ""),
            ("copy", "y", "Copy the selected row", "", ""),
            ("export", "e", "Save the rows as a CSV file in DATA_DIR/exports", "", ""),
            ("sort-next", "greater_than_sign", "Sort by the next column", "", "sort(1)"),
            ("sort-before", "less_than_sign", "Sort by the column before", "", "sort(-1)"),
            ("reverse", "r", "Sort the other way round", "", ""),
            ("columns", "C", "Choose the columns that are shown", "", ""),
        )
    ),
    Action(
        "palette", "ctrl+p,f2", "All commands", "Console", "commands", 3, call="command_palette"
    ),
    Action("freeze", "F", "Freeze the panels for a minute, to read them; or go on", "Console"),
    Action("picture", "P", "Save a picture of the screen (SVG)", "Console"),
    Action("theme", "T", "Change the colours", "Console"),
    Action("help", "question_mark,f1", "Help: keys and signs", "Console", "help", 2),
    Action(
        "command",
        "c",
        "Take the command; keep it where another console asks",
        "Console",
        "command",
        1,
    ),
    Action("detach", "d", "Detach: the engine goes on without a console", "Console", "detach", 9),
    Action("quit", "q,ctrl+q", "Quit", "Console", "quit", 2, call="ask_quit"),
    Action("no-quit", "ctrl+c", "Say how to quit", "Console", call="say_quit"),
    Action("suspend", "ctrl+z", "Suspend: fg in the shell comes back", "Console"),
)

BY_ID = {action.id: action for action in ACTIONS}


def bindings(*scopes: str) -> list[BindingType]:
    """The key bindings of `scopes`; each has its action's id, under which it can be remapped."""
    return [
        Binding(
            action.keys,
            action.call or action.id,
            action.title,
            show=False,
            priority=action.scope in ("past", "always"),
            id=action.id,
        )
        for action in ACTIONS
        if action.scope in scopes
    ]


def is_of_panel(action: Action) -> bool:
    """Whether the action is one panel's alone."""
    return action.scope not in ("app", "screen", "past", "always", "table")


def not_live(keys: Mapping[str, str]) -> str:
    """Why nothing is sent while the past is shown."""
    leave = f"{keys['past-leave']} goes back to live"
    return f"this is the past: nothing can be sent. {leave}"


def refusal(action: Action, snapshot: Snapshot | None, panel: str, keys: Mapping[str, str]) -> str:
    """Why `action` can do nothing now, `panel` being the one in focus and `keys` the names of the
    keys; empty where it can."""
    if is_of_panel(action) and action.scope != KEYS_OF.get(panel, panel):
        home = ON_SCREEN.get(action.scope, FIRST_SCREEN)
        screen = action.scope if action.scope in SCREENS else home
        return f"first go to the {action.scope} panel ({keys[f'screen-{screen}']})"
    if action.id == "why" and panel not in ASKED_WHY:
        return f"select a row of {', '.join(ASKED_WHY)} first"
    if snapshot is not None and snapshot.is_past and action.id in _NEED_NOW:
        return not_live(keys)
    if action.id == "alerts" and not (snapshot is not None and snapshot.alerts):
        return "nothing went wrong: there is no alert"
    if action.id not in _NEED_ENGINE:
        return ""
    if snapshot is None:
        return "the engine is still starting"
    if action.id == "rearm" and not (snapshot.kill.tripped or snapshot.killed_parts):
        return "the kill switch is ready: there is nothing to re-arm"
    if action.id == "breaker" and not snapshot.breaker.tripped:
        return "the circuit breaker is ready: there is nothing to reset"
    if action.group == "Replay":
        if not snapshot.feed.recorded:
            return "only a replay of recorded data can be paused or sped up"
        if snapshot.feed.status == "ended":
            return "the replay has ended"
    at_end = {"slower": SPEEDS[0], "faster": SPEEDS[-1]}.get(action.id)
    if snapshot.feed.speed == at_end:
        return f"this is the {'lowest' if action.id == 'slower' else 'highest'} speed"
    return ""


_NEED_ENGINE = {
    "rearm",
    "breaker",
    "mode",
    "toggle",
    "reload",
    "cancel",
    "doubt",
    "limit",
    "resume",
    "cash",
    "why",
    "pause",
    "slower",
    "faster",
}


NEED_COMMAND = {"rearm", "breaker", "mode", "cancel", "pause", "slower", "faster"}
"""What a console that is not in command cannot do at all."""


_NEED_NOW = {*_NEED_ENGINE - {"why"}, "kill-choices", "command", "quit", "freeze"}


def label(action: Action, snapshot: Snapshot | None) -> str:
    """What the key does now, in a word."""
    if action.id == "pause" and snapshot is not None and snapshot.feed.status == "paused":
        return "resume"
    return action.label


def next_speed(speed: float, step: int) -> float:
    """The replay speed one step up or down from `speed`."""
    order = [float("inf") if each == 0 else each for each in SPEEDS]
    here = float("inf") if speed == 0 else speed
    if step > 0:
        found = next((each for each in order if each > here), order[-1])
    else:
        found = next((each for each in reversed(order) if each < here), order[0])
    return 0.0 if found == float("inf") else found
