"""The blotter: every column of the orders, and the whole history behind the newest ones."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from engine.core.model import Order, OrderState, OrderType, Side, TimeInForce
from engine.view.questions import OrderPage, Question
from engine.view.questions import Orders as AskOrders
from engine.view.snapshot import Snapshot
from tui import format
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.history import PAGE, History, words_of
from tui.widgets.lines import Line
from tui.widgets.orders import PARTS, Orders


class Blotter(History[Order, OrderPage], Orders):
    """All orders, those of former times too."""

    vocabulary = words_of(OrderState, OrderType, Side, TimeInForce)
    columns: ClassVar = (
        Column("time", 14),
        Column("symbol", 7, stays=True),
        Column("side", 4, stays=True),
        Column("qty", 5, ".", stays=True),
        Column("type", 5, rank=3, most=13),
        Column("price", 8, ".", rank=1),
        Column("filled", 6, ".", rank=2),
        Column("avg", 8, ".", rank=4),
        Column("state", 9, most=18, stays=True),
        Column("age", 3, ">", rank=6),
        Column("reason", 6, rank=5, grows=True),
        Column("strategy", 8, rank=8, most=16, cut=format.cut_middle),
        Column("client order id", 8, rank=7, most=18),
        Column("venue order id", 8, rank=11, most=24),
        Column("TIF", 3, rank=9),
        Column("purpose", 7, rank=10, most=15),
    )

    def newest(self, snapshot: Snapshot) -> Sequence[Order]:
        return snapshot.orders

    def first_question(self, word: str) -> Question[OrderPage]:
        return AskOrders(text=word, states=PARTS[self.alone], count=PAGE)

    def rows_of(self, page: OrderPage) -> Sequence[Order]:
        return page.orders

    def is_newer(self, row: Order, known: Order) -> bool:
        return row.updated_ts >= known.updated_ts

    def orders(self, frame: Frame) -> Iterable[Order]:
        if frame.snapshot is None:
            return ()
        self._now = frame.snapshot.ts
        return self.known(frame.snapshot)

    def aged(self, row: Order) -> str:
        return f"{format.since(row.created_ts, self._now)}|{super().aged(row)}"

    def cells(self, row: Order) -> Line:
        known = super().cells(row)
        purpose, strategy, client_order_id, reason = known[9:]
        return (
            (format.day_and_clock(row.updated_ts), "dim"),
            *known[1:9],
            (format.since(row.created_ts, self._now), "dim"),
            *(reason, strategy, client_order_id),
            (row.venue_order_id or format.DASH, "dim"),
            (row.time_in_force.upper(), "dim"),
            purpose,
        )

    def note(self, frame: Frame) -> str:
        return f"{super().note(frame)} · {self.history}"
