"""The keys of where one is, then all keys, and what the signs mean."""

from collections.abc import Callable
from itertools import groupby

from tui import commands
from tui.frame import Frame
from tui.screens.dialog import BLANK, Dialog, Send
from tui.widgets.lines import Line

_KEY_WIDTH = 13
_ROWS: Line = (("up down pgup pgdn home end", "key"), ("  move in the panel", "text"))
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
)


class HelpDialog(Dialog):
    TITLE = "Help"
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
            ((f"In the {self._panel or 'desk'} panel", "head"),),
            *(self._key(action) for action in here),
            _ROWS,
        ]
        everywhere = [a for a in commands.ACTIONS if a.scope not in commands.PANELS]
        for group, actions in groupby(everywhere, key=lambda action: action.group):
            text += [BLANK, ((group, "head"),)]
            if group == "Panels":
                text.append(self._digits())
            text += [
                self._key(action)
                for action in actions
                if action.id in self._keys and not _is_digit(action)
            ]
        return [*text, BLANK, (("Signs", "head"),), *_SIGNS]

    def _key(self, action: commands.Action) -> Line:
        return (self._written(action).ljust(_KEY_WIDTH), "key"), (action.title, "text")

    def _written(self, action: commands.Action) -> str:
        return " ".join(self._keys.get(action.id, ()))

    def _digits(self) -> Line:
        """The keys of the panels in one line."""
        digits = zip(commands.PANELS, filter(_is_digit, commands.ACTIONS), strict=True)
        return tuple(
            cell
            for name, action in digits
            for cell in ((self._written(action), "key"), (f" {name} ", "text"))
        )


def _is_digit(action: commands.Action) -> bool:
    return action.id.startswith("panel-")
