"""The bottom line: the keys that work now, and for a moment what was just done or refused, beside
those for which there is room then. The keys of the screens are one part, from the first to the
last."""

from typing import TYPE_CHECKING, Any, cast

from textual.containers import VerticalScroll
from textual.screen import Screen

from tui import commands, format
from tui.frame import Frame
from tui.widgets.lines import Line, Lines, fit, length

if TYPE_CHECKING:
    from tui.app import Console
    from tui.screens.panels import PanelScreen

Parts = list[tuple[int, Line]]
"""Each with its rank: of a high one it is left out first where there is no room."""

SHOWN_FOR = 6.0
"""Seconds that a message stays."""

CLOSE: Line = (("esc", "key"), (" close", "text"))
SCROLL: Line = (("pgup pgdn", "key"), (" scroll", "text"))
"""What works over the screen everywhere: what else does, the dialog says."""

TYPING: Line = (
    ("enter", "key"), (" keeps the filter  ", "text"), ("esc", "key"), (" shows all rows", "text")
)  # fmt: skip
"""While letters are a filter."""

ALWAYS = "kill"
"""The action that is there whatever is said, or open over the screen."""


def key_names(screen: Screen[Any]) -> dict[str, list[str]]:
    """How the keys of `screen` that work now are written, by the id of their action."""
    names: dict[str, list[str]] = {}
    for active in screen.active_bindings.values():
        if active.binding.id is not None:
            name = screen.app.get_key_display(active.binding)
            names.setdefault(active.binding.id, []).append(name)
    return names


class Footer(Lines):
    """Of a screen; or of a dialog, where it says what that of the screen does."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: Parts = []
        self._kill: Line = ()
        self._message: Line = ()
        self._until: float | None = None

    @property
    def message(self) -> Line:
        """What is said by the footer of the screen below all dialogs."""
        return cast("PanelScreen", self.app.screen_stack[0]).footer._message

    @property
    def warns(self) -> bool:
        """Whether what is said is wrong, or was refused."""
        return any(style != "info" for _, style in self._message)

    def say(self, text: str, style: str) -> None:
        """Show `text` for some seconds, in place of the keys that leave no room for it."""
        self._message = ((text, style),)
        self._until = None
        self._draw()

    def show(self, frame: Frame, panel: str = "", *, typing: bool = False) -> None:
        if self._message and self._until is None:
            self._until = frame.now + SHOWN_FOR
        if self._until is not None and frame.now >= self._until:
            self._message, self._until = (), None
        names = key_names(self.app.screen_stack[0])
        self._kill = ((names[ALWAYS][0], "key"), (f" {commands.BY_ID[ALWAYS].label}", "text"))
        if self.app.screen.is_modal:
            scrolls = any(box.max_scroll_y for box in self.screen.query(VerticalScroll))
            self._keys = [(1, CLOSE), (2, SCROLL if scrolls else ())]
        elif typing:
            self._keys = [(1, TYPING)]
        else:
            self._keys = [
                (action.rank, self._part(frame, action, key))
                for action, key in self._valid(frame, panel, names)
            ]
        self._draw()

    def _draw(self) -> None:
        """A message is cut where there is no room, the key that stops everything never."""
        width = (self.size or self.app.size).width - 2
        parts: Parts = [(-2, self._kill), *self._keys]
        for text, style in self.message:
            parts.append((-1, ((format.cut(text, width - length(self._kill) - 2), style),)))
        self.update([((" ", "text"), *fit(parts, width))])

    def _part(self, frame: Frame, action: commands.Action, key: str) -> Line:
        """The key and what it does; greyed where this console may not, which the key says too."""
        label = f" {commands.label(action, frame.snapshot)}"
        if frame.read_only and action.id in commands.NEED_COMMAND:
            return ((key, "dim"), (label, "dim"))
        return ((key, "key"), (label, "text"))

    def _valid(
        self, frame: Frame, panel: str, keys: dict[str, list[str]]
    ) -> list[tuple[commands.Action, str]]:
        """The actions of the footer that can be done now, each with its key of those that work."""
        if not frame.command_is_open:
            keys.pop("command", None)
        if not cast("Console", self.app).under_way:
            keys.pop("stop-run", None)
        first, *_, last = (frame.keys[f"screen-{name}"] for name in commands.SCREENS)
        keys[f"screen-{commands.FIRST_SCREEN}"] = [f"{first}-{last}"]
        return [
            (action, keys[action.id][0])
            for action in commands.ACTIONS
            if action.label
            and action.id in keys
            and action.id != ALWAYS
            and action.id != panel  # one is there
            and not commands.refusal(action, frame.snapshot, panel, frame.keys)
        ]
