"""The kill switch and the live gate."""

from collections.abc import Iterable

from engine.core.bus import Bus
from engine.core.events import (
    BrokerChanged,
    BrokerStatusChanged,
    CommandRefused,
    KillSwitchRearmed,
    KillSwitchState,
    KillSwitchTriggered,
    LawBroken,
    LimitBreached,
    RearmKillSwitch,
    RequestMode,
    Restored,
    StoreChanged,
    StoreStatusChanged,
    TripKillSwitch,
)
from engine.core.model import Mode, OrderState
from engine.core.orders import OrderBook
from engine.core.text import clean

REARM_WORD = "REARM"


class Safety:
    """Stops at once, from every source; starts again only when asked by hand.

    Stopping closes the gate in the same event and asks for the cancel of every open order. It is
    idempotent: a second trip is recorded and changes nothing.
    """

    def __init__(
        self, bus: Bus, orders: OrderBook, mode: Mode, live_objections: Iterable[str]
    ) -> None:
        self._bus = bus
        self._orders = orders
        self.mode = mode
        self._live_objections = tuple(live_objections)
        self.kill = KillSwitchState()
        self.store_available = True
        self.store_reason = ""
        self.brokers: dict[str, BrokerStatusChanged] = {}

    def objection(self) -> str:
        """Why no order may leave now; empty text where nothing stands against it."""
        if self.kill.tripped:
            return f"kill switch ({self.kill.source})"
        if not self.store_available:
            return "the database is out of reach"
        for broker in self.brokers.values():
            if not broker.connected:
                return f"{broker.broker} is not connected"
        return ""

    # --- kill switch ----------------------------------------------------------------------------

    def on_trip(self, event: TripKillSwitch) -> None:
        self._trip(clean(event.source), clean(event.reason), clean(event.author))

    def on_breach(self, event: LimitBreached) -> None:
        self._trip("risk limit", event.reason)

    def on_broken_law(self, event: LawBroken) -> None:
        self._trip("broken law", f"{event.law}: {event.reason}")

    def on_rearm(self, event: RearmKillSwitch) -> None:
        if reason := self._rearm_objection(event):
            self._bus.publish(CommandRefused("RearmKillSwitch", reason))
            return
        self.kill = KillSwitchState()
        self._bus.publish(KillSwitchRearmed(clean(event.author)))

    def on_restored(self, event: Restored) -> None:
        """A kill switch stays tripped over restarts; what is still open is cancelled first."""
        self.kill = event.kill
        if self.kill.tripped:
            self._cancel_all()

    def _trip(self, source: str, reason: str, author: str = "") -> None:
        if not self.kill.tripped:
            self.kill = KillSwitchState(True, source, reason, self._bus.now)
            self._cancel_all()
        self._bus.publish(KillSwitchTriggered(source, reason, author))

    def _cancel_all(self) -> None:
        """Largest notional first: rate limits may make the last ones wait."""
        orders = sorted(
            self._orders.open.values(), key=lambda o: o.leaves * o.reference_price, reverse=True
        )
        for order in orders:
            self._orders.cancel(order.client_order_id, "kill switch")

    def _rearm_objection(self, event: RearmKillSwitch) -> str:
        if not self.kill.tripped:
            return "the kill switch is not tripped"
        if event.word != REARM_WORD:
            return f"type {REARM_WORD} to re-arm"
        in_doubt = [
            o.client_order_id for o in self._orders.open.values() if o.state is OrderState.IN_DOUBT
        ]
        if in_doubt:
            return f"orders are in doubt: {', '.join(in_doubt)}"
        return ""

    # --- live gate ------------------------------------------------------------------------------

    def on_mode(self, event: RequestMode) -> None:
        """The mode is chosen at start; a running engine is never carried over to live."""
        if event.mode is self.mode:
            reason = f"the mode is {self.mode} already"
        elif event.mode is Mode.LIVE:
            reason = "live trading needs: " + "; ".join(self._live_objections)
        else:
            reason = "restart with MODE=paper"
        self._bus.publish(CommandRefused("RequestMode", reason))

    # --- store and brokers -----------------------------------------------------------------------

    def on_store(self, event: StoreChanged) -> None:
        if event.available == self.store_available:
            return
        self.store_available = event.available
        self.store_reason = clean(event.reason)
        self._bus.publish(StoreStatusChanged(event.available, self.store_reason))

    def on_broker(self, event: BrokerChanged) -> None:
        status = BrokerStatusChanged(clean(event.broker), event.connected, clean(event.reason))
        self.brokers[status.broker] = status
        self._bus.publish(status)
