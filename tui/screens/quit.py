"""The dialog before the console ends, and the engine with it."""

from typing import ClassVar

from tui.frame import Frame
from tui.screens.dialog import BLANK, Dialog, paragraph
from tui.screens.safety import CONFIRM, letter, stake
from tui.widgets.lines import Line

_PAPER = (
    "Open orders stay in the database and go on at the next start; until then they cannot fill.",
    "Positions stay as they are; while nothing runs, no stop-loss watches them.",
)
_LIVE = (
    "Open orders STAY ALIVE at the broker and can fill while nothing watches them.",
    "Positions stay; only stops that rest at the broker protect them.",
)


class QuitDialog(Dialog):
    TITLE = "Quit"
    BINDINGS: ClassVar = [CONFIRM]

    def lines(self, frame: Frame) -> list[Line]:
        snapshot = frame.snapshot
        if snapshot is None:
            return [
                *paragraph("The engine is still starting; it stops with the console."),
                BLANK,
                letter("y", "quits"),
            ]
        on = [row.name for row in snapshot.strategies if row.state == "on"]
        orders, positions = _LIVE if frame.live else _PAPER
        style = "warn" if frame.live else "text"
        return [
            *stake(snapshot),
            BLANK,
            *paragraph("The engine stops with this console."),
            *paragraph(f"At the next start these strategies are on: {', '.join(on) or 'none'}."),
            *paragraph(orders, style),
            *paragraph(positions, style),
            BLANK,
            (("ctrl+k", "key"), (" first, to cancel every order before leaving", "text")),
            letter("y", "quits"),
        ]

    def confirmed(self) -> None:
        self.app.exit()
