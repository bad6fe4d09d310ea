"""The kill switch of one strategy, one symbol, or one broker: the rest trades on."""

from collections.abc import Iterable

from msgspec.structs import replace

from engine.core.bus import Bus
from engine.core.events import (
    CommandRefused,
    KilledPart,
    KillPart,
    KillSwitchRearmed,
    OrderAdopted,
    PartKilled,
    PartRearmed,
    RearmPart,
    Restored,
)
from engine.core.model import (
    Instrument,
    KillAction,
    Order,
    OrderState,
    Part,
    Scope,
    is_cancelled_by,
)
from engine.core.orders import OrderBook
from engine.core.portfolio import Portfolio
from engine.core.safety import REARM_WORD, STRENGTH, largest_first
from engine.core.text import clean


class KilledParts:
    """What the kill switch does, for a part alone. A part stays killed, over restarts too, until it
    is re-armed by a typed word; a second kill of it may do more than the first, never less. Where
    a position or an order is in several killed parts, the strongest action counts.
    """

    def __init__(
        self,
        bus: Bus,
        orders: OrderBook,
        portfolio: Portfolio,
        instruments: Iterable[Instrument],
        strategies: Iterable[str],
        action: KillAction,
    ) -> None:
        self._bus = bus
        self._orders = orders
        self._portfolio = portfolio
        self._venues = {i.symbol: i.venue for i in instruments}
        self._strategies = set(strategies)
        self._action = action
        self.killed: dict[Part, KilledPart] = {}

    def know(self, strategy: str) -> None:
        """A strategy has come: it can be killed."""
        self._strategies.add(strategy)

    # --- what stands against an order -----------------------------------------------------------

    def objection(self, strategy: str, symbol: str) -> str:
        """Why no order of `strategy` in `symbol` may leave; empty text where nothing stands against
        it."""
        killed = self._over(strategy, symbol)
        return f"{killed[0].part} is killed ({killed[0].source})" if killed else ""

    def exit_objection(self, strategy: str, symbol: str) -> str:
        """As `objection`, for an order that closes a position; a kill that flattens lets it."""
        return "" if self.flattens(strategy, symbol) else self.objection(strategy, symbol)

    def flattens(self, strategy: str, symbol: str) -> bool:
        """Whether a killed part wants the position of `strategy` in `symbol` closed."""
        return any(k.action is KillAction.FLATTEN for k in self._over(strategy, symbol))

    def is_in(self, part: Part, strategy: str, symbol: str) -> bool:
        """Whether the orders of `strategy` in `symbol` belong to `part`."""
        match part.scope:
            case Scope.STRATEGY:
                return strategy == part.name
            case Scope.SYMBOL:
                return symbol == part.name
            case Scope.BROKER:
                return self._venues.get(symbol) == part.name

    def open_orders(self, part: Part) -> list[Order]:
        """The open orders of `part`."""
        return [o for o in self._orders.open.values() if self.is_in(part, o.strategy, o.symbol)]

    def unwanted(self, part: Part) -> list[Order]:
        """The open orders of a killed part that wait for their cancel."""
        return [order for order in self.open_orders(part) if self._cancels(order)]

    def _over(self, strategy: str, symbol: str) -> list[KilledPart]:
        if not self.killed:
            return []
        killed = tuple(self.killed.values())  # at once: threads of adapters ask too
        return [k for k in killed if self.is_in(k.part, strategy, symbol)]

    # --- killing and re-arming ------------------------------------------------------------------

    def on_kill(self, event: KillPart) -> None:
        part = self.meant(event.part)
        if reason := self.unknown(part):
            self._bus.publish(CommandRefused.of(event, reason))
            return
        source, reason, author = map(clean, (event.source, event.reason, event.author))
        action = event.action or self._action
        before = self.killed.get(part)
        if before is None:
            self.killed[part] = KilledPart(part, source, reason, self._bus.now, action)
        elif STRENGTH.index(action) > STRENGTH.index(before.action):
            self.killed[part] = replace(before, action=action)
        self._cancel(self.open_orders(part))
        self._bus.publish(PartKilled(part, source, reason, author, self.killed[part].action))

    def on_rearm(self, event: RearmPart) -> None:
        if reason := self._rearm_objection(event):
            self._bus.publish(CommandRefused.of(event, reason))
            return
        del self.killed[event.part]
        self._bus.publish(PartRearmed(event.part, clean(event.author)))

    def on_restored(self, event: Restored) -> None:
        """What is still open of a part that was killed before the end is cancelled first."""
        self.killed = {killed.part: killed for killed in event.killed_parts}
        self._cancel(self._orders.open.values())

    def on_rearmed(self, _: KillSwitchRearmed | PartRearmed) -> None:
        """What a kill that flattened had under way is stopped where another one still holds."""
        self._cancel(self._orders.open.values())

    def on_adopted(self, event: OrderAdopted) -> None:
        """What turns up at a venue in a killed part is cancelled too."""
        self._cancel([event.order])

    def _cancel(self, orders: Iterable[Order]) -> None:
        for order in largest_first(orders):
            if self._cancels(order):
                self._orders.cancel(order.client_order_id, "kill switch")

    def _cancels(self, order: Order) -> bool:
        over = [killed.action for killed in self._over(order.strategy, order.symbol)]
        return bool(over) and is_cancelled_by(max(over, key=STRENGTH.index), order)

    def unknown(self, part: Part) -> str:
        """Why nothing can be killed under this name; empty where something can. What is not set up
        any more, and still has an order or a position, can."""
        known = self._names(part.scope)
        if self.meant(part).name in known:
            return ""
        return f"there is no {part.scope} {clean(part.name)}: name one of {', '.join(known)}"

    def meant(self, part: Part) -> Part:
        """A symbol goes without its venue too, where no other has the same name."""
        known = self._names(part.scope)
        short = [name for name in known if name.partition(":")[2] == part.name]
        if part.scope is not Scope.SYMBOL or part.name in known or len(short) != 1:
            return part
        return Part(part.scope, short[0])

    def _names(self, scope: Scope) -> list[str]:
        orders = self._orders.open.values()
        held = [key for key, p in self._portfolio.positions.items() if p.quantity]
        match scope:
            case Scope.STRATEGY:
                names = {*self._strategies, *(o.strategy for o in orders), *(k[0] for k in held)}
            case Scope.SYMBOL:
                names = {*self._venues, *(o.symbol for o in orders), *(k[1] for k in held)}
            case Scope.BROKER:
                names = set(self._venues.values())
        return sorted(names)

    def _rearm_objection(self, event: RearmPart) -> str:
        if event.part not in self.killed:
            return f"{clean(str(event.part))} is not killed"
        if event.word != REARM_WORD:
            return f"type {REARM_WORD} to re-arm"
        doubts = [o for o in self.open_orders(event.part) if o.state is OrderState.IN_DOUBT]
        if doubts:
            return f"orders are in doubt: {', '.join(o.client_order_id for o in doubts)}"
        return ""
