"""What is typed arrives in the order in which it was typed, however fast it comes."""

from textual.events import Key
from textual.widgets import Input

from tests.tui import scripted
from tests.tui.scripted import Desk, desk
from tui.dialogs.research import ResearchDialog


async def in_one_piece(it: Desk, *keys: str) -> None:
    """As a line that is slow hands them on."""
    for key in keys:
        it.app.post_message(Key(key, key if len(key) == 1 else None))
    await it.draw()


def typed(it: Desk) -> list[str]:
    return [field.value for field in it.app.screen.query(Input)]


async def test_keys_in_one_piece_change_what_was_typed_before_them_alone() -> None:
    async with desk(scripted.paper(), size=(120, 40)) as it:
        await it.press("7", "n")
        dialog = it.app.screen
        assert isinstance(dialog, ResearchDialog)
        await in_one_piece(it, *"vwop", "backspace", "backspace", *"ap", "tab", *"ETH", "ctrl+u")
        await in_one_piece(it, *"BTC", "tab", "tab", *"2", "shift+tab", *"1", "home", *"0")
        assert typed(it)[:4] == ["vwap", "BTC", "01", "2"]
