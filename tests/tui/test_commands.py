"""The one table of actions."""

import pytest
from msgspec.structs import replace

from engine.view.snapshot import Snapshot
from tests.tui import scripted
from tui import commands
from tui.commands import ACTIONS, BY_ID, SPEEDS, next_speed, refusal
from tui.keys import OWN


def test_every_action_has_an_id_of_its_own_under_which_it_can_be_remapped() -> None:
    assert len(BY_ID) == len(ACTIONS)
    scopes = {action.scope for action in ACTIONS}
    bound = [binding for scope in scopes for binding in commands.bindings(scope)]
    assert {getattr(binding, "id", None) for binding in bound} == set(BY_ID)


def test_no_key_does_two_things_in_one_place() -> None:
    for panel in ("", "orders", "strategies", "market"):
        keys = [
            key
            for action in ACTIONS
            if action.scope in ("app", "always", "screen", panel)
            for key in action.keys.split(",")
        ]
        assert len(keys) == len(set(keys))


def test_only_the_kill_key_goes_before_everything_else() -> None:
    assert [action.id for action in ACTIONS if action.scope == "always"] == ["kill"]


def test_what_tmux_or_a_terminal_may_keep_has_another_key() -> None:
    """But for the two that are of the terminal itself."""
    controls = {a.id: a.keys.split(",") for a in ACTIONS if "ctrl+" in a.keys}
    alone = [id for id, keys in controls.items() if all(key.startswith("ctrl+") for key in keys)]
    assert sorted(alone) == ["no-quit", "suspend"]


@pytest.mark.parametrize("snapshot", [None, scripted.paper(), scripted.killed()])
@pytest.mark.parametrize("id", ["kill", "quit", "help", "palette", "screen-desk"])
def test_what_is_never_refused(id: str, snapshot: Snapshot | None) -> None:
    assert refusal(BY_ID[id], snapshot, "quotes", OWN) == ""


FEED = scripted.paper().feed
ENDED = replace(scripted.paper(), feed=replace(FEED, status="ended"))
FASTEST = replace(scripted.paper(), feed=replace(FEED, speed=0.0))
SLOWEST = replace(scripted.paper(), feed=replace(FEED, speed=1.0))


@pytest.mark.parametrize(
    ("id", "snapshot", "panel", "reason"),
    [
        ("rearm", None, "", "the engine is still starting"),
        ("rearm", scripted.paper(), "", "the kill switch is ready: there is nothing to re-arm"),
        ("rearm", scripted.killed(), "", ""),
        ("pause", scripted.paper(), "", ""),
        ("pause", scripted.live(), "", "only a replay of recorded data can be paused or sped up"),
        ("pause", ENDED, "", "the replay has ended"),
        ("faster", FASTEST, "", "this is the highest speed"),
        ("slower", FASTEST, "", ""),
        ("slower", SLOWEST, "", "this is the lowest speed"),
        ("toggle", scripted.paper(), "quotes", "first go to the strategies panel (4)"),
        ("toggle", scripted.paper(), "strategies", ""),
        ("cancel", scripted.paper(), "log", "first go to the orders panel (2)"),
    ],
)
def test_refusals_say_why(id: str, snapshot: Snapshot | None, panel: str, reason: str) -> None:
    assert refusal(BY_ID[id], snapshot, panel, OWN) == reason


def test_the_steps_of_the_replay() -> None:
    up = [next_speed(speed, 1) for speed in SPEEDS]
    down = [next_speed(speed, -1) for speed in SPEEDS]
    assert up == [10.0, 60.0, 0.0, 0.0]
    assert down == [1.0, 1.0, 10.0, 60.0]
    assert next_speed(25.0, 1) == 60.0
    assert next_speed(25.0, -1) == 10.0
