"""Paper or live: what live trading would need, and its confirmation."""

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding

from engine.core.events import AcknowledgeAlerts, ConfirmLive, RequestMode
from engine.core.model import Mode
from engine.view.snapshot import LiveGate, Snapshot
from tui import format
from tui.commands import AUTHOR
from tui.dialogs.dialog import BLANK, Dialog, Send, paragraph
from tui.dialogs.safety import LEAVE, letter, stake, switched_on, traders, typed_word
from tui.frame import Frame
from tui.widgets.lines import Line


class ModeDialog(Dialog):
    """The mode is chosen at the start. In live mode nothing leaves before a person who sees the
    account, its limits and its orders typed the word."""

    TITLE = "Paper or live"
    BINDINGS: ClassVar = [
        Binding("p", "confirm", "Back to paper", id="confirm"),
        Binding("a", "acknowledge", "Acknowledge the alerts", id="acknowledge"),
    ]

    def __init__(self, frame: Frame, clock: Callable[[], float], send: Send) -> None:
        super().__init__(frame, clock, send)
        if frame.live_awaits_word:
            self.word = "LIVE"

    def lines(self, frame: Frame) -> list[Line]:
        snapshot = frame.snapshot
        if snapshot is None:
            return []
        if frame.live_confirmed:
            text = paragraph("Orders go to a REAL account.", "strong")
            back = letter("p", "goes back to paper")
            return [*stake(snapshot), BLANK, *text, *_alerts(snapshot), BLANK, back]
        if self.word:
            text = paragraph("From then on orders go to a REAL account.", "strong")
            text += paragraph(traders("confirmed", "trade there", switched_on(snapshot)))
            question = [BLANK, typed_word(self.word)]
            return [*stake(snapshot), *limits(snapshot), BLANK, *text, *question]
        where = "Nothing is sent." if frame.live else "Orders go to the simulated exchange."
        return [
            *stake(snapshot),
            BLANK,
            *paragraph(f"{where} No real money moves."),
            BLANK,
            _verdict(snapshot),
            BLANK,
            *(line for gate in snapshot.live_gate for line in _condition(gate)),
            *_alerts(snapshot),
        ]

    def action_acknowledge(self) -> None:
        names = _waiting(self.frame.snapshot) if self.frame.snapshot else {}
        if names and not self.word and self.takes_answer():
            self.dismiss()
            command = AcknowledgeAlerts(names=tuple(names), author=AUTHOR)
            self.send(command, "alerts: acknowledged")

    def action_confirm(self) -> None:
        if self.frame.live and not self.word and self.takes_answer():
            self.dismiss()
            self.send(RequestMode(mode=Mode.PAPER, author=AUTHOR), "paper mode: requested")

    def confirmed(self) -> None:
        if not self.frame.live_awaits_word:
            self.say("refused: a condition is no longer met")
            return
        self.dismiss()
        self.send(ConfirmLive(word=self.word, author=AUTHOR), "live: confirmation sent")


def limits(snapshot: Snapshot) -> list[Line]:
    """The limits of the account, with what is used of each."""
    rows = [row for row in snapshot.limits if row.tier == "account"]
    told = ", ".join(
        f"{format.words(row.name)} {format.used_of(row.used, row.limit, row.unit)}" for row in rows
    )
    lines = paragraph(told or "none", indent=" " * 11)
    (first, style), *rest = lines[0]
    return [(("limits     ", "dim"), (first.strip(), style), *rest), *lines[1:]]


def _verdict(snapshot: Snapshot) -> Line:
    missing = sum(not gate.met for gate in snapshot.live_gate)
    what = format.plural(missing, "condition")
    return (" LIVE REFUSED ", "alarm"), (f" {what} missing: ", "text"), *LEAVE


def _alerts(snapshot: Snapshot) -> list[Line]:
    waiting = _waiting(snapshot)
    if not waiting:
        return []
    told = (paragraph(text, "warn") for text in waiting.values())
    return [BLANK, *(line for lines in told for line in lines), letter("a", "acknowledges them")]


def _waiting(snapshot: Snapshot) -> dict[str, str]:
    """The texts of the alerts that hold live trading back, by their names."""
    return {row.name: row.text for row in snapshot.unread if row.holds}


def _condition(gate: LiveGate) -> list[Line]:
    if gate.met:
        return [(("✓ met      ", "good"), (gate.condition, "text"))]
    head: Line = (("✗ MISSING  ", "down"), (gate.condition, "strong"))
    return [head, *paragraph(gate.remedy, "dim", indent=" " * 11)]
