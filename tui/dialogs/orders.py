"""The dialogs about one order: to cancel it, to ask after it, to say how it ended."""

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding

from engine.core.events import AskOrder, MarkOrder, RequestCancel
from engine.core.model import Order, OrderPurpose, OrderState
from tui import format
from tui.commands import AUTHOR
from tui.dialogs.dialog import BLANK, Dialog, Send, paragraph
from tui.dialogs.safety import CONFIRM, LEAVE, account, named, question, typed_word
from tui.frame import Frame
from tui.widgets.lines import Line

_MARKS = (
    ("c", OrderState.CANCELED, "it was cancelled, what it filled is known"),
    ("r", OrderState.REJECTED, "the venue refused it"),
    ("e", OrderState.EXPIRED, "its time ran out"),
    ("b", OrderState.ABANDONED, "the venue never had it"),
)


class OrderDialog(Dialog):
    """A dialog about an order that is open."""

    def __init__(self, order: Order, frame: Frame, clock: Callable[[], float], send: Send) -> None:
        super().__init__(frame, clock, send)
        self.order_id = order.client_order_id

    def order(self, frame: Frame) -> Order | None:
        """The order as it is now, None once it is gone or final."""
        orders = frame.snapshot.orders if frame.snapshot else ()
        return next((o for o in orders if o.client_order_id == self.order_id and o.is_open), None)

    def doubtful(self, frame: Frame) -> Order | None:
        """The order as it is now, None where it is in doubt no more."""
        order = self.order(frame)
        return order if order is not None and order.state is OrderState.IN_DOUBT else None


class CancelDialog(OrderDialog):
    """A letter cancels; to take a stop away where real money is held asks for a word."""

    TITLE = "Cancel an order"
    BINDINGS: ClassVar = [CONFIRM]

    def __init__(self, order: Order, frame: Frame, clock: Callable[[], float], send: Send) -> None:
        super().__init__(order, frame, clock, send)
        if frame.live and order.purpose is OrderPurpose.PROTECTIVE_STOP:
            self.word = "CANCEL"

    def lines(self, frame: Frame) -> list[Line]:
        order = self.order(frame)
        if order is None:
            return paragraph(f"Order {self.order_id} is no longer open.", "warn")
        text = [*account(frame), named(order, frame.snapshot), BLANK]
        if order.purpose is OrderPurpose.PROTECTIVE_STOP:
            text += paragraph(
                "This is a PROTECTIVE STOP: without it the position has no stop-loss.", "warn"
            )
            text.append(BLANK)
        return [*text, question(self.word, "cancels it")]

    def confirmed(self) -> None:
        order = self.order(self.frame)
        self.dismiss()
        if order is not None:
            command = RequestCancel(client_order_id=self.order_id, author=AUTHOR)
            self.send(command, f"cancel {self.order_id}: sent to the engine")


class DoubtDialog(OrderDialog):
    """Nobody knows whether the venue has the order: ask again, or say what its own page says."""

    TITLE = "An order in doubt"
    BINDINGS: ClassVar = [
        Binding("a", "confirm", "Ask the venue again", id="confirm"),
        *(
            Binding(key, f"mark('{state}')", str(state), id=f"mark-{state}")
            for key, state, _ in _MARKS
        ),
    ]

    def lines(self, frame: Frame) -> list[Line]:
        order = self.doubtful(frame)
        if order is None:
            return paragraph(f"Order {self.order_id} is no longer in doubt.", "warn")
        marks: list[Line] = [
            ((key, "key"), (f"  {format.words(state):<10}", "strong"), (meaning, "text"))
            for key, state, meaning in _MARKS
        ]
        return [
            *account(frame),
            named(order, frame.snapshot),
            *paragraph(f"In doubt since {format.date_and_clock(order.updated_ts)}: {order.reason}"),
            BLANK,
            *paragraph(
                "It counts against the limits until it is known. The engine asks by itself."
            ),
            BLANK,
            (("a", "key"), ("  ask the venue again now", "strong")),
            BLANK,
            *paragraph("Or look at the venue's own page, and mark how it ended:"),
            *marks,
            BLANK,
            LEAVE,
        ]

    def confirmed(self) -> None:
        order = self.doubtful(self.frame)
        self.dismiss()
        if order is not None:
            command = AskOrder(client_order_id=self.order_id, author=AUTHOR)
            self.send(command, f"ask after {self.order_id}: sent to the engine")

    def action_mark(self, state: str) -> None:
        order = self.doubtful(self.frame)
        if order is not None and self.takes_answer():
            self.go_on(MarkDialog(order, OrderState(state), self.frame, self.clock, self.send))


class MarkDialog(OrderDialog):
    TITLE = "Mark an order by hand"
    word = "MARK"

    def __init__(
        self,
        order: Order,
        state: OrderState,
        frame: Frame,
        clock: Callable[[], float],
        send: Send,
    ) -> None:
        super().__init__(order, frame, clock, send)
        self._state = state

    def lines(self, frame: Frame) -> list[Line]:
        order = self.doubtful(frame)
        if order is None:
            return paragraph(f"Order {self.order_id} is no longer in doubt.", "warn")
        return [
            *account(frame),
            named(order, frame.snapshot),
            BLANK,
            *paragraph(f"It is marked as {format.words(self._state)}, on your word.", "strong"),
            *paragraph(
                "If the venue has it all the same, it may fill while no limit counts it.", "warn"
            ),
            BLANK,
            typed_word(self.word),
        ]

    def confirmed(self) -> None:
        if self.doubtful(self.frame) is None:
            self.say("it is no longer in doubt: nothing was done")
            return
        self.dismiss()
        command = MarkOrder(
            client_order_id=self.order_id, state=self._state, word=self.word, author=AUTHOR
        )
        self.send(command, f"{self.order_id} {format.words(self._state)}: sent to the engine")
