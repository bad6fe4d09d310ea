"""The orders panel."""

from collections.abc import Hashable, Iterable, Sequence
from typing import ClassVar

from textual.message import Message

from engine.core.model import FINAL_STATES, Order, OrderState
from engine.view.questions import Chain, Question, WhyOrder
from tui import commands, format, oldness
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Line

STATE_STYLES = {
    OrderState.INTENDED: "info",
    OrderState.SUBMITTED: "info",
    OrderState.ACCEPTED: "info",
    OrderState.PARTIALLY_FILLED: "info",
    OrderState.PENDING_CANCEL: "warn",
    OrderState.IN_DOUBT: "caution",
    OrderState.FILLED: "good",
    OrderState.REJECTED: "down",
    OrderState.ABANDONED: "down",
}


PARTS: dict[str, tuple[OrderState, ...]] = {
    "": (),
    "open": tuple(state for state in OrderState if state not in FINAL_STATES),
    "in doubt": (OrderState.IN_DOUBT,),
    "filled": (OrderState.FILLED, OrderState.PARTIALLY_FILLED),
    "ended unfilled": tuple(FINAL_STATES - {OrderState.FILLED}),
}
"""The orders that can be shown alone, by their states."""


class Orders(LineTable[Order]):
    """Open orders first, each part newest first."""

    BINDINGS: ClassVar = commands.bindings("orders")
    columns = (
        Column("time", 8),
        Column("symbol", 7, stays=True),
        Column("side", 4, stays=True),
        Column("qty", 5, ".", stays=True),
        Column("type", 5, rank=2, most=10),
        Column("price", 8, "."),
        Column("filled", 6, ".", rank=1),
        Column("avg", 8, ".", rank=3),
        Column("state", 9, most=18, stays=True),
        Column("purpose", 7, rank=4, most=15),
        Column("strategy", 8, rank=6, most=16, cut=format.cut_middle),
        Column("id", 8, rank=7, most=18),
        Column("reason", 6, rank=5, grows=True),
    )
    parts = tuple(PARTS)
    empty = "no order yet"

    class CancelAsked(Message):
        """The operator wants the order cancelled."""

        def __init__(self, order: Order) -> None:
            super().__init__()
            self.order = order

    class DoubtAsked(Message):
        """The operator wants to ask after the order, or to say how it ended."""

        def __init__(self, order: Order) -> None:
            super().__init__()
            self.order = order

    def action_open(self) -> None:
        order = self.selected_row
        if self.acts and order is not None and order.state is OrderState.IN_DOUBT:
            self.post_message(self.DoubtAsked(order))
        else:
            super().action_open()

    def action_cancel(self) -> None:
        if self.selected_row is not None:
            self.post_message(self.CancelAsked(self.selected_row))

    def action_part(self) -> None:
        """Show the next part of the orders alone."""
        self.next_part()
        self.redraw()
        self.searched()

    def orders(self, frame: Frame) -> Iterable[Order]:
        """The orders of which those are shown that are of the chosen part."""
        return frame.snapshot.orders if frame.snapshot else ()

    def about(self) -> str:
        return self.selected_row.symbol if self.selected_row else ""

    def rows(self, frame: Frame) -> Sequence[Order]:
        self._instruments, self._names = frame.instruments, frame.names
        self._reach = oldness.out_of_reach(frame)
        states = PARTS[self.alone]
        chosen = [order for order in self.orders(frame) if not states or order.state in states]
        return sorted(chosen, key=lambda order: (order.is_final, -order.created_ts))

    def row_id(self, row: Order) -> Hashable:
        return row.client_order_id

    def question(self, row: Order) -> Question[Chain]:
        return WhyOrder(row.client_order_id)

    def aged(self, row: Order) -> str:
        return self._unreached(row)

    def _unreached(self, row: Order) -> str:
        """Why it is out of reach; empty where it is not."""
        return oldness.unreached(row, self._instruments.get(row.symbol), self._reach)

    def cells(self, row: Order) -> Line:
        instrument, unreached = self._instruments.get(row.symbol), self._unreached(row)
        tint = "dim" if row.is_final else "text"
        asked = row.limit_price if row.limit_price is not None else row.stop_price
        state = format.words(row.state)
        if row.state is OrderState.IN_DOUBT:
            state = state.upper()
        return (
            (format.clock(row.updated_ts), "dim"),
            (self._names.get(row.symbol, row.symbol), tint if row.is_final else "strong"),
            format.side(row.side, faded=row.is_final),
            (format.quantity(row.quantity), tint),
            (format.words(row.type), tint),
            ("market" if asked is None else format.price(asked, instrument), tint),
            (format.quantity(row.filled), tint),
            (format.price(row.avg_price, instrument), tint),
            (f"✗ {state}", "down") if unreached else (state, STATE_STYLES.get(row.state, "dim")),
            (format.words(row.purpose), "dim"),
            (row.strategy, "dim"),
            (row.client_order_id, "dim"),
            (f"{unreached}: OUT OF REACH", "down") if unreached else (row.reason, "dim"),
        )

    def note(self, frame: Frame) -> str:
        orders = frame.snapshot.orders if frame.snapshot else ()
        doubtful = sum(order.state is OrderState.IN_DOUBT for order in orders)
        text = f"{sum(order.is_open for order in orders)} open of {len(orders)}"
        text = f"{doubtful} IN DOUBT · {text}" if doubtful else text
        reach, instruments = oldness.out_of_reach(frame), frame.instruments
        found = [oldness.unreached(o, instruments.get(o.symbol), reach) for o in orders]
        count = sum(map(bool, found))
        return f"{count} OUT OF REACH · {text}" if count else text
