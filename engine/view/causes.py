"""Remembers the facts of the last signals and orders, so that it can be told why each was made."""

from engine.core.bus import Bus
from engine.core.events import (
    BarCorrected,
    Event,
    FillQuarantined,
    OrderAdopted,
    OrderEvent,
    OrderIntended,
    OrderSized,
    RiskChecked,
    SettlementWarned,
    SignalBlocked,
    SignalGenerated,
    TradeReversed,
)
from engine.core.newest import Newest

STORIES_KEPT = 500
"""Signals, and orders, of which the facts are in memory; the audit log has the others."""
FACTS_KEPT = 200
"""Facts of one story: the first and the last ones."""


class Story:
    """The facts of a signal and the orders made from it, in their order; `dropped` were taken out
    of the middle."""

    __slots__ = ("dropped", "facts")

    def __init__(self, facts: list[Event]) -> None:
        self.facts = facts
        self.dropped = 0

    def add(self, fact: Event) -> None:
        if len(self.facts) >= FACTS_KEPT:
            del self.facts[FACTS_KEPT // 2]
            self.dropped += 1
        self.facts.append(fact)


class Causes:
    """Follows every fact; `signals` are by sequence number, `orders` by client order id. An order
    that was made from a signal has that one's story."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.signals: Newest[int, Story] = Newest(STORIES_KEPT)
        self.orders: Newest[str, Story] = Newest(STORIES_KEPT)

    def follow(self, fact: Event) -> None:
        match fact:
            case SignalGenerated():
                self.signals[fact.seq] = Story([fact])
            case OrderSized() | RiskChecked() | SignalBlocked():
                if (story := self.signals.get(fact.cause)) is not None:
                    story.add(fact)
            case OrderIntended() | OrderAdopted():
                self._begin(fact)
            case OrderEvent():
                self._go_on(fact.order.client_order_id, fact)
            case SettlementWarned():
                self._go_on(fact.client_order_id, fact)
            case TradeReversed(fill=fill) | FillQuarantined(fill=fill):
                self._go_on(fill.client_order_id, fact)
            case BarCorrected(orders=orders):
                for client_order_id in orders:
                    self._go_on(client_order_id, fact)
            case _:
                pass

    def _begin(self, fact: OrderIntended | OrderAdopted) -> None:
        cause = fact.order.cause
        story = self.signals.get(cause) or Story(self._bus.why(cause)[-2:])
        self.orders[fact.order.client_order_id] = story
        story.add(fact)

    def _go_on(self, client_order_id: str, fact: Event) -> None:
        """An order of a former session has no story here: its beginning would be missing. Orders of
        one signal have one story, where a fact of them all is told once."""
        story = self.orders.get(client_order_id)
        if story is not None and story.facts[-1] is not fact:
            story.add(fact)
