"""The dialogs that change a risk limit while the engine runs."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from engine.core.events import ChangeLimit
from engine.view.snapshot import LimitRow
from tui import format
from tui.commands import AUTHOR
from tui.dialogs.dialog import BLANK, Dialog, Send, paragraph
from tui.dialogs.safety import LEAVE, account, stake, typed_word
from tui.frame import Frame, read_only_words
from tui.widgets.lines import Line


def _now(row: LimitRow, frame: Frame) -> LimitRow:
    """`row` as it is in `frame`; as it was last where it is not there any more."""
    rows = frame.snapshot.limits if frame.snapshot else ()
    names = (row.tier, row.name, row.scope)
    return next((each for each in rows if (each.tier, each.name, each.scope) == names), row)


class LimitDialog(Dialog):
    """A tighter value is taken at once; a looser one asks for a word."""

    TITLE = "Change a limit"
    asks = True

    def __init__(self, row: LimitRow, frame: Frame, clock: Callable[[], float], send: Send) -> None:
        super().__init__(frame, clock, send)
        self._row = row

    def lines(self, frame: Frame) -> list[Line]:
        self._row = row = _now(self._row, frame)
        used = format.used_of(row.used, row.limit, row.unit)
        tighter = "higher" if row.least else "lower"
        return [
            *account(frame),
            ((row.setting.upper(), "strong"), (f"  used/limit {used}", "text")),
            BLANK,
            *paragraph(f"A {tighter} value is tighter and takes effect at once; any other asks."),
            *paragraph("It holds until it is changed again: the settings stay as they are."),
            BLANK,
            (("Type the new value and press enter; ", "text"), *LEAVE),
        ]

    def refusal(self, typed: str) -> str:
        try:
            value = Decimal(typed)
        except InvalidOperation:
            value = Decimal("NaN")
        if not (value.is_finite() and value >= 0):
            return "that is no number: nothing was done"
        if self.frame.read_only and self._loosens(value):
            return f"only a tighter value is taken here. {read_only_words(self.frame)}"
        return ""

    def typed(self, typed: str) -> None:
        if self._loosens(Decimal(typed)):
            self.go_on(LoosenDialog(self._row, typed, self.frame, self.clock, self.send))
            return
        self.dismiss()
        command = ChangeLimit(name=self._row.setting, value=typed, author=AUTHOR)
        self.send(command, f"{self._row.setting} {typed}: sent to the engine")

    def _loosens(self, value: Decimal) -> bool:
        """The engine judges it as well. For some limits 0 is none."""
        limit = Decimal(str(self._row.limit))
        return not value or (value < limit if self._row.least else value > limit)


class LoosenDialog(Dialog):
    TITLE = "Loosen a limit"
    word = "LOOSEN"

    def __init__(
        self,
        row: LimitRow,
        value: str,
        frame: Frame,
        clock: Callable[[], float],
        send: Send,
    ) -> None:
        super().__init__(frame, clock, send)
        self._row = row
        self._value = value

    def lines(self, frame: Frame) -> list[Line]:
        if frame.snapshot is None:
            return []
        self._row = row = _now(self._row, frame)
        old, new = format.number(row.limit, 2), f"{Decimal(self._value):,f}"
        change = f"{row.setting.upper()} from {old} to {new}"
        return [
            *stake(frame.snapshot),
            BLANK,
            *paragraph(f"{change}: more may be lost.", "warn"),
            BLANK,
            typed_word(self.word),
        ]

    def confirmed(self) -> None:
        self.dismiss()
        command = ChangeLimit(
            name=self._row.setting, value=self._value, word=self.word, author=AUTHOR
        )
        self.send(command, f"{self._row.setting} {self._value}: sent to the engine")
