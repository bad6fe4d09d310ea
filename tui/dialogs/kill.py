"""The dialogs of the kill switch's choices: of all or of a part, and what each would do now."""

from collections.abc import Callable
from typing import ClassVar

from msgspec.structs import replace
from textual.binding import Binding

from engine.core.events import Command, KillPart, TripKillSwitch
from engine.core.model import KillAction, OrderPurpose, Part, Scope
from engine.snapshot import Snapshot
from tui import format
from tui.commands import AUTHOR
from tui.dialogs.dialog import BLANK, Dialog, Send, paragraph
from tui.dialogs.safety import LEAVE, count_of, open_positions, stake, typed_word
from tui.frame import Frame
from tui.widgets.lines import Line

_CHOICES = (
    ("s", KillAction.STOP, "stop only"),
    ("k", KillAction.KEEP_STOPS, "keep protective stops"),
    ("c", KillAction.CANCEL, "cancel every order"),
    ("f", KillAction.FLATTEN, "cancel and flatten"),
)
"""From the weakest to the strongest."""

NAMED = 24
"""How many names of a kind are listed."""


def trip(action: KillAction, part: Part | None = None) -> Command:
    reason = f"chosen: {format.words(action)}"
    if part is None:
        return TripKillSwitch(source="console", reason=reason, author=AUTHOR, action=action)
    return KillPart(part=part, source="console", reason=reason, author=AUTHOR, action=action)


def parts(snapshot: Snapshot) -> list[Part]:
    """Every strategy, broker and symbol that can be killed by itself."""
    return [
        *(Part(Scope.STRATEGY, r.name) for r in snapshot.strategies if r.state != "broken"),
        *(Part(Scope.BROKER, row.name) for row in snapshot.brokers),
        *(Part(Scope.SYMBOL, row.instrument.symbol) for row in snapshot.quotes),
    ]


def only(snapshot: Snapshot, part: Part | None) -> Snapshot:
    """The snapshot with the orders and positions of `part` alone."""
    if part is None:
        return snapshot
    venues = {row.instrument.symbol: row.instrument.venue for row in snapshot.quotes}

    def is_in(strategy: str, symbol: str) -> bool:
        mine = {Scope.STRATEGY: strategy, Scope.SYMBOL: symbol, Scope.BROKER: venues.get(symbol)}
        return mine[part.scope] == part.name

    return replace(
        snapshot,
        orders=tuple(o for o in snapshot.orders if is_in(o.strategy, o.symbol)),
        positions=tuple(
            row for row in snapshot.positions if is_in(row.position.strategy, row.position.symbol)
        ),
    )


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
    """A letter kills; only to flatten asks for a word, for it trades."""

    TITLE = "Kill: what is to happen"
    BINDINGS: ClassVar = [
        *(
            Binding(key, f"choose('{action}')", title, id=f"kill-{action}")
            for key, action, title in _CHOICES
        ),
        Binding("p", "part", "Only a part", id="kill-part"),
    ]

    def __init__(
        self, frame: Frame, clock: Callable[[], float], send: Send, part: Part | None = None
    ) -> None:
        super().__init__(frame, clock, send)
        self._part = part

    def lines(self, frame: Frame) -> list[Line]:
        if frame.snapshot is None:
            return paragraph("The engine is still starting; ctrl+k kills it at once.")
        snapshot, part = only(frame.snapshot, self._part), self._part
        text = self._heading(snapshot)
        for key, action, title in _CHOICES:
            usual = part is None and action is snapshot.kill.action
            default = "  (as ctrl+k does)" if usual else ""
            text += [BLANK, ((key, "key"), (f"  {title}", "strong"), (default, "dim"))]
            for line in consequences(action, snapshot):
                text += paragraph(line, indent="   ")
        if part is None:
            text += [BLANK, (("p", "key"), ("  only one strategy, symbol or broker", "strong"))]
        return [*text, BLANK, LEAVE]

    def _heading(self, snapshot: Snapshot) -> list[Line]:
        if self._part is None:
            text = paragraph("From then on no order leaves but those that flatten.")
            before = [snapshot.kill.action] if snapshot.kill.tripped else []
        else:
            text = paragraph(f"Only the {self._part}: no order of it leaves; the rest trades on.")
            killed = [row.killed for row in snapshot.killed_parts]
            before = [k.action for k in killed if k.part == self._part]
        for action in before:
            already = f"Tripped already ({format.words(action)})"
            text += paragraph(f"{already}: a choice may do more, never less.", "warn")
        return text

    def action_choose(self, action: str) -> None:
        if not self.takes_answers:
            return
        chosen = KillAction(action)
        if chosen is KillAction.FLATTEN:
            self.go_on(FlattenDialog(self.frame, self.clock, self.send, self._part))
            return
        self.dismiss()
        what = f"kill {self._part}" if self._part else "kill"
        self.send(trip(chosen, self._part), f"{what}, {format.words(chosen)}: sent to the engine")

    def action_part(self) -> None:
        if self.takes_answers and self._part is None and self.frame.snapshot is not None:
            self.go_on(PartDialog(self.frame, self.clock, self.send))


class PartDialog(Dialog):
    """Which part; it is named by as much as tells it from the others."""

    TITLE = "Kill a part: which one"
    asks = True

    def lines(self, frame: Frame) -> list[Line]:
        if frame.snapshot is None:
            return []
        text: list[Line] = []
        for scope in (Scope.STRATEGY, Scope.BROKER, Scope.SYMBOL):
            names = [part.name for part in parts(frame.snapshot) if part.scope is scope]
            listed = ", ".join(names[:NAMED]) + (", \u2026" if len(names) > NAMED else "")
            text += paragraph(f"{scope:<9} {listed or format.DASH}")
        return [
            *text,
            BLANK,
            (("Type a name, or how it begins, and press enter; ", "text"), *LEAVE),
        ]

    def _meant(self, typed: str) -> list[Part]:
        found = parts(self.frame.snapshot) if self.frame.snapshot else []
        name = typed.strip().lower()
        exact = [part for part in found if part.name.lower() == name]
        return exact or [part for part in found if part.name.lower().startswith(name)]

    def refusal(self, typed: str) -> str:
        meant = self._meant(typed)
        if len(meant) == 1:
            return ""
        if not meant:
            return "nothing is called so: nothing was done"
        return f"that may be {' or '.join(map(str, meant[:3]))}: type more of it"

    def typed(self, typed: str) -> None:
        (part,) = self._meant(typed)
        self.go_on(KillDialog(self.frame, self.clock, self.send, part))


class FlattenDialog(Dialog):
    TITLE = "Kill and close every position"
    word = "FLATTEN"

    def __init__(
        self, frame: Frame, clock: Callable[[], float], send: Send, part: Part | None = None
    ) -> None:
        super().__init__(frame, clock, send)
        self._part = part

    def lines(self, frame: Frame) -> list[Line]:
        if frame.snapshot is None:
            return []
        snapshot = only(frame.snapshot, self._part)
        text = paragraph(f"Only the {self._part}.") if self._part else []
        for line in consequences(KillAction.FLATTEN, snapshot):
            text += paragraph(line[:1].upper() + line[1:] + ".", "warn")
        held = ", ".join(
            f"{format.quantity(row.position.quantity)} {row.position.symbol}"
            for row in snapshot.positions
            if not row.dust
        )
        text += paragraph(f"Held: {held or 'nothing'}.")
        return [*stake(snapshot), BLANK, *text, BLANK, typed_word(self.word)]

    def confirmed(self) -> None:
        self.dismiss()
        what = f"kill and flatten {self._part}" if self._part else "kill and flatten"
        self.send(trip(KillAction.FLATTEN, self._part), f"{what}: sent to the engine")
