"""The dialogs of the kill switch's choices: of all or of a part, and what each would do now."""

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding

from engine.core.model import KillAction, Part, Scope
from engine.view.snapshot import Snapshot
from tui import format
from tui.dialogs.dialog import BLANK, Dialog, Send, paragraph
from tui.dialogs.safety import LEAVE, WAITS, account_named, named, worst
from tui.dialogs.sure import TITLES, WORDS, SureDialog, consequences, only, sent, trip
from tui.frame import Frame
from tui.widgets.lines import Line

KEYS = dict(zip("skcf", TITLES, strict=True))

NAMED = 24
"""How many names of a kind are listed."""


def parts(snapshot: Snapshot) -> list[Part]:
    """Every strategy, broker and symbol that can be killed by itself."""
    return [
        *(Part(Scope.STRATEGY, r.name) for r in snapshot.strategies if r.state != "broken"),
        *(Part(Scope.BROKER, row.name) for row in snapshot.brokers),
        *(Part(Scope.SYMBOL, row.symbol) for row in snapshot.quotes),
    ]


class KillDialog(Dialog):
    """A letter stops; what cancels orders or trades asks for a word."""

    TITLE = "Kill: what is to happen"
    BINDINGS: ClassVar = [
        *(
            Binding(key, f"choose('{action}')", TITLES[action], id=f"kill-{action}")
            for key, action in KEYS.items()
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
        for key, action in KEYS.items():
            usual = part is None and action is snapshot.kill.action
            default = "  (as ctrl+k does)" if usual else ""
            text += [BLANK, ((key, "key"), (f"  {TITLES[action]}", "strong"), (default, "dim"))]
            for line in consequences(action, snapshot):
                text += paragraph(line, indent="   ")
        if part is None:
            text += [BLANK, (("p", "key"), ("  only one strategy, symbol or broker", "strong"))]
        return [*text, BLANK, LEAVE, *_open_orders(snapshot)]

    def _heading(self, snapshot: Snapshot) -> list[Line]:
        if self._part is None:
            of = account_named(snapshot)
            text = paragraph(f"{of}: no order leaves any more but those that flatten.")
            before = [snapshot.kill.action] if snapshot.kill.tripped else []
        else:
            text = paragraph(f"{account_named(snapshot)}.")
            text += paragraph(f"Only the {self._part}: no order of it leaves; the rest trades on.")
            killed = [row.killed for row in snapshot.killed_parts]
            before = [k.action for k in killed if k.part == self._part]
        for action in before:
            already = f"Tripped already ({format.words(action)})"
            text += paragraph(f"{already}: a choice may do more, never less.", "warn")
        return text

    def action_choose(self, action: str) -> None:
        if not self.takes_answer():
            return
        chosen = KillAction(action)
        if chosen in WORDS:
            self.go_on(SureDialog(chosen, self.frame, self.clock, self.send, self._part))
            return
        self.dismiss()
        self.send(trip(chosen, self._part), sent(chosen, self._part))

    def action_part(self) -> None:
        known = self._part is None and self.frame.snapshot is not None
        if known and self.takes_answer():
            self.go_on(PartDialog(self.frame, self.clock, self.send))


def _open_orders(snapshot: Snapshot) -> list[Line]:
    """Every open order by name: first those that wait for an answer, then the largest."""
    orders = [order for order in snapshot.orders if order.is_open]
    orders.sort(key=lambda order: (order.state not in WAITS, -(worst(order, snapshot) or 0)))
    more = (
        f"  and {len(orders) - NAMED} more: the orders screen has all"
        if len(orders) > NAMED
        else ""
    )
    return [
        *([BLANK, (("open now:", "dim"),)] if orders else []),
        *((("  ", "text"), *named(order, snapshot)) for order in orders[:NAMED]),
        *([((more, "text"),)] if more else []),
    ]


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
        called = [(part, _called(part)) for part in found]
        exact = [part for part, names in called if name in names]
        return exact or [p for p, names in called if any(n.startswith(name) for n in names)]

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


def _called(part: Part) -> set[str]:
    """What it goes by: a symbol without its venue too."""
    name = part.name.lower()
    return {name, name.partition(":")[2] or name} if part.scope is Scope.SYMBOL else {name}
