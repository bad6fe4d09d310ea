"""The bottom line: the keys that work now, or for a moment what was just done or refused. Those of
the screens are one part, from the first to the last."""

from typing import Any

from textual.screen import Screen

from tui import commands
from tui.frame import Frame
from tui.widgets.lines import Line, Lines, fit

SHOWN_FOR = 6.0
"""Seconds that a message stays."""


def key_names(screen: Screen[Any]) -> dict[str, list[str]]:
    """How the keys of `screen` that work now are written, by the id of their action."""
    names: dict[str, list[str]] = {}
    for active in screen.active_bindings.values():
        if active.binding.id is not None:
            name = screen.app.get_key_display(active.binding)
            names.setdefault(active.binding.id, []).append(name)
    return names


class Footer(Lines):
    def __init__(self) -> None:
        super().__init__()
        self._message: Line = ()
        self._until: float | None = None

    def say(self, text: str, style: str) -> None:
        """Show `text` in place of the keys for some seconds."""
        self._message = ((f" {text} ", style),)
        self._until = None
        self.update([self._message])

    def show(self, frame: Frame, panel: str) -> None:
        if self._message and self._until is None:
            self._until = frame.now + SHOWN_FOR
        if self._until is not None and frame.now >= self._until:
            self._message, self._until = (), None
        if self._message:
            self.update([self._message])
            return
        parts = [
            (action.rank, self._part(frame, action, key))
            for action, key in self._valid(frame, panel)
        ]
        self.update([((" ", "text"), *fit(parts, (self.size or self.app.size).width - 2))])

    def _part(self, frame: Frame, action: commands.Action, key: str) -> Line:
        """The key and what it does; greyed where this console may not, which the key says too."""
        label = f" {commands.label(action, frame.snapshot)}"
        if frame.read_only and action.id in commands.NEED_COMMAND:
            return ((key, "dim"), (label, "dim"))
        return ((key, "key"), (label, "text"))

    def _valid(self, frame: Frame, panel: str) -> list[tuple[commands.Action, str]]:
        """The actions of the footer that can be done now, each with its key."""
        keys = key_names(self.screen)
        if not (frame.read_only or frame.standing.asks):
            keys.pop("command", None)
        first, *_, last = (frame.keys[f"screen-{name}"] for name in commands.SCREENS)
        keys[f"screen-{commands.FIRST_SCREEN}"] = [f"{first}-{last}"]
        return [
            (action, keys[action.id][0])
            for action in commands.ACTIONS
            if action.label
            and action.id in keys
            and not commands.refusal(action, frame.snapshot, panel, frame.keys)
        ]
