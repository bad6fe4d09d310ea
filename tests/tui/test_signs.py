"""The console in plain ASCII: when, and that not one other byte gets out."""

import ast
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color

from tests.terminal import Terminal
from tests.tui import scripted
from tests.tui.scripted import desk
from tests.tui.test_main import COMMAND, LEFT, environment, outlast
from tui import signs
from tui.dialogs.dialog import GRACE

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "linux", "LANG": "de_DE.UTF-8"}, True),
        ({"TERM": "xterm", "LANG": "de_DE.UTF-8"}, False),
        ({"TERM": "xterm", "LANG": "C.utf8"}, False),
        ({"TERM": "xterm", "LANG": "de_DE.ISO-8859-1"}, True),
        ({"TERM": "xterm", "LANG": "C"}, True),
        ({"TERM": "xterm", "LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, True),
        ({"TERM": "xterm", "LC_ALL": "", "LANG": "de_DE.UTF-8"}, False),
        ({"TERM": "xterm"}, False),
        ({"TERM": "xterm", "LANG": "C.UTF-8", "SIGNS": "ASCII"}, True),
        ({"TERM": "linux", "LANG": "C", "SIGNS": "unicode"}, False),
        ({"TERM": "linux", "SIGNS": "auto"}, True),
    ],
)
def test_the_terminal_says_what_it_can_show(environment: dict[str, str], expected: bool) -> None:
    assert signs.is_ascii_only(environment) is expected


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "— · … ▲+1.2% ━━──",
        "Börse Zürich",
        "日本株 AAPL",
        "e\u0301",
        "❤️ ½ ﬁ ⣿⠁",
        "\u200b\x9b",
    ],
)
def test_what_is_replaced_takes_as_many_cells(text: str) -> None:
    plain = signs.to_ascii(text)
    assert plain.isascii()
    assert plain.isprintable()
    assert len(plain) == cell_len(text)


def test_letters_stay_readable_and_the_unknown_is_a_question() -> None:
    assert signs.to_ascii("Börse Zürich: — · 日") == "Borse Zurich: ? | ??"
    assert signs.to_ascii("▁▃▅█ ⣿⠁") == "_-+# #."


def test_a_line_keeps_what_is_ascii_and_every_style() -> None:
    segments = [Segment("plain"), Segment("═", None)]
    drawn = signs.AsciiLines().apply(segments, Color.parse("black"))
    assert drawn[0] is segments[0]
    assert drawn[1].text == "="


def test_every_sign_of_ours_has_one_in_ascii_and_no_two_of_a_kind_the_same() -> None:
    """A new sign needs a line in tui/signs.py."""
    ours: set[str] = set()
    for file in (ROOT / "tui").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                ours |= {each for each in node.value if not each.isascii()}
    unlike = {each for each in ours if signs.to_ascii(each) == signs.UNKNOWN} - {"—"}
    assert unlike == set()
    lights = "●○‖✗■◐"
    assert len(set(signs.to_ascii(lights))) == len(lights)


async def test_all_of_the_screen_is_ascii_texts_from_outside_too() -> None:
    foreign = replace(scripted.paper(), account="Börse 日本")
    async with desk(foreign) as it:
        it.app.ascii = True
        for keys in (
            (),
            ("question_mark",),
            ("escape", "ctrl+p"),
            ("escape", "K"),
            ("escape", "q"),
        ):
            await it.press(*keys, seconds=1)
            assert it.screen.isascii()
        assert "Borse ????" in it.screen


async def test_keys_have_their_names_where_their_signs_cannot_be_shown() -> None:
    async with desk(scripted.paper()) as it:
        it.app.ascii = True
        await it.press("tab", "question_mark", seconds=1)
        assert "enter        Change the selected limit" in it.screen


async def test_live_and_what_is_old_have_frames_of_their_own() -> None:
    async with desk(scripted.paper()) as it:
        it.app.ascii = True
        assert "+- orders ---" in await it.draw()
        old = await it.draw(3)
        assert "+. orders ..." in old
    async with desk(scripted.live()) as it:
        it.app.ascii = True
        assert "#= orders ===" in await it.draw()


@pytest.mark.parametrize("told", [{"TERM": "linux"}, {"LC_ALL": "C"}], ids=["linux", "LC_ALL"])
def test_no_other_byte_reaches_such_a_terminal(told: dict[str, str], tmp_path: Path) -> None:
    """From the first frame over dialogs and the palette to what is said after the end."""
    with Terminal(COMMAND, environment(**told), folder=tmp_path) as terminal:
        terminal.wait_for("kill ready")
        dialogs = (
            ("?", "Kill with a choice"),
            ("K", "what is to happen"),
            ("\x10", "Search for commands"),
        )
        for key, seen in dialogs:
            terminal.press(key)
            terminal.wait_for(seen)
            terminal.press("\x1b")
            terminal.wait_for(lambda screen, seen=seen: seen not in screen)
        terminal.press("q")
        terminal.wait_for("The engine stops with this console")
        outlast(terminal, GRACE)
        terminal.press("y")
        assert terminal.wait() == 0
        assert LEFT in terminal.received
        assert max(terminal.received) < 128


def test_a_setting_says_it_too(tmp_path: Path) -> None:
    with Terminal(COMMAND, environment(SIGNS="ascii"), folder=tmp_path) as terminal:
        terminal.wait_for("kill ready")
        assert terminal.wait_for(lambda screen: screen.isascii() and "+- quotes -" in screen)
