"""The keys of where one is, then all keys, and what the signs mean."""

from collections.abc import Callable
from itertools import groupby
from typing import ClassVar

from textual.binding import Binding

from tui import commands
from tui.dialogs.dialog import BLANK, Dialog, Send
from tui.dialogs.guide import GuideDialog
from tui.frame import Frame
from tui.widgets.lines import Line

_KEY_WIDTH = 13
_ROWS: Line = (("up down pgup pgdn home end", "key"), ("  move in the panel", "text"))
_GUIDE: Line = (("g".ljust(_KEY_WIDTH), "key"), ("The first steps, from here", "text"))
_SIGNS: tuple[Line, ...] = (
    (
        ("● ", "good"),
        ("on, up   ", "text"),
        ("○ ", "dim"),
        ("off   ", "text"),
        ("‖ ", "warn"),
        ("paused   ", "text"),
        ("✗ ", "down"),
        ("down, failed   ", "text"),
        ("■ ", "warn"),
        ("ended", "text"),
    ),
    (
        ("▲+ ", "up"),
        ("gain   ", "text"),
        ("▼- ", "down"),
        ("loss   ", "text"),
        ("— ", "dim"),
        ("not known   ", "text"),
        ("STALE ", "warn"),
        ("too old to decide on", "text"),
    ),
    (
        ("━━━", "up"),
        ("─── used and free of a limit   ", "text"),
        ("q ", "dim"),
        ("events waiting   ", "text"),
        ("drop ", "dim"),
        ("frames", "text"),
    ),
    (
        ("▌ ", "up"),
        ("rising candle   ", "text"),
        ("█ ", "down"),
        ("falling candle   ", "text"),
        ("┊ ", "dim"),
        ("bars are missing", "text"),
    ),
)


class HelpDialog(Dialog):
    TITLE = "Help"
    BINDINGS: ClassVar = [Binding("g", "guide", "The first steps", id="guide")]
    expires = False

    def __init__(
        self,
        panel: str,
        keys: dict[str, list[str]],
        frame: Frame,
        clock: Callable[[], float],
        send: Send,
    ) -> None:
        super().__init__(frame, clock, send)
        self._panel = panel
        self._keys = keys

    def lines(self, frame: Frame) -> list[Line]:
        here = [action for action in commands.ACTIONS if action.scope == self._panel]
        text: list[Line] = [
            ((f"In the {self._panel or 'first'} panel", "head"),),
            *(self._key(action) for action in here),
            _ROWS,
        ]
        everywhere = [a for a in commands.ACTIONS if not commands.is_of_panel(a)]
        for group, actions in groupby(everywhere, key=lambda action: action.group):
            text += [BLANK, ((group, "head"),)]
            text += [self._key(action) for action in actions if action.id in self._keys]
        return [*text, _GUIDE, BLANK, (("Signs", "head"),), *_SIGNS]

    def action_guide(self) -> None:
        self.go_on(GuideDialog(self.frame, self.clock, self.send))

    def _key(self, action: commands.Action) -> Line:
        return (self._written(action).ljust(_KEY_WIDTH), "key"), (action.title, "text")

    def _written(self, action: commands.Action) -> str:
        return " ".join(self._keys.get(action.id, ()))
