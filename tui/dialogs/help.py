"""The keys of where one is, then all keys, and what the signs mean."""

import textwrap
from collections.abc import Callable, Iterator
from itertools import chain
from typing import ClassVar

from textual.binding import Binding

from tui import commands
from tui.dialogs.dialog import BLANK, TEXT_WIDTH, Dialog, Send
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
        scope = commands.KEYS_OF.get(self._panel, self._panel)
        here = [action for action in commands.ACTIONS if action.scope == scope]
        text: list[Line] = [
            ((f"In the {self._panel or 'first'} panel", "head"),),
            *chain.from_iterable(map(self._key, here)),
            _ROWS,
        ]
        text += [BLANK, (("Go to a screen", "head"),), *_screens(frame)]
        everywhere = [a for a in commands.ACTIONS if not commands.is_of_panel(a)]
        for group in dict.fromkeys(action.group for action in everywhere):
            actions = [a for a in everywhere if a.group == group and a.id in self._keys]
            if actions:
                text += [BLANK, ((group, "head"),), *chain.from_iterable(map(self._key, actions))]
        return [*text, BLANK, _GUIDE, BLANK, (("Signs", "head"),), *_SIGNS]

    def action_guide(self) -> None:
        self.go_on(GuideDialog(self.frame, self.clock, self.send))

    def _key(self, action: commands.Action) -> list[Line]:
        """The keys of the action on the left, what it does beside them."""
        first, *rest = textwrap.wrap(action.title, TEXT_WIDTH - _KEY_WIDTH)
        keys = " ".join(self._keys.get(action.id, ()))
        indent = " " * _KEY_WIDTH
        return [
            ((keys.ljust(_KEY_WIDTH), "key"), (first, "text")),
            *(((f"{indent}{line}", "text"),) for line in rest),
        ]


def _screens(frame: Frame) -> Iterator[Line]:
    """The keys of the screens, in two lines: they are looked for most."""
    names = list(commands.SCREENS)
    half = len(names) // 2
    for row in (names[:half], names[half:]):
        keys = [(frame.keys[f"screen-{name}"], name) for name in row]
        yield tuple(
            cell
            for key, name in keys
            for cell in ((key, "key"), (f" {name}".ljust(_KEY_WIDTH - len(key)), "text"))
        )
