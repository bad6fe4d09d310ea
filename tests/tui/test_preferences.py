"""How the console was left, and that no file can hinder its start."""

import stat
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from engine.ops.settings import load_settings
from tests.tui import scripted
from tests.tui.scripted import Desk, desk, to
from tui import themes
from tui.app import SLOW_FPS
from tui.preferences import NAME, Arrangement, Choices, Preferences


def written() -> None:
    """Wait until what was chosen is on the disk."""
    for thread in threading.enumerate():
        if thread.name == "preferences":
            thread.join(5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / NAME


@pytest.fixture
def problems() -> list[str]:
    return []


def test_what_was_chosen_is_there_at_the_next_start(path: Path, problems: list[str]) -> None:
    preferences = Preferences.load(path)
    assert preferences.chosen == Choices()
    preferences.choose(problems.append, theme="light")
    preferences.choose(problems.append, guided=True)
    written()
    again = Preferences.load(path)
    assert again.chosen == Choices(theme="light", guided=True)
    assert (again.problem, problems) == ("", [])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"theme": 7}', b"\xff\x00", b"x" * 2**21])
def test_a_broken_file_is_set_aside_and_told(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    preferences = Preferences.load(path)
    assert preferences.chosen == Choices()
    assert "made no sense" in preferences.problem
    assert not path.exists()
    assert path.with_name(f"{NAME}.broken").read_bytes() == content


def test_what_a_newer_version_wrote_is_read_as_far_as_it_is_known(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"theme": "light", "of tomorrow": [1, 2]}')
    assert Preferences.load(path).chosen.theme == "light"


def test_what_cannot_be_written_is_told(tmp_path: Path, problems: list[str]) -> None:
    (tmp_path / "var").write_text("a file, not a folder")
    preferences = Preferences.load(tmp_path / "var" / NAME)
    assert "cannot be read" in preferences.problem
    preferences.choose(problems.append, theme="light")
    written()
    assert preferences.chosen.theme == "light"
    assert len(problems) == 1


# --- in the console ------------------------------------------------------------------------------


@asynccontextmanager
async def left_as(path: Path, choices: Choices, **settings: Any) -> AsyncIterator[Desk]:
    """A console whose settings and preferences are known."""
    async with desk(scripted.paper()) as it:
        it.app.configure(load_settings(**settings), Preferences(path, choices))
        await it.draw()
        yield it


async def test_the_colours_stay(path: Path) -> None:
    async with left_as(path, Choices(guided=True)) as it:
        await it.press("T")
        written()
    async with left_as(path, Preferences.load(path).chosen) as it:
        assert it.app.theme == themes.LIGHT


async def test_a_setting_comes_before_what_is_remembered(path: Path) -> None:
    async with left_as(path, Choices(theme="light"), theme="colour_blind") as it:
        assert it.app.theme == themes.COLOUR_BLIND


async def test_colours_that_are_no_more_are_no_trouble(path: Path) -> None:
    async with left_as(path, Choices(theme="mauve", guided=True)) as it:
        assert it.app.theme == themes.DARK


async def test_what_is_wrong_with_the_file_is_said(path: Path) -> None:
    problem = "console.json made no sense"
    async with desk(scripted.paper()) as it:
        it.app.configure(load_settings(fps=4), Preferences(path, Choices(), problem))
        assert problem in await it.draw()


async def test_screen_filter_sort_part_and_zoom_are_as_they_were_left(path: Path) -> None:
    async with left_as(path, Choices(guided=True)) as it:
        await it.press(*to("quotes"), "greater_than_sign", "r")
        await it.press("2", "slash", *"spy", "enter", "f", "9", "l", "z")
        written()
    left = Preferences.load(path)
    assert left.problem == ""
    async with left_as(path, left.chosen) as it:
        assert it.app.base.name == "logs"
        assert it.app.base.zoomed == "log"
        assert "log · warnings and errors alone" in it.screen
        assert "session started" not in it.screen
        await it.press("2")
        assert "orders /spy 1 of 4 · open alone" in it.screen
        assert "38,200.0" not in it.screen
        await it.press("escape", "f", "f", "f", "f", "1")
        assert "quotes by symbol ▼" in it.screen
        written()
    assert "desk.quotes" in Preferences.load(path).chosen.tables
    assert "orders.orders" not in Preferences.load(path).chosen.tables


async def test_the_panel_in_focus_is_as_it_was_left_on_every_screen(path: Path) -> None:
    async with left_as(path, Choices(guided=True)) as it:
        await it.press("2", "t", "1", *to("signals"))
        written()
    left = Preferences.load(path).chosen
    assert left.panels == {"orders": "fills", "desk": "signals"}
    async with left_as(path, left) as it:
        assert it.app.base.panel == "signals"
        await it.press("2")
        assert it.app.base.panel == "fills"


def test_what_is_as_it_was_is_not_written_again(path: Path, problems: list[str]) -> None:
    preferences = Preferences(path, Choices(theme="light"))
    preferences.choose(problems.append, theme="light")
    written()
    assert not path.exists()


async def test_what_is_no_more_of_what_was_left_is_no_trouble(path: Path) -> None:
    tables = {
        "desk.orders": Arrangement("\x1b[2Jspy", "mauve", alone="mauve"),
        "x.y": Arrangement(),
    }
    choices = Choices(guided=True, screen="attic", zoomed={"desk": "attic"}, tables=tables)
    choices = replace(choices, panels={"desk": "attic", "attic": "attic"})
    async with left_as(path, choices) as it:
        assert it.app.base.name == "desk"
        assert it.app.base.zoomed == ""
        await it.press(*to("orders"))
        assert "0 of 8" in it.screen


# --- the first steps -----------------------------------------------------------------------------

STEPS = "First steps"


async def test_the_first_start_shows_the_first_steps_once(path: Path) -> None:
    async with left_as(path, Choices()) as it:
        assert STEPS in it.screen
        assert "No money is at risk" in it.screen
        await it.press("enter")
        assert STEPS not in it.screen
        written()
    async with left_as(path, Preferences.load(path).chosen) as it:
        assert STEPS not in it.screen


async def test_who_has_configured_anything_is_not_guided(path: Path) -> None:
    async with left_as(path, Choices(), replay_speed=10) as it:
        assert STEPS not in it.screen


async def test_the_first_steps_stand_in_no_keys_way(path: Path) -> None:
    async with left_as(path, Choices()) as it:
        await it.press("down", "q")
        assert STEPS not in it.screen
        assert "The engine stops with this console" in it.screen
    async with left_as(path, Choices()) as it:
        await it.press("ctrl+k")
        assert [type(command).__name__ for command in it.sent] == ["TripKillSwitch"]


async def test_help_brings_the_first_steps_back() -> None:
    async with desk(scripted.live()) as it:
        await it.press("question_mark", "g")
        assert STEPS in it.screen
        assert "real money, of account U1234567" in it.screen


async def test_over_a_slow_link_little_is_drawn_in_few_colours(tmp_path: Path) -> None:
    async with desk(scripted.paper()) as it:
        settings = load_settings(slow_link=True, fps=10, theme="dark")
        it.app.configure(settings, Preferences(tmp_path / "console.json", Choices()))
        assert it.app.theme == themes.TERMINAL
        assert it.app.fps == SLOW_FPS
        settings = load_settings(fps=10)
        it.app.configure(settings, Preferences(tmp_path / "console.json", Choices()))
        assert it.app.fps == 10
