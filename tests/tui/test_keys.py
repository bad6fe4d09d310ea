"""Keys of one's own: they work in place of the old ones, and what makes no sense is told."""

from pathlib import Path

import pytest

from engine.ops.settings import load_settings
from tests.tui import scripted
from tests.tui.scripted import desk
from tui.keys import keymap
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
