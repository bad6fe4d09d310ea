"""The dialog that makes a strategy anew."""

from collections.abc import Callable
from typing import ClassVar

from engine.core.events import ReloadStrategy
from engine.view.snapshot import StrategyRow
from tui import format
from tui.commands import AUTHOR
from tui.dialogs.dialog import BLANK, Dialog, Send, paragraph
from tui.dialogs.safety import CONFIRM, account, letter
from tui.frame import Frame
from tui.widgets.lines import Line


class ReloadDialog(Dialog):
    """Says what a strategy loses by it, and what stays."""

    TITLE = "Load a strategy anew"
    BINDINGS: ClassVar = [CONFIRM]

    def __init__(self, strategy: str, frame: Frame, clock: Callable[[], float], send: Send) -> None:
        super().__init__(frame, clock, send)
        self._strategy = strategy

    def _row(self, frame: Frame) -> StrategyRow | None:
        rows = frame.snapshot.strategies if frame.snapshot else ()
        return next((row for row in rows if row.name == self._strategy), None)

    def lines(self, frame: Frame) -> list[Line]:
        row = self._row(frame)
        if row is None or frame.snapshot is None:
            return paragraph(f"There is no strategy {self._strategy} any more.", "warn")
        held = sum(p.position.strategy == row.name for p in frame.snapshot.positions)
        entries = sum(o.is_open and o.strategy == row.name for o in frame.snapshot.orders)
        text = [
            *account(frame),
            *paragraph(
                f"{row.name} is made anew from its file as it is now. What it kept in memory is "
                f"lost: it sees the bars that are kept and needs {row.required:,} of them."
            ),
            BLANK,
            *paragraph(f"parameters  {row.parameters or 'none'}: kept where the file has them"),
            *paragraph(
                f"positions   {format.plural(held, 'position')}, kept with their stops; "
                f"{format.plural(entries, 'open order')}"
            ),
            BLANK,
            *paragraph(
                f"It is switched OFF until you switch it on with {frame.keys['toggle']}. What "
                "becomes of its open orders then is set by ON_STRATEGY_OFF.",
                "warn",
            ),
        ]
        for other in frame.snapshot.strategies:
            if other.state == "broken" and other.name == f"{row.name}.py":
                text += paragraph(
                    f"{other.name} does not load now ({other.note}): it is made from what was read "
                    "before. Mend the file first.",
                    "alarm",
                )
        return [*text, BLANK, letter("y", "loads it anew")]

    def confirmed(self) -> None:
        row = self._row(self.frame)
        self.dismiss()
        if row is not None:
            command = ReloadStrategy(strategy=row.name, author=AUTHOR)
            self.send(command, f"load {row.name} anew: sent to the engine")
