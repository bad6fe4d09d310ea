"""Keys of one's own: they work in place of the old ones, and what makes no sense is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.control.standing import Standing
from engine.ops.settings import load_settings
from engine.view.snapshot import Snapshot
from tests.tui import scripted
from tests.tui.scripted import Desk, desk
from tui.commands import ACTIONS
from tui.journey import Journey
from tui.keys import OWN, keymap
from tui.preferences import Choices, Preferences


def test_keys_are_by_the_ids_of_their_actions() -> None:
    assert keymap(["detach=D", "help = F3", "filter=;"]) == (
        {"detach": "D", "help": "f3", "filter": "semicolon"},
        [],
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("detatch=D", "there is no such action; near it are detach"),
        ("kill=F9", "the kill switch keeps its keys"),
        ("detach=ctrl+k", "ctrl+k is the key of kill"),
        ("detach=q", "q is the key of quit"),
        ("detach=", "write ACTION=KEY"),
        ("detach", "write ACTION=KEY"),
        ("detach=hyper", "hyper is no key"),
    ],
)
def test_what_makes_no_sense_is_named_with_the_remedy(text: str, problem: str) -> None:
    chosen, problems = keymap([text, "help=f3"])
    assert chosen == {"help": "f3"}
    (told,) = problems
    assert told.startswith(f"KEYS: {text}: ")
    assert problem in told


def test_one_key_is_not_given_to_two_actions() -> None:
    assert keymap(["detach=D", "theme=D"])[1] == ["KEYS: theme=D: D is the key of detach"]


async def test_the_new_key_works_and_the_old_one_does_not() -> None:
    preferences = Preferences(Path("console.json"), Choices(guided=True))
    async with desk(scripted.paper()) as it:
        it.app.configure(load_settings(keys="theme=f9,detatch=D"), preferences)
        assert "KEYS: detatch=D: there is no such action" in await it.draw()
        before = it.app.theme
        await it.press("T")
        assert it.app.theme == before
        await it.press("f9")
        assert it.app.theme != before


# --- how texts name them --------------------------------------------------------------------------

CHOSEN = {
    action.id: chr(ord("\u0400") + number)
    for number, action in enumerate(ACTIONS)
    if action.scope != "always"
}
"""A letter for every action that is no letter of a text."""

STOPPED = replace(scripted.breaker_tripped(), killed_parts=scripted.parts_killed().killed_parts)


@asynccontextmanager
async def remapped(snapshot: Snapshot, size: tuple[int, int], folder: Path) -> AsyncIterator[Desk]:
    """A console in which every action has another key."""
    keys = ",".join(f"{id}={key}" for id, key in CHOSEN.items())
    async with desk(snapshot, size) as it:
        preferences = Preferences(folder / "console.json", Choices(guided=True))
        it.app.configure(load_settings(keys=keys), preferences)
        it.client.change()
        await it.draw()
        yield it


@pytest.mark.parametrize(
    ("snapshot", "ids", "texts"),
    [
        (STOPPED, (), ["({breaker} resets)", "{screen-orders} orders", "{screen-health} health"]),
        (STOPPED, ("screen-risk",), ["({breaker} resets)", "({rearm} re-arms)"]),
        (scripted.parts_killed(), (), ["({rearm} re-arms)"]),
        (scripted.unconfirmed(), (), ["({mode} confirms)"]),
        (scripted.paper(), ("freeze",), ["{freeze} goes on"]),
        (scripted.paper(), ("no-quit",), ["{no-quit} does not quit: {quit} does"]),
        (scripted.paper(), ("palette",), ["first go to the orders panel ({screen-orders})"]),
        (scripted.paper(), ("strategies", "reload"), ["switch it on with {toggle}."]),
        (
            scripted.paper(),
            ("screen-research", "stop-run"),
            ["no report yet: {backtest} starts", "{backtest}, {search} and"],
        ),
        (scripted.paper(), ("screen-logs", "follow"), ["0 new lines · {follow} follows"]),
        (scripted.paper(), ("filter", "x", "y", "z"), ["these words: {clear} shows all"]),
    ],
)
async def test_texts_name_the_keys_that_were_chosen(
    snapshot: Snapshot, ids: tuple[str, ...], texts: list[str], tmp_path: Path
) -> None:
    async with remapped(snapshot, (240, 45), tmp_path) as it:
        await it.press(*(CHOSEN.get(id, id) for id in ids))
        for text in texts:
            assert text.format_map(CHOSEN) in it.screen
            assert text.format_map(OWN) not in it.screen


async def test_the_guide_and_the_help_name_the_keys_that_were_chosen(tmp_path: Path) -> None:
    async with remapped(scripted.paper(), (120, 60), tmp_path) as it:
        await it.press(CHOSEN["help"])
        await it.press("g")
        for id in ("strategies", "palette", "help"):
            assert CHOSEN[id] in it.screen
        assert f"{CHOSEN['toggle']} there switches" in it.screen
        assert "space there" not in it.screen


async def test_a_console_without_the_command_names_the_key_that_was_chosen(tmp_path: Path) -> None:
    async with remapped(scripted.paper(), (160, 45), tmp_path) as it:
        it.client.stands = Standing(holder="ann", consoles=2)
        assert f"{CHOSEN['command']} asks ann for the command" in await it.draw()
        it.client.stands = Standing(mine=True, consoles=2, asks="ann", passes_in=9.0)
        assert f"{CHOSEN['command']} keeps the command" in await it.draw()


async def test_the_past_names_the_keys_that_were_chosen(tmp_path: Path) -> None:
    async with remapped(scripted.paper(), (160, 45), tmp_path) as it:
        travel = scripted.ScriptedTravel(replace(scripted.paper(), wall_ts=0, health=None))
        it.app._journey = Journey("paper", travel, it.app.clock)
        await it.draw()
        await it.press(CHOSEN["mode"])
        assert f"can be sent. {CHOSEN['past-leave']} goes back to live" in it.screen
        await it.pilot.resize_terminal(50, 12)
        screen = await it.draw()
        assert f"{CHOSEN['past-leave']}: back to live" in screen
        assert f"{CHOSEN['quit']} quits" in screen
