"""The dialog that takes over the cash that a broker tells."""

from collections.abc import Callable

from engine.core.events import AdjustCash
from engine.view.snapshot import BrokerStatus
from tui import format
from tui.commands import AUTHOR
from tui.dialogs.dialog import BLANK, Dialog, Send, paragraph
from tui.dialogs.safety import stake, typed_word
from tui.frame import Frame
from tui.widgets.lines import Line


class CashDialog(Dialog):
    """Of the difference that it was opened with: of another one it says so, and does nothing."""

    TITLE = "Take over the broker's cash"
    word = "ADJUST"

    def __init__(self, broker: str, frame: Frame, clock: Callable[[], float], send: Send) -> None:
        super().__init__(frame, clock, send)
        self._broker = broker
        row = self._row(frame)
        self._amount = row.cash_difference if row else None

    def _row(self, frame: Frame) -> BrokerStatus | None:
        """The broker, while the difference is still the one that was asked about."""
        brokers = frame.snapshot.brokers if frame.snapshot else ()
        return next((b for b in brokers if b.name == self._broker), None)

    def _is_same(self, frame: Frame) -> bool:
        row = self._row(frame)
        return row is not None and row.cash_difference == self._amount is not None

    def lines(self, frame: Frame) -> list[Line]:
        row, amount = self._row(frame), self._amount
        if frame.snapshot is None or row is None or row.cash is None or amount is None:
            return []
        if not self._is_same(frame):
            return paragraph(
                f"The difference in cash at {self._broker} is another one now.", "warn"
            )
        unit = row.currency
        more = "more" if amount > 0 else "less"
        return [
            *stake(frame.snapshot),
            BLANK,
            (("here       ", "dim"), (f"{format.money(row.cash)} {unit}", "strong")),
            (
                (f"{self._broker:<10} ", "dim"),
                (f"{format.money(row.cash + amount)} {unit}", "strong"),
                (f"   {format.money(abs(amount))} {unit} {more}", "warn"),
            ),
            BLANK,
            *paragraph(
                "The books take over the broker's cash, as an entry of its own: a deposit, a "
                "withdrawal, a dividend, interest or a fee. It is neither gain nor loss: the day's "
                "loss and the drawdown are measured as before, and all limits in percent count "
                "from the new equity."
            ),
            *paragraph("First look at the broker's own page: it must say what this is.", "warn"),
            BLANK,
            typed_word(self.word),
        ]

    def confirmed(self) -> None:
        if not self._is_same(self.frame) or self._amount is None:
            self.say("the difference is another one now: nothing was done")
            return
        self.dismiss()
        command = AdjustCash(
            broker=self._broker, amount=self._amount, word=self.word, author=AUTHOR
        )
        self.send(command, f"adjust cash at {self._broker}: sent to the engine")
