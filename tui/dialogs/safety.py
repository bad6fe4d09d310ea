"""The dialogs that ask before risk grows or protection goes."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import ClassVar

from textual.binding import Binding

from engine.core.events import RearmKillSwitch, RearmPart, ResetCircuitBreaker, ToggleStrategy
from engine.core.model import Order, OrderPurpose, OrderState, is_cancelled_by
from engine.view.snapshot import PositionRow, Snapshot
from tui import format
from tui.commands import AUTHOR
from tui.dialogs.dialog import BLANK, Dialog, Send, paragraph
from tui.frame import Frame, progress
from tui.widgets.lines import Line

LEAVE: Line = (("esc", "key"), (" changes nothing.", "text"))
LISTED = 5
"""How many of the orders that a kill could not cancel yet are named."""
WAITS = {
    OrderState.INTENDED: "NOT SENT YET",
    OrderState.SUBMITTED: "NOT ACKNOWLEDGED YET",
    OrderState.IN_DOUBT: "IN DOUBT",
    OrderState.PENDING_CANCEL: "CANCEL NOT CONFIRMED YET",
    OrderState.PENDING_REPLACE: "CHANGE NOT CONFIRMED YET",
}
"""What an open order waits for, by its state."""
CONFIRM = Binding("y", "confirm", "Yes", id="confirm")


def typed_word(word: str) -> Line:
    return ("Type ", "text"), (word, "strong"), (" and press enter; ", "text"), *LEAVE


def letter(key: str, does: str) -> Line:
    return (key, "key"), (f" {does}; ", "text"), *LEAVE


def question(word: str, does: str) -> Line:
    """What is to be typed, or where that is no `word`, pressed."""
    return typed_word(word) if word else letter("y", does)


def account_named(snapshot: Snapshot) -> str:
    return f"{snapshot.account or format.DASH}, {snapshot.mode.upper()}"


def account(frame: Frame) -> list[Line]:
    """In which account it is done."""
    if frame.snapshot is None:
        return []
    return [(("account    ", "dim"), (account_named(frame.snapshot), "strong"))]


def stake(snapshot: Snapshot) -> list[Line]:
    """Which account it is, and what is at stake in it."""
    return [
        (
            ("account    ", "dim"),
            (account_named(snapshot), "strong"),
            ("   equity ", "dim"),
            (f"{format.money(snapshot.equity)} {snapshot.currency}", "strong"),
        ),
        *[
            (
                ("cash       ", "dim"),
                (f"{row.venue} {format.money(row.cash)} {row.currency}", "text"),
            )
            for row in snapshot.accounts
        ],
        (("orders     ", "dim"), (open_orders(snapshot), "text")),
        (("positions  ", "dim"), (open_positions(snapshot), "text")),
    ]


def named(order: Order, snapshot: Snapshot | None) -> Line:
    worth = format.money(worst(order, snapshot) if snapshot else None)
    is_stop = order.purpose is OrderPurpose.PROTECTIVE_STOP
    kind = format.words(order.purpose if is_stop else order.type)
    waits = WAITS.get(order.state)
    return (
        format.side(order.side),
        (f" {format.quantity(order.leaves)} {order.symbol}", "strong"),
        (f"  {kind}, ", "text"),
        *([(f"{waits}, ", "caution")] if waits else []),
        (f"worth {worth}, {order.client_order_id}", "text"),
    )


def open_orders(snapshot: Snapshot) -> str:
    return count_of([order for order in snapshot.orders if order.is_open], snapshot)


def count_of(orders: Sequence[Order], snapshot: Snapshot) -> str:
    """How many, and what they are worth at the most: a dash if one has no rate."""
    worths = [worst(order, snapshot) for order in orders]
    return _count(len(orders), total(worths), snapshot)


def worst(order: Order, snapshot: Snapshot) -> Decimal | None:
    """What an order is worth at the most, in the snapshot's currency."""
    worth = snapshot.worth(order.symbol)
    return None if worth is None else order.worst_notional * worth


def held_in(snapshot: Snapshot) -> list[PositionRow]:
    return [row for row in snapshot.positions if row.position.quantity and not row.dust]


def open_positions(snapshot: Snapshot) -> str:
    """How many, and what they are worth: a dash if one of them has no price. Dust is none."""
    held = held_in(snapshot)
    worths = [None if row.value is None else abs(row.value) for row in held]
    return _count(len(held), total(worths), snapshot)


def switched_on(snapshot: Snapshot) -> str:
    """The strategies that are switched on, also those held back now; empty where none is."""
    held_back = {"on": "", "paused": " (paused)", "killed": " (killed)"}
    rows = [row for row in snapshot.strategies if row.state in held_back]
    return ", ".join(f"{row.name}{held_back[row.state]}" for row in rows)


def traders(when: str, do: str, on: str) -> str:
    """Which strategies `do` something from `when` on: those of the list `on`."""
    if on:
        return f"{when.capitalize()}, these strategies {do}: {on}."
    return f"No strategy is on: {when}, nothing trades until one is switched on."


def total(values: Sequence[Decimal | None]) -> Decimal | int | None:
    """The sum; None where one of them is not known."""
    return None if None in values else sum(filter(None, values))


def _count(number: int, worth: Decimal | int | None, snapshot: Snapshot) -> str:
    return f"{number} open, worth {format.money(worth)} {snapshot.currency}" if number else "none"


class RearmDialog(Dialog):
    TITLE = "Re-arm the kill switch"
    word = "REARM"

    def lines(self, frame: Frame) -> list[Line]:
        snapshot = frame.snapshot
        if snapshot is None:
            return []
        kill = snapshot.kill
        text = [
            *paragraph(
                f"Tripped by {kill.source} at {format.date_and_clock(kill.ts)}: {kill.reason}"
            ),
            BLANK,
            *stake(snapshot),
            BLANK,
        ]
        if kill.phase == "cancelling":
            still = f"{format.plural(kill.open_orders, 'order')} still waiting for the cancel"
            waits = [o for o in snapshot.orders if o.is_open and is_cancelled_by(kill.action, o)]
            more = f", the first {LISTED}" if len(waits) > LISTED else ""
            text += paragraph(f"{still}{more}:", "warn")
            text += [(("  ", "text"), *named(order, snapshot)) for order in waits[:LISTED]]
        text += paragraph(traders("re-armed", "trade again", switched_on(snapshot)))
        return [*text, BLANK, typed_word(self.word)]

    def confirmed(self) -> None:
        if self.frame.snapshot is not None and not self.frame.snapshot.kill.tripped:
            self.say("it is ready already: nothing was done")
            return
        self.dismiss()
        self.send(RearmKillSwitch(word=self.word, author=AUTHOR), "re-arm: sent to the engine")


class RearmPartDialog(Dialog):
    """Of several killed parts the first is asked about; tab goes to the next."""

    TITLE = "Re-arm a part"
    word = "REARM"
    BINDINGS: ClassVar = [Binding("tab", "next", "The next part", id="next-part", priority=True)]

    def __init__(self, frame: Frame, clock: Callable[[], float], send: Send) -> None:
        super().__init__(frame, clock, send)
        rows = frame.snapshot.killed_parts if frame.snapshot else ()
        self._part = rows[0].killed.part if rows else None

    def lines(self, frame: Frame) -> list[Line]:
        rows = frame.snapshot.killed_parts if frame.snapshot else ()
        text: list[Line] = []
        for row in rows:
            killed, chosen = row.killed, row.killed.part == self._part
            by = f"killed by {killed.source} at {format.date_and_clock(killed.ts)} {killed.reason}"
            sign = "▸ " if chosen else "  "
            text.append(((f"{sign}{killed.part}", "strong" if chosen else "text"),))
            text += paragraph(by, indent="    ")
            text += paragraph(progress(row, killed.action), "warn", indent="    ")
        more: list[Line] = [(("tab", "key"), (" chooses another part.", "text"))]
        more = more if len(rows) > 1 else []
        return [*account(frame), BLANK, *text, BLANK, *more, typed_word(self.word)]

    def action_next(self) -> None:
        rows = self.frame.snapshot.killed_parts if self.frame.snapshot else ()
        known = [row.killed.part for row in rows]
        if known:
            here = known.index(self._part) if self._part in known else -1
            self._part = known[(here + 1) % len(known)]
            self.show(self.frame)

    def confirmed(self) -> None:
        if self._part is None:
            return
        self.dismiss()
        command = RearmPart(part=self._part, word=self.word, author=AUTHOR)
        self.send(command, f"re-arm {self._part}: sent to the engine")


class BreakerDialog(Dialog):
    TITLE = "Reset the circuit breaker"
    word = "RESET"

    def lines(self, frame: Frame) -> list[Line]:
        snapshot = frame.snapshot
        if snapshot is None:
            return []
        return [
            *paragraph(f"Tripped: {snapshot.breaker.reason}"),
            BLANK,
            *stake(snapshot),
            BLANK,
            *paragraph(
                "No entry leaves; protective stops and exits do. Reset, entries leave again."
            ),
            BLANK,
            typed_word(self.word),
        ]

    def confirmed(self) -> None:
        if self.frame.snapshot is not None and not self.frame.snapshot.breaker.tripped:
            self.say("it is ready already: nothing was done")
            return
        self.dismiss()
        self.send(ResetCircuitBreaker(word=self.word, author=AUTHOR), "reset: sent to the engine")


class StrategyOnDialog(Dialog):
    """Switching a strategy on in a live account asks; in paper, and off, it does not."""

    TITLE = "Switch a strategy on in LIVE"
    word = "ON"

    def __init__(self, strategy: str, frame: Frame, clock: Callable[[], float], send: Send) -> None:
        super().__init__(frame, clock, send)
        self._strategy = strategy

    def lines(self, frame: Frame) -> list[Line]:
        if frame.snapshot is None:
            return []
        text = paragraph(f"{self._strategy} will send orders to this account by itself.")
        return [*stake(frame.snapshot), BLANK, *text, BLANK, typed_word(self.word)]

    def confirmed(self) -> None:
        self.dismiss()
        command = ToggleStrategy(strategy=self._strategy, enabled=True, author=AUTHOR)
        self.send(command, f"{self._strategy} on: sent to the engine")
