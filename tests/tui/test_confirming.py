"""No dialog is confirmed by a held key, a paste, enter or space: every one of them."""

from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace
from textual import events
from textual.binding import Binding
from textual.widgets import Input

from tests.tui import scripted
from tests.tui.scripted import Desk, desk, to
from tests.tui.test_snapshots import SUBJECTS, Subject
from tui.dialogs.alerts import AlertsDialog
from tui.dialogs.columns import ColumnsDialog
from tui.dialogs.detail import DetailDialog
from tui.dialogs.dialog import Dialog
from tui.dialogs.go import GoDialog
from tui.dialogs.guide import GuideDialog
from tui.dialogs.help import HelpDialog
from tui.dialogs.orders import CancelDialog
from tui.dialogs.research import ResearchDialog
from tui.dialogs.resume import ResumeDialog
from tui.dialogs.why import WhyDialog

NOTHING_SENT = (
    ColumnsDialog,
    DetailDialog,
    GoDialog,
    GuideDialog,
    HelpDialog,
    ResearchDialog,
    WhyDialog,
)
"""What they show or start is beside the engine."""

LIVE = replace(scripted.live(), paused=scripted.held_back().paused)
CONFIRMING: dict[str, Subject] = {
    **{
        name: subject
        for name, subject in SUBJECTS.items()
        if issubclass(subject.kind, Dialog) and not issubclass(subject.kind, NOTHING_SENT)
    },
    "alerts": Subject(AlertsDialog, scripted.alerting, ("a",)),
    "unconfirmed": Subject(SUBJECTS["mode"].kind, scripted.unconfirmed, ("m",)),
    "cancel-live": Subject(
        CancelDialog, lambda: LIVE, (*to("orders"), "home", *["down"] * 3, "x"), 0.1
    ),
    "resume-live": Subject(ResumeDialog, lambda: LIVE, (*to("quotes"), "home", "down", "enter")),
}
REPEATS = 0.1
"""Seconds between two keys where one is held."""
HELD = 7
"""How often it comes: for longer than the grace."""

Attack = Callable[[Desk], Awaitable[None]]


async def enter_and_space(it: Desk) -> None:
    """Held, and once there was time to read."""
    await it.press(*["enter"] * HELD, *["space"] * HELD, seconds=REPEATS)
    await it.press("enter", "space", "enter", seconds=1.0)


async def pasted(it: Desk) -> None:
    """The word and a new line, as a terminal tells it, and as one does that has no paste; and the
    word alone, after which a hand presses enter."""
    dialog = it.app.screen
    assert isinstance(dialog, Dialog)
    text = dialog.word or "y"
    await it.draw(1.0)
    it.app.post_message(events.Paste(f"{text}\n"))
    await it.draw()
    if dialog.word:
        await it.press(*text, "enter", seconds=0.001)
        await it.press(*text, seconds=0.001)
        await it.press("enter", seconds=2.0)


def letters(dialog: Dialog) -> list[str]:
    """The keys of a dialog's own."""
    return [
        key
        for kind in type(dialog).__mro__
        for binding in vars(kind).get("BINDINGS", ())
        if issubclass(kind, Dialog) and isinstance(binding, Binding) and binding.id != "close"
        for key in binding.key.split(",")
    ]


@pytest.mark.parametrize("name", CONFIRMING)
async def test_neither_a_held_key_nor_a_paste_nor_enter_confirms(name: str) -> None:
    subject = CONFIRMING[name]
    async with desk(subject.snapshot(), size=(80, 24)) as it:

        async def opened() -> Dialog:
            """The dialog, just now."""
            while isinstance(it.app.screen, Dialog):
                await it.press("escape")
            if subject.opens is not None:
                subject.opens(it.app)
            await it.press(*subject.keys, seconds=max(subject.seconds, 0.6))
            dialog = it.app.screen
            assert isinstance(dialog, subject.kind)
            assert isinstance(dialog, Dialog)
            return dialog

        for key in dict.fromkeys((*subject.keys[-1:], *letters(await opened()))):
            await opened()
            await it.press(*[key] * HELD, seconds=REPEATS)
            assert it.sent_but_life == [], key
            assert it.app.is_running, key
        for attack in (enter_and_space, pasted):
            await opened()
            await attack(it)
            assert it.sent_but_life == [], attack
            assert it.app.is_running, attack
        for field in it.app.screen.query(Input):
            assert field.value == ""
