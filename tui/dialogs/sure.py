"""The dialog before a kill that cancels orders or closes positions: which, and their worth."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from msgspec.structs import replace

from engine.core.events import Command, KillPart, TripKillSwitch
from engine.core.model import (
    KillAction,
    Order,
    OrderPurpose,
    OrderState,
    Part,
    Scope,
    is_cancelled_by,
)
from engine.view.snapshot import PositionRow, Snapshot
from tui import format
from tui.commands import AUTHOR
from tui.dialogs.dialog import BLANK, Dialog, Send, paragraph
from tui.dialogs.safety import (
    count_of,
    held_in,
    named,
    open_positions,
    stake,
    total,
    typed_word,
    worst,
)
from tui.frame import Frame
from tui.widgets.lines import Line

_Row = tuple[Line, Decimal | None]
"""An order or a position, and what it is worth."""

TITLES = {
    KillAction.STOP: "stop only",
    KillAction.KEEP_STOPS: "keep protective stops",
    KillAction.CANCEL: "cancel every order",
    KillAction.FLATTEN: "cancel and flatten",
}
"""From the weakest to the strongest."""

WORDS = {
    KillAction.KEEP_STOPS: "CANCEL",
    KillAction.CANCEL: "CANCEL",
    KillAction.FLATTEN: "FLATTEN",
}
"""What is typed before orders are cancelled, or positions closed."""

_AROUND = 8
"""Lines of the screen that are not the text of the dialog: the strip, the frame, the answer."""


def trip(action: KillAction, part: Part | None = None) -> Command:
    reason = f"chosen: {format.words(action)}"
    if part is None:
        return TripKillSwitch(source="console", reason=reason, author=AUTHOR, action=action)
    return KillPart(part=part, source="console", reason=reason, author=AUTHOR, action=action)


def sent(action: KillAction, part: Part | None) -> str:
    what = f"kill {part}" if part else "kill"
    return f"{what}, {format.words(action)}: sent to the engine"


def only(snapshot: Snapshot, part: Part | None) -> Snapshot:
    """The snapshot with the orders and positions of `part` alone."""
    if part is None:
        return snapshot
    venues = {symbol: known.venue for symbol, known in snapshot.instruments.items()}

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


def cancelled_by(action: KillAction, snapshot: Snapshot) -> list[Order]:
    return [o for o in snapshot.orders if o.is_open and is_cancelled_by(action, o)]


def consequences(action: KillAction, snapshot: Snapshot) -> list[str]:
    """What the kill switch would do to open orders and positions, in numbers."""
    cancelled = cancelled_by(action, snapshot)
    others = [o for o in snapshot.orders if o.is_open and o not in cancelled]
    kept = [o for o in others if o.state is not OrderState.INTENDED]
    goes, stays = count_of(cancelled, snapshot), count_of(kept, snapshot)
    unsent = len(others) - len(kept)
    never = [f"not sent yet, and never will be: {format.plural(unsent, 'order')}"] if unsent else []
    match action:
        case KillAction.STOP:
            return [f"orders that stay: {stays}", *never]
        case KillAction.KEEP_STOPS:
            return [f"orders cancelled: {goes}", f"stops that stay: {stays}", *never]
        case KillAction.CANCEL:
            stops = sum(order.purpose is OrderPurpose.PROTECTIVE_STOP for order in cancelled)
            bare = f", {format.plural(stops, 'protective stop')}" if stops else ""
            return [f"orders cancelled: {goes}{bare}"]
        case KillAction.FLATTEN:
            closed = open_positions(snapshot)
            return [f"orders cancelled: {goes}", f"positions closed at market: {closed}"]


class SureDialog(Dialog):
    """Names what a kill cancels and closes, and what it leaves without a stop-loss."""

    def __init__(
        self,
        action: KillAction,
        frame: Frame,
        clock: Callable[[], float],
        send: Send,
        part: Part | None = None,
    ) -> None:
        super().__init__(frame, clock, send)
        self.title = f"Kill: {TITLES[action]}"
        self.word = WORDS[action]
        self._action = action
        self._part = part

    def lines(self, frame: Frame) -> list[Line]:
        if frame.snapshot is None:
            return []
        text = [*stake(frame.snapshot), BLANK]
        text += paragraph(f"Only the {self._part}.") if self._part else []
        question: list[Line] = [BLANK, typed_word(self.word)]
        (head, orders), *others = self._sections(only(frame.snapshot, self._part))
        room = self.size.height - _AROUND - len(text) - len(question) - 1 - len(others)
        under: list[Line] = []
        for other, rows in others:
            under += [*paragraph(other, "warn"), *_listed(rows, max(room // 2, room - len(orders)))]
        room -= len(under) - len(others)
        return [*text, *paragraph(head, "warn"), *_listed(orders, room), *under, *question]

    def _sections(self, snapshot: Snapshot) -> list[tuple[str, list[_Row]]]:
        """What happens, each with the orders or positions to which it does."""
        cancelled = cancelled_by(self._action, snapshot)
        heads = consequences(self._action, snapshot)
        held: list[PositionRow] = []
        if self._action is KillAction.FLATTEN:
            held = held_in(snapshot)
        elif bare := _left_bare(cancelled, snapshot):
            heads, held = [*heads, "LEFT WITHOUT A STOP-LOSS"], bare
        rows = [_order(each, snapshot) for each in cancelled], [_position(each) for each in held]
        return [
            (f"{head[:1].upper()}{head[1:]}:" if each else f"{head[:1].upper()}{head[1:]}.", each)
            for head, each in zip(heads, rows, strict=False)
        ]

    def confirmed(self) -> None:
        self.dismiss()
        self.send(trip(self._action, self._part), sent(self._action, self._part))


def _listed(rows: Sequence[_Row], room: int) -> list[Line]:
    """As many as there is `room` for, and how many and how much the others are."""
    shown = rows if len(rows) <= max(room, 1) else rows[: max(room - 1, 0)]
    others = [worth for _, worth in rows[len(shown) :]]
    worth = format.money(total(others))
    more: Line = ((f"  and {len(others)} more, worth {worth}", "text"),)
    return [*(line for line, _ in shown), *([more] if others else [])]


def _order(order: Order, snapshot: Snapshot) -> _Row:
    return (("  ", "text"), *named(order, snapshot)), worst(order, snapshot)


def _position(row: PositionRow) -> _Row:
    held, worth = row.position, None if row.value is None else abs(row.value)
    named = f"  {format.quantity(held.quantity)} {held.symbol} of {held.strategy}"
    return ((f"{named}, worth {format.money(worth)}", "text"),), worth


def _left_bare(cancelled: Sequence[Order], snapshot: Snapshot) -> list[PositionRow]:
    """The positions whose protective stops are among those that are cancelled."""
    stops = [order for order in cancelled if order.purpose is OrderPurpose.PROTECTIVE_STOP]
    keys = {(order.strategy, order.symbol) for order in stops}
    rows = held_in(snapshot)
    return [row for row in rows if (row.position.strategy, row.position.symbol) in keys]
