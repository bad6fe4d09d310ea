"""The blotter: every column of the orders, and the whole history behind the newest ones."""

from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from engine.core.model import Order, OrderState, OrderType, Side, TimeInForce
from engine.questions import OrderPage
from engine.questions import Orders as Question
from tui import format
from tui.asking import ONCE, Asking
from tui.frame import Frame
from tui.widgets.columns import Column
from tui.widgets.lines import Line
from tui.widgets.orders import PARTS, Orders

PAGE = 100
"""Orders that are asked for at a time."""

MOST_KEPT = 5_000

_VOCABULARY = tuple(
    word
    for kind in (OrderState, OrderType, Side, TimeInForce)
    for value in kind
    for word in format.words(value).split()
)
"""Words of a row that the database does not look for among the texts of an order."""


def question_of(words: str, states: tuple[OrderState, ...]) -> Question:
    """What to ask for where an operator looks for `words`. The database looks for one of them; the
    table leaves out what has not all."""
    found = (word for word in words.casefold().split() if not _is_of_vocabulary(word))
    return Question(text=next(found, ""), states=states, count=PAGE)


def _is_of_vocabulary(word: str) -> bool:
    return len(word) > 2 and any(known.startswith(word) for known in _VOCABULARY)


class Blotter(Orders):
    """Orders of former times are asked for where one looks for words, or comes to the end. What
    was once shown stays; of two that tell of one order the newer one counts."""

    columns: ClassVar = (
        Column("time", 14),
        Column("symbol", 7),
        Column("side", 4),
        Column("qty", 5, "."),
        Column("type", 5, rank=3, most=13),
        Column("price", 8, ".", rank=1),
        Column("filled", 6, ".", rank=2),
        Column("avg", 8, ".", rank=4),
        Column("state", 9, most=16),
        Column("age", 3, ">", rank=6),
        Column("reason", 6, rank=5, grows=True),
        Column("strategy", 8, rank=8, most=16),
        Column("client order id", 8, rank=7, most=18),
        Column("venue order id", 8, rank=11, most=24),
        Column("TIF", 3, rank=9),
        Column("purpose", 7, rank=10, most=15),
    )

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._kept: dict[str, Order] = {}
        self._seen: tuple[Order, ...] = ()
        self._now = 0
        self._next: Question | None = None
        """What brings the orders before those that are known."""
        self._coming: Asking[OrderPage] | None = None
        self._asked = False

    # --- the history -----------------------------------------------------------------------------

    def searched(self) -> None:
        """Ask for the newest orders that are looked for."""
        self._next, self._coming = question_of(self._choice.words, PARTS[self.alone]), None
        self.more()

    def more(self) -> None:
        """Ask for older ones, if there are any."""
        if self._next is not None and self._coming is None:
            self._coming = Asking(self.ask, ONCE)
            self._coming.look(self._next, 0.0)
            self.redraw()

    def _look(self) -> None:
        """Take the page that was asked for, once it is there."""
        coming, asked = self._coming, self._next
        if coming is None or asked is None:
            return
        coming.look(asked, 0.0)
        if (page := coming.answer) is not None:
            self._coming = None
            self._next = replace(asked, before=page.before) if page.before else None
            self._keep(page.orders)
            self.redraw()
            if len(self._rows) < self._page:
                self.more()
        elif coming.failure:
            self._coming = None
            self.say(coming.failure, "warn")
            self.redraw()

    def _keep(self, orders: Iterable[Order]) -> None:
        if len(self._kept) > MOST_KEPT:
            self._kept = {order.client_order_id: order for order in self._seen}
        for order in orders:
            known = self._kept.get(order.client_order_id)
            if known is None or known.updated_ts <= order.updated_ts:
                self._kept[order.client_order_id] = order

    def forget(self) -> None:
        self._kept, self._seen, self._next = {}, (), None
        self._coming, self._asked = None, False

    # --- rows ------------------------------------------------------------------------------------

    def show(self, frame: Frame) -> None:
        super().show(frame)
        if frame.snapshot is not None and not self._asked:
            self._asked = True
            self.searched()
        self._look()

    def orders(self, frame: Frame) -> Iterable[Order]:
        if frame.snapshot is None:
            return ()
        self._now = frame.snapshot.ts
        if frame.snapshot.orders is not self._seen:
            self._seen = frame.snapshot.orders
            self._keep(self._seen)
        return self._kept.values()

    def aged(self, row: Order) -> str:
        return format.since(row.created_ts, self._now)

    def cells(self, row: Order) -> Line:
        known = super().cells(row)
        purpose, strategy, client_order_id, reason = known[9:]
        return (
            (format.day_and_clock(row.updated_ts), "dim"),
            *known[1:9],
            (self.aged(row), "dim"),
            *(reason, strategy, client_order_id),
            (row.venue_order_id or format.DASH, "dim"),
            (row.time_in_force.upper(), "dim"),
            purpose,
        )

    def note(self, frame: Frame) -> str:
        history = "asking" if self._coming else "older ones at the end" if self._next else "whole"
        return f"{super().note(frame)} · history: {history}"
