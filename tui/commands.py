"""Every action of the console, once: key bindings, footer, palette and help are made from it."""

from typing import NamedTuple

from textual.binding import Binding, BindingType

from engine.snapshot import Snapshot

PANELS = ("quotes", "signals", "orders", "positions", "risk", "strategies", "log")
"""The panels in the order of their digits."""

AUTHOR = "console"
"""Who the engine is told that a command is from."""

SPEEDS = (1.0, 10.0, 60.0, 0.0)
"""The steps of the replay's speed; 0 is as fast as possible."""


class Action(NamedTuple):
    """`call` is Textual's action, the `id` where it is empty. `scope` is where the keys work: `app`
    on the desk, `always` over dialogs and inputs too, else the panel of that name. `label` is the
    word in the footer, those of a high `rank` are left out first; without one it is not there."""

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
    Action("mode", "m", "Paper or live; confirm live", "Safety", "mode", 4),
    Action("cancel", "x", "Cancel the selected order", "Safety", "cancel", 1, scope="orders"),
    Action(
        "doubt",
        "enter",
        "Ask after the selected order in doubt, or mark it by hand",
        "Safety",
        "in doubt",
        1,
        scope="orders",
    ),
    Action("limit", "enter", "Change the selected limit", "Safety", "change", 1, scope="risk"),
    Action(
        "resume", "enter", "Trade the selected symbol again", "Safety", "resume", 1, scope="quotes"
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
        "strategies",
        "s",
        "Go to the strategies",
        "Strategies",
        "strategies",
        5,
        call="panel('strategies')",
    ),
    Action("pause", "p", "Pause or resume the replay", "Replay", "pause", 6),
    Action("slower", "minus", "Slow the replay down", "Replay", "slower", 8),
    Action("faster", "plus,equals_sign", "Speed the replay up", "Replay", "faster", 7),
    *(
        Action(f"panel-{number}", str(number), f"Go to {name}", "Panels", call=f"panel('{name}')")
        for number, name in enumerate(PANELS, 1)
    ),
    Action("next-panel", "tab", "Go to the next panel", "Panels", scope="desk", call="step(1)"),
    Action(
        "previous-panel",
        "shift+tab",
        "Go to the panel before",
        "Panels",
        scope="desk",
        call="step(-1)",
    ),
    Action("palette", "ctrl+p", "All commands", "Console", "commands", 3, call="command_palette"),
    Action("help", "question_mark,f1", "Help: keys and signs", "Console", "help", 2),
    Action("quit", "q,ctrl+q", "Quit", "Console", "quit", 2, call="ask_quit"),
    Action("no-quit", "ctrl+c", "Say how to quit", "Console", call="say_quit"),
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
            priority=action.scope == "always",
            id=action.id,
        )
        for action in ACTIONS
        if action.scope in scopes
    ]


def refusal(action: Action, snapshot: Snapshot | None, panel: str) -> str:
    """Why `action` can do nothing now, `panel` being the one in focus; empty where it can."""
    if action.scope in PANELS and action.scope != panel:
        return f"first go to the {action.scope} panel ({PANELS.index(action.scope) + 1})"
    if action.id not in _NEED_ENGINE:
        return ""
    if snapshot is None:
        return "the engine is still starting"
    if action.id == "rearm" and not (snapshot.kill.tripped or snapshot.killed_parts):
        return "the kill switch is ready: there is nothing to re-arm"
    if action.id == "breaker" and not snapshot.breaker.tripped:
        return "the circuit breaker is ready: there is nothing to reset"
    if action.id == "resume" and not snapshot.paused:
        return "no symbol is paused"
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
    "cancel",
    "doubt",
    "limit",
    "resume",
    "pause",
    "slower",
    "faster",
}


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
