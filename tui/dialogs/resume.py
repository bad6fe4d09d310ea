"""The dialog that has a paused symbol traded again."""

from collections.abc import Callable
from typing import ClassVar

from engine.core.events import ResumeSymbol
from engine.view.snapshot import PausedRow
from tui import format
from tui.commands import AUTHOR
from tui.dialogs.dialog import BLANK, Dialog, Send, paragraph
from tui.dialogs.safety import CONFIRM, account, question
from tui.frame import Frame
from tui.widgets.lines import Line


class ResumeDialog(Dialog):
    """A letter ends the pause; in a live account a word does."""

    TITLE = "Trade a symbol again"
    BINDINGS: ClassVar = [CONFIRM]

    def __init__(
        self, row: PausedRow, frame: Frame, clock: Callable[[], float], send: Send
    ) -> None:
        super().__init__(frame, clock, send)
        self._row = row
        self.word = "RESUME" if frame.live else ""

    def lines(self, frame: Frame) -> list[Line]:
        row = self._row
        at = format.date_and_clock(row.until)
        ends = f"By itself at {at}." if row.until else "By hand only."
        return [
            *account(frame),
            ((row.symbol, "strong"), (" is paused: no entry is made.", "text")),
            *paragraph(row.reason),
            *paragraph(f"It ends: {ends}"),
            BLANK,
            question(self.word, "ends it now"),
        ]

    def confirmed(self) -> None:
        self.dismiss()
        command = ResumeSymbol(symbol=self._row.symbol, author=AUTHOR)
        self.send(command, f"{self._row.symbol}: resume sent to the engine")
