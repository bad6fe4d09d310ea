"""The dialogs of the kill switch's choices: what each would do now."""

from typing import ClassVar

from textual.binding import Binding

from engine.core.events import TripKillSwitch
from engine.core.model import KillAction, OrderPurpose
from engine.snapshot import Snapshot
from tui import format
from tui.commands import AUTHOR
from tui.frame import Frame
from tui.screens.dialog import BLANK, Dialog, paragraph
from tui.screens.safety import LEAVE, count_of, open_positions, stake, typed_word
from tui.widgets.lines import Line

_CHOICES = (
    ("s", KillAction.STOP, "stop only"),
    ("k", KillAction.KEEP_STOPS, "keep protective stops"),
    ("c", KillAction.CANCEL, "cancel every order"),
    ("f", KillAction.FLATTEN, "cancel and flatten"),
)
"""From the weakest to the strongest."""


def trip(action: KillAction) -> TripKillSwitch:
    reason = f"chosen: {format.words(action)}"
    return TripKillSwitch(source="console", reason=reason, author=AUTHOR, action=action)


def consequences(action: KillAction, snapshot: Snapshot) -> list[str]:
    """What the kill switch would do to open orders and positions, in numbers."""
    orders = [order for order in snapshot.orders if order.is_open]
    stops = [order for order in orders if order.purpose is OrderPurpose.PROTECTIVE_STOP]
    others = [order for order in orders if order.purpose is not OrderPurpose.PROTECTIVE_STOP]
    match action:
        case KillAction.STOP:
            return [f"orders that stay: {count_of(orders, snapshot)}"]
        case KillAction.KEEP_STOPS:
            return [
                f"orders cancelled: {count_of(others, snapshot)}",
                f"stops that stay: {count_of(stops, snapshot)}",
            ]
        case KillAction.CANCEL:
            bare = f", {format.plural(len(stops), 'protective stop')} among them" if stops else ""
            return [f"orders cancelled: {count_of(orders, snapshot)}{bare}"]
        case KillAction.FLATTEN:
            return [
                f"orders cancelled: {count_of(orders, snapshot)}",
                f"positions closed at market: {open_positions(snapshot)}",
            ]


class KillDialog(Dialog):
    """A letter trips; only to flatten asks for a word, for it trades."""

    TITLE = "Kill: what is to happen"
    BINDINGS: ClassVar = [
        Binding(key, f"choose('{action}')", title, id=f"kill-{action}")
        for key, action, title in _CHOICES
    ]

    def lines(self, frame: Frame) -> list[Line]:
        snapshot = frame.snapshot
        if snapshot is None:
            return paragraph("The engine is still starting; ctrl+k kills it at once.")
        text = paragraph("From then on no order leaves but those that flatten.")
        if snapshot.kill.tripped:
            text += paragraph(
                f"Tripped already ({format.words(snapshot.kill.action)}): a choice may do more, "
                "never less.",
                "warn",
            )
        for key, action, title in _CHOICES:
            default = "  (as ctrl+k does)" if action is snapshot.kill.action else ""
            text += [BLANK, ((key, "key"), (f"  {title}", "strong"), (default, "dim"))]
            for line in consequences(action, snapshot):
                text += paragraph(line, indent="   ")
        return [*text, BLANK, LEAVE]

    def action_choose(self, action: str) -> None:
        if not self.takes_answers:
            return
        chosen = KillAction(action)
        if chosen is KillAction.FLATTEN:
            self.go_on(FlattenDialog(self.frame, self.clock, self.send))
            return
        self.dismiss()
        self.send(trip(chosen), f"kill, {format.words(chosen)}: sent to the engine")


class FlattenDialog(Dialog):
    TITLE = "Kill and close every position"
    word = "FLATTEN"

    def lines(self, frame: Frame) -> list[Line]:
        snapshot = frame.snapshot
        if snapshot is None:
            return []
        text: list[Line] = []
        for line in consequences(KillAction.FLATTEN, snapshot):
            text += paragraph(line[:1].upper() + line[1:] + ".", "warn")
        held = ", ".join(
            f"{format.quantity(row.position.quantity)} {row.position.symbol}"
            for row in snapshot.positions
        )
        text += paragraph(f"Held: {held or 'nothing'}.")
        return [*stake(snapshot), BLANK, *text, BLANK, typed_word(self.word)]

    def confirmed(self) -> None:
        self.dismiss()
        self.send(trip(KillAction.FLATTEN), "kill and flatten: sent to the engine")
