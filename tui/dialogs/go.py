"""Where to go in a session of the past."""

from collections.abc import Callable

from tui.dialogs.dialog import BLANK, Dialog, Send, paragraph
from tui.frame import Frame
from tui.journey import Destination, destination
from tui.widgets.lines import Line


class GoDialog(Dialog):
    """Takes an event's number or a time. It sends nothing, so it may be typed as fast as one
    likes."""

    TITLE = "Go to"
    asks = True
    letter_time = 0.0

    def __init__(
        self,
        go: Callable[[Destination], None],
        frame: Frame,
        clock: Callable[[], float],
        send: Send,
    ) -> None:
        super().__init__(frame, clock, send)
        self._go = go

    def takes_answer(self) -> bool:
        return True

    def lines(self, frame: Frame) -> list[Line]:
        past = frame.past
        here = f"event {past.number:,} of {past.total:,}" if past else ""
        return [
            *paragraph("An event or a time, UTC; a time without a day is of the day shown:"),
            *paragraph("1234   14:30   14:30:05   2024-03-04   2024-03-04 14:30   start   end"),
            BLANK,
            ((f"now at {here}", "dim"),),
        ]

    def refusal(self, typed: str) -> str:
        try:
            self._destination(typed)
        except ValueError as error:
            return str(error)
        return ""

    def typed(self, typed: str) -> None:
        self._go(self._destination(typed))
        self.dismiss()

    def _destination(self, typed: str) -> Destination:
        past, snapshot = self.frame.past, self.frame.snapshot
        if past is None or snapshot is None:
            raise ValueError("the past is not shown any more")
        return destination(typed, past.total, snapshot.ts)
