"""The dialogs that ask before risk grows or protection goes."""

from collections.abc import Callable
from decimal import Decimal
from typing import ClassVar

from textual.binding import Binding

from engine.core.events import RearmKillSwitch, RequestCancel, RequestMode, ToggleStrategy
from engine.core.model import Mode, Order, OrderPurpose
from engine.snapshot import LiveGate, Snapshot
from tui import format
from tui.commands import AUTHOR
from tui.frame import Frame
from tui.screens.dialog import BLANK, Dialog, Send, paragraph
from tui.widgets.lines import Line

LEAVE: Line = (("esc", "key"), (" changes nothing.", "text"))
CONFIRM = Binding("y", "confirm", "Yes", id="confirm")


def typed_word(word: str) -> Line:
    return ("Type ", "text"), (word, "strong"), (" and press enter; ", "text"), *LEAVE


def letter(key: str, does: str) -> Line:
    return (key, "key"), (f" {does}; ", "text"), *LEAVE


def stake(snapshot: Snapshot) -> list[Line]:
    """Which account it is, and what is at stake in it."""
    return [
        (
            ("account    ", "dim"),
            (f"{snapshot.account}, {snapshot.mode.upper()}", "strong"),
            ("   equity ", "dim"),
            (f"{format.money(snapshot.equity)} {snapshot.currency}", "strong"),
        ),
        (("orders     ", "dim"), (open_orders(snapshot), "text")),
        (("positions  ", "dim"), (open_positions(snapshot), "text")),
    ]


def open_orders(snapshot: Snapshot) -> str:
    orders = [order for order in snapshot.orders if order.is_open]
    notional = sum(order.leaves * order.reference_price for order in orders)
    return _count(len(orders), notional, snapshot)


def open_positions(snapshot: Snapshot) -> str:
    """How many, and what they are worth: a dash if one of them has no price."""
    held = [row for row in snapshot.positions if row.position.quantity]
    worths = [None if row.mark is None else abs(row.position.quantity * row.mark) for row in held]
    worth = None if None in worths else sum(filter(None, worths))
    return _count(len(held), worth, snapshot)


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
        on = [row.name for row in snapshot.strategies if row.state == "on"]
        text = [
            *paragraph(f"Tripped by {kill.source} at {format.clock(kill.ts)} UTC: {kill.reason}"),
            BLANK,
            *stake(snapshot),
            BLANK,
        ]
        if kill.phase == "cancelling":
            text += paragraph(
                f"{format.plural(kill.open_orders, 'order')} still waiting for the cancel.", "warn"
            )
        text += paragraph(
            f"Re-armed, these strategies trade again: {', '.join(on)}."
            if on
            else "No strategy is on: re-armed, nothing trades until one is switched on."
        )
        return [*text, BLANK, typed_word(self.word)]

    def confirmed(self) -> None:
        if self.frame.snapshot is not None and not self.frame.snapshot.kill.tripped:
            self.say("it is ready already: nothing was done")
            return
        self.dismiss()
        self.send(RearmKillSwitch(word=self.word, author=AUTHOR), "re-arm: sent to the engine")


class ModeDialog(Dialog):
    """Back to paper with a letter; to live only through the gate and a typed word."""

    TITLE = "Paper or live"
    BINDINGS: ClassVar = [Binding("p", "confirm", "Back to paper", id="confirm")]

    def __init__(self, frame: Frame, clock: Callable[[], float], send: Send) -> None:
        super().__init__(frame, clock, send)
        if not frame.live and _gate_is_open(frame):
            self.word = "LIVE"

    def lines(self, frame: Frame) -> list[Line]:
        snapshot = frame.snapshot
        if snapshot is None:
            return []
        if frame.live:
            text = paragraph("Orders go to a REAL account.", "strong")
            return [*stake(snapshot), BLANK, *text, BLANK, letter("p", "goes back to paper")]
        return [
            *stake(snapshot),
            BLANK,
            *paragraph("Orders go to the simulated exchange: no real money moves."),
            BLANK,
            self._verdict(snapshot),
            BLANK,
            *(line for gate in snapshot.live_gate for line in _condition(gate)),
        ]

    def _verdict(self, snapshot: Snapshot) -> Line:
        if self.word:
            return typed_word(self.word)
        missing = sum(not gate.met for gate in snapshot.live_gate)
        what = format.plural(missing, "condition")
        return (" LIVE REFUSED ", "alarm"), (f" {what} missing: ", "text"), *LEAVE

    def action_confirm(self) -> None:
        if self.frame.live:
            super().action_confirm()

    def confirmed(self) -> None:
        mode = Mode.PAPER if self.frame.live else Mode.LIVE
        if mode is Mode.LIVE and not _gate_is_open(self.frame):
            self.say("refused: a condition is no longer met")
            return
        self.dismiss()
        self.send(RequestMode(mode=mode, author=AUTHOR), f"{mode} mode: requested")


def _gate_is_open(frame: Frame) -> bool:
    gate = frame.snapshot.live_gate if frame.snapshot else ()
    return bool(gate) and all(condition.met for condition in gate)


def _condition(gate: LiveGate) -> list[Line]:
    if gate.met:
        return [(("✓ met      ", "good"), (gate.condition, "text"))]
    head: Line = (("✗ MISSING  ", "down"), (gate.condition, "strong"))
    return [head, *paragraph(gate.remedy, "dim", indent=" " * 11)]


class StrategyOnDialog(Dialog):
    """Switching a strategy on in a live account asks; in paper, and off, it does not."""

    TITLE = "Switch a strategy on in LIVE"
    BINDINGS: ClassVar = [CONFIRM]

    def __init__(self, strategy: str, frame: Frame, clock: Callable[[], float], send: Send) -> None:
        super().__init__(frame, clock, send)
        self._strategy = strategy

    def lines(self, frame: Frame) -> list[Line]:
        if frame.snapshot is None:
            return []
        text = paragraph(f"{self._strategy} will send orders to this account by itself.")
        return [*stake(frame.snapshot), BLANK, *text, BLANK, letter("y", "switches it on")]

    def confirmed(self) -> None:
        self.dismiss()
        command = ToggleStrategy(strategy=self._strategy, enabled=True, author=AUTHOR)
        self.send(command, f"{self._strategy} on: sent to the engine")


class CancelDialog(Dialog):
    TITLE = "Cancel an order"
    BINDINGS: ClassVar = [CONFIRM]

    def __init__(self, order: Order, frame: Frame, clock: Callable[[], float], send: Send) -> None:
        super().__init__(frame, clock, send)
        self._order_id = order.client_order_id

    def _order(self, frame: Frame) -> Order | None:
        """The order as it is now, None once it is gone or final."""
        orders = frame.snapshot.orders if frame.snapshot else ()
        return next((o for o in orders if o.client_order_id == self._order_id and o.is_open), None)

    def lines(self, frame: Frame) -> list[Line]:
        order = self._order(frame)
        if order is None:
            return paragraph(f"Order {self._order_id} is no longer open.", "warn")
        worth = format.money(order.leaves * order.reference_price)
        text: list[Line] = [
            (
                format.side(order.side),
                (f" {format.quantity(order.leaves)} {order.symbol}", "strong"),
                (f"  {format.words(order.type)}, worth {worth}, {self._order_id}", "text"),
            ),
            BLANK,
        ]
        if order.purpose is OrderPurpose.PROTECTIVE_STOP:
            text += paragraph(
                "This is a PROTECTIVE STOP: without it the position has no stop-loss.", "warn"
            )
            text.append(BLANK)
        return [*text, letter("y", "cancels it")]

    def confirmed(self) -> None:
        order = self._order(self.frame)
        self.dismiss()
        if order is not None:
            command = RequestCancel(client_order_id=self._order_id, author=AUTHOR)
            self.send(command, f"cancel {self._order_id}: sent to the engine")
