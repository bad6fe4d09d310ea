"""All fields of one row."""

import textwrap
from collections.abc import Callable
from typing import ClassVar

from msgspec import Struct
from textual.binding import Binding

from engine.core.text import clean
from tui import details, format
from tui.dialogs.dialog import BLANK, TEXT_WIDTH, Dialog, Send
from tui.frame import Frame
from tui.widgets.lines import Line

_NAME_WIDTH = 28
_KEYS: Line = (("y", "key"), (" copies all fields, ", "text"), ("esc", "key"), (" closes", "text"))


class DetailDialog(Dialog):
    """The row as it is now; once it is gone, as it was last seen, and it says so."""

    expires = False
    BINDINGS: ClassVar = [Binding("y", "copy", "Copy all fields", id="copy-details")]

    def __init__(
        self,
        title: str,
        row: Struct,
        find: Callable[[], Struct | None],
        frame: Frame,
        clock: Callable[[], float],
        send: Send,
    ) -> None:
        super().__init__(frame, clock, send)
        self.title = f"{title}: all fields"
        self._row = row
        self._find = find

    def lines(self, frame: Frame) -> list[Line]:
        found = self._find()
        self._row = found or self._row
        text: list[Line] = []
        if found is None:
            text += [(("It is no longer in the table: this is how it was.", "warn"),), BLANK]
        for name, value in self._fields():
            text += _field(name, value)
        return [*text, BLANK, _KEYS]

    def action_copy(self) -> None:
        self.app.copy_to_clipboard("\n".join(f"{name}\t{value}" for name, value in self._fields()))
        self.say("copied all fields", "info")

    def _fields(self) -> list[tuple[str, str]]:
        zones = self.frame.zones(details.symbol_of(self._row))
        return [
            (_words(name), clean(details.told(name, value, zones)))
            for name, value in details.all_fields(self._row, self.frame.instruments)
        ]


def _words(name: str) -> str:
    """The name of a field: a time is told as what happened then."""
    return format.words(name.replace(".", " ").removesuffix("_ts"))


def _field(name: str, value: str) -> list[Line]:
    """The name on the left, the value beside it in as many lines as it needs."""
    first, *rest = textwrap.wrap(value, TEXT_WIDTH - _NAME_WIDTH) or [format.DASH]
    head = format.cut(name, _NAME_WIDTH - 1).ljust(_NAME_WIDTH)
    indent = " " * _NAME_WIDTH
    return [((head, "dim"), (first, "text")), *(((f"{indent}{line}", "text"),) for line in rest)]
